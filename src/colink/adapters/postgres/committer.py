"""The one way into a log: commands submitted at once are gathered, read for, decided and appended together.

A batch is read in one go, decided in pure code, and appended by one function call in its own transaction; callers are
answered after the commit (architecture section 4, group commit). Batches in flight and the commands inside one have
disjoint conflict keys; a command on a busy key waits, and waiting commands reserve their keys, so that their order is
kept. Touches of one place share a batch: each is told of those before it (repeats.py). Not responsible for what
commands decide, nor for SQL.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, cast

import msgspec
import psycopg
import structlog
from psycopg_pool import PoolClosed, PoolTimeout

from colink.adapters.postgres.append import COMMERCE, Log
from colink.adapters.postgres.arranging import arranged
from colink.adapters.postgres.facts import Connection, FactsReader, LoadedFacts, Prior
from colink.adapters.postgres.mapper import EventMapper, encode
from colink.adapters.postgres.pool import AsyncPool
from colink.adapters.postgres.prepared import Prepared
from colink.adapters.postgres.repeats import DecidedTouches, place_keys
from colink.application.ports import (
    Caller,
    Clock,
    Command,
    CommandQueue,
    CommitObserver,
    Decision,
    MoreNeeded,
    Needs,
    Recorded,
    cause_of_key,
)
from colink.domain.errors import (
    ColinkError,
    ConcurrentUpdate,
    Conflict,
    IdempotencyConflict,
    InvalidInput,
    Unavailable,
)
from colink.domain.ledger import UnbalancedJournal
from colink.domain.periods import in_open_period
from colink.projections.documents import KEY_FIELDS
from colink.projections.inline import project

_log = structlog.get_logger(__name__)

ATTEMPTS: Final = 10  # decisions of one command before it is told that it kept losing races
PATIENCE: Final = 15.0  # seconds a command waits for a database that is away
_WORTH_A_BATCH: Final = 16  # commands: fewer are not shared out, since each batch costs a commit
_PAUSE: Final = 0.1  # seconds between tries then
# What happens around a connection, not because of what was sent: worth another try.
_PASSING = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, OSError)
# Filed as such all the same: what was sent is larger than the server takes.
_TOO_LARGE = psycopg.errors.ProgramLimitExceeded
_PERIOD_CLOSED = "CL001"  # since the batch was read (migrations/sql/0008_periods.sql)


@dataclass(eq=False, slots=True)
class _Pending:
    """A command on its way. `shared` are keys that commands of one batch may have in common. `unsure`: appends whose
    outcome is not known, because the connection was lost. `leans`: it was decided by what its batch records.
    `submitted`, `broken_since`: at this time of the loop, and since its first try broke off. `for_all`: it asked for
    more to do what is done once for all; `overtaken`: and another was before it."""

    command: Command
    needs: Needs
    answer: asyncio.Future[Recorded]
    keys: frozenset[Hashable]
    shared: frozenset[Hashable] = frozenset()
    attempts: int = 0
    leans: bool = False
    submitted: float = 0.0
    broken_since: float | None = None
    unsure: list[Prepared] = field(default_factory=list)
    for_all: bool = False
    overtaken: bool = False

    def need(self, needs: Needs) -> None:
        self.needs = needs
        self.keys, self.shared = conflict_keys(self.command, needs)

    def begin_again(self) -> None:
        """From its first needs, whose keys are among those that it has."""
        self.for_all = self.overtaken = False
        self.need(self.command.needs())

    def resolve(self, recorded: Recorded) -> None:
        # The caller may be gone: its future is then cancelled, and answering it would kill the committer.
        if not self.answer.done():
            self.answer.set_result(recorded)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class _Unreadable(Exception):
    """What a batch needs cannot be read; nothing is wrong with the connection."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


_Decided = tuple[_Pending, Prepared]


def conflict_keys(command: Command, needs: Needs) -> tuple[frozenset[Hashable], frozenset[Hashable]]:
    """What two commands may not have in common while one of them is decided and appended; and what only commands of
    one batch may have in common."""
    keys: set[Hashable] = {("stream", stream) for stream in (*needs.streams, *needs.begins)}
    keys |= {("funds", *pair) for pair in needs.funds_of}
    if command.idempotency:
        keys.add(("key", command.idempotency.scope, command.idempotency.key))
    if command.delivery_key:
        keys.add(("delivery", *command.delivery_key))
    return frozenset(keys), frozenset(place_keys(needs.repeats_of)) if needs.repeats_of else frozenset()


class Committer(CommandQueue):
    """Start it on the event loop that submits; `stop` lets what was submitted finish first."""

    def __init__(
        self,
        pool: AsyncPool,
        clock: Clock,
        *,
        log: Log = COMMERCE,
        in_flight: int = 1,
        batch_size: int = 256,
        queue_size: int = 4096,
        patience: float = PATIENCE,
        observer: CommitObserver | None = None,
    ) -> None:
        """`pool` was made for commands and has a connection for each of `in_flight` batches. At most `batch_size`
        commands are appended together, and at most `queue_size` wait before the next are refused as Unavailable.
        `patience`: seconds a command waits for a database that is away or breaks off."""
        self._pool = pool
        self._clock = clock
        self._log = log
        self._mapper = EventMapper()
        self._reader = FactsReader(log, clock, self._mapper)
        self._in_flight = in_flight
        self._batch_size = batch_size
        self._queue_size = queue_size
        self._patience = patience
        self._observer = observer
        self._waiting: deque[_Pending] = deque()
        self._busy: set[Hashable] = set()
        self._flying = 0
        self._away_since: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        self._stopping = False
        self._runner = asyncio.create_task(self._run(), name=f"committer:{self._log.name}")

    async def stop(self) -> None:
        """Take nothing more, finish what waits, then end."""
        self._stopping = True
        self._wake.set()
        if self._runner is not None:
            await self._runner
            self._runner = None

    async def __aenter__(self) -> Committer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def submit(self, command: Command) -> Recorded:
        """Record the command durably and return its answer (see ports.CommandBus for the errors)."""
        (answer,) = self._enqueue([command])
        return await answer

    async def submit_many(self, commands: Sequence[Command]) -> list[Recorded | Exception]:
        """Record each command for itself (see ports.CommandQueue): one future a command, and no task."""
        answers = await asyncio.gather(*self._enqueue(commands), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, Exception):
                raise answer
        return cast("list[Recorded | Exception]", answers)

    def _enqueue(self, commands: Sequence[Command]) -> list[asyncio.Future[Recorded]]:
        """Let all of them wait for a batch, or none: raises Unavailable."""
        if self._stopping or self._runner is None:
            msg = "the service is shutting down; try again shortly"
            raise Unavailable(msg)
        if len(self._waiting) + len(commands) > self._queue_size:
            msg = "too many commands are waiting; try again shortly"
            raise Unavailable(msg)
        loop = asyncio.get_running_loop()
        pending = []
        for command in commands:
            needs = command.needs()
            keys, shared = conflict_keys(command, needs)
            pending.append(_Pending(command, needs, loop.create_future(), keys, shared, submitted=loop.time()))
        self._waiting.extend(pending)
        self._wake.set()
        return [each.answer for each in pending]

    async def _run(self) -> None:
        while True:
            batch = self._take() if self._flying < self._in_flight else []
            if self._observer:
                self._observer.queue_depth(self._log.name, len(self._waiting))
            if batch:
                self._busy |= _keys_of(batch)
                self._flying += 1
                task = asyncio.create_task(self._finish(batch))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                continue
            if self._stopping and not self._waiting and not self._flying:
                return
            await self._wake.wait()
            self._wake.clear()

    def _take(self) -> list[_Pending]:
        """The next batch: in order of arrival, leaving out commands whose keys are taken, and those behind them.

        What waits is shared out among the batches that may still fly: while one is appended the next is decided.
        Taken whole, callers that wait for each other's batch would leave the process and the database idle in turn.
        """
        share = -(-len(self._waiting) // (self._in_flight - self._flying))
        size = min(self._batch_size, max(share, _WORTH_A_BATCH))
        batch: list[_Pending] = []
        left: deque[_Pending] = deque()
        taken = set(self._busy)  # and not to be shared with this batch either
        in_batch: set[Hashable] = set()
        while self._waiting and len(batch) < size:
            pending = self._waiting.popleft()
            if pending.answer.done():
                continue  # its caller went away before anything was done
            if pending.keys & taken or pending.keys & in_batch or pending.shared & taken:
                pending.overtaken = pending.for_all
                left.append(pending)
                taken |= pending.keys | pending.shared
            else:
                if pending.overtaken:
                    pending.begin_again()
                batch.append(pending)
                in_batch |= pending.keys
        self._waiting.extendleft(reversed(left))
        return batch

    async def _finish(self, batch: list[_Pending]) -> None:
        keys = _keys_of(batch)
        try:
            todo = batch
            while todo:
                todo = await self._attempt(todo)
                if todo and self._observer:
                    self._observer.retried(self._log.name, len(todo))
        except Exception as error:  # noqa: BLE001 - a defect costs its own batch only: the committer goes on
            _log.exception("a batch failed", log=self._log.name, commands=len(batch))
            for pending in batch:
                pending.fail(error)
        finally:
            self._busy -= keys
            self._flying -= 1
            self._wake.set()

    async def _attempt(self, batch: Sequence[_Pending]) -> list[_Pending]:
        """Read, decide and append once; returns the commands that must be decided again."""
        batch = [pending for pending in batch if not pending.answer.done()]
        try:
            async with self._pool.connection() as connection:
                facts = await self._load(connection, batch)
                # After the read, so that what it did not see and is not found here collides in the append.
                open_ = await self._recognise(connection, zip(batch, facts, strict=True))
                decided, again = arranged(self._decide(open_))
                # The others are answered, or wait for more by themselves: tried again from here too, where the
                # connection breaks off, a command would be there twice, in its own way, and begin again for ever.
                batch = [*(pending for pending, _ in decided), *again]
                again += await self._append(connection, decided)
                self._away_since = None
                return again
        except (*_PASSING, PoolClosed) as error:
            return await self._wait_for_database(batch, error)
        except _Unreadable as error:
            # One of them asks for what cannot be read, such as an id with a NUL: find it, and let the others pass.
            if len(batch) == 1:
                batch[0].fail(_translated(error.cause))
                return []
            return [pending for one in batch for pending in await self._attempt([one])]

    async def _load(self, connection: Connection, batch: Sequence[_Pending]) -> list[LoadedFacts]:
        try:
            return await self._reader.load(
                connection, [pending.command for pending in batch], [pending.needs for pending in batch]
            )
        except _PASSING:
            raise
        except Exception as error:
            raise _Unreadable(error) from error

    async def _wait_for_database(self, batch: Sequence[_Pending], error: Exception) -> list[_Pending]:
        """Returns those of the batch that wait on. Each may wait since the database went away, or since it was
        submitted, if that was later; so those that wait for a batch are told, too. And none waits longer since its
        first try broke off: what itself makes the database break off, while others are recorded, is not tried for
        ever."""
        _log.warning("the database cannot be reached or broke off", log=self._log.name, error=str(error))
        now = asyncio.get_running_loop().time()
        away_since = self._away_since = now if self._away_since is None else self._away_since
        for pending in batch:
            pending.broken_since = now if pending.broken_since is None else pending.broken_since
        for pending in (*batch, *self._waiting):
            since = max(pending.submitted, away_since)
            if now - (since if pending.broken_since is None else min(since, pending.broken_since)) > self._patience:
                known = "its outcome is not known" if pending.unsure else "nothing was recorded"
                pending.fail(Unavailable(f"the database cannot be reached; {known}, and it is safe to repeat"))
        await asyncio.sleep(_PAUSE)
        return [pending for pending in batch if not pending.answer.done()]

    async def _recognise(
        self, connection: Connection, batch: Iterable[tuple[_Pending, LoadedFacts]]
    ) -> list[tuple[_Pending, LoadedFacts]]:
        """Answer the commands that are recorded already, by key, by delivery, or by an append that was thought lost;
        returns the others."""
        left = []
        for pending, facts in batch:
            for prepared in pending.unsure:
                position = await self._reader.recorded_at(connection, prepared)
                if position is not None:
                    pending.resolve(_recorded(prepared.answer, position))
            if pending.answer.done():
                continue
            if facts.prior is not None:
                _answer_again(pending, facts.prior)
            else:
                left.append((pending, facts))
        return left

    def _decide(self, batch: Iterable[tuple[_Pending, LoadedFacts]]) -> list[_Decided]:
        decided = []
        touches = DecidedTouches()
        for pending, facts in batch:
            try:
                query = facts.needs.repeats_of
                pending.leans = query is not None and not facts.repeat and touches.has(query)
                facts.repeat = facts.repeat or pending.leans
                decision = pending.command.decide(facts)
                prepared = self._prepare(pending.command, decision, facts)
                if query is not None:
                    touches.add(prepared.rows)
                decided.append((pending, prepared))
            except MoreNeeded as more:
                self._ask_again(pending, more)
            except ColinkError as error:
                pending.fail(error)
            except Exception as error:  # noqa: BLE001 - it is handed to the one caller whose command it is
                _log.exception("a command failed", command=type(pending.command).__name__)
                pending.fail(error)
        return decided

    def _ask_again(self, pending: _Pending, more: MoreNeeded) -> None:
        """Let a command wait, before all others, for a batch that reads more for it: its keys are others now."""
        needs = pending.needs.joined(more.needs)
        if needs == pending.needs:
            pending.fail(RuntimeError(f"{type(pending.command).__name__} asks for what it was given"))
            return
        pending.need(needs)
        pending.for_all |= more.for_all
        self._waiting.appendleft(pending)

    def _prepare(self, command: Command, decision: Decision, facts: LoadedFacts) -> Prepared:
        events = in_open_period(decision.events, facts.open_from)
        return Prepared(
            events=[self._mapper.stamped(event) for event in events],
            rows=[project(event) for event in events],
            caller=_caused(command),
            answer=encode(decision.answer),
            organization_id=decision.organization_id,
            idempotency=command.idempotency,
            delivery=decision.delivery,
            guards=decision.guards,
            private=decision.private,
        )

    async def _append(self, connection: Connection, decided: list[_Decided]) -> list[_Pending]:
        """Append; what fails its checks is left out and the rest appended. Returns those to decide again."""
        again: list[_Pending] = []
        while decided:
            prepared = [prepared for _, prepared in decided]
            began = time.perf_counter()
            try:
                parameters = self._log.parameters(prepared, self._clock.now())
                cursor = await connection.execute(self._log.append, parameters)
                rows = await cursor.fetchall()
            except (psycopg.Error, InvalidInput, ValueError, OSError) as error:
                if isinstance(error, psycopg.Error) and error.sqlstate == _PERIOD_CLOSED:
                    return again + [pending for pending, _ in decided if _may_retry(pending)]
                if isinstance(error, _PASSING) and not isinstance(error, _TOO_LARGE):
                    for pending, lost in decided:
                        pending.unsure.append(lost)
                    raise
                return again + await self._append_one_by_one(connection, decided, error)
            failed = {command: reason for command, reason, _, _ in rows if reason is not None}
            if not failed:
                _answer_all(decided, base=rows[0][2])
                if self._observer:
                    events = sum(len(one.events) for one in prepared)
                    self._observer.batch_committed(self._log.name, len(decided), events, time.perf_counter() - began)
                return again
            again += [
                pending
                for n, (pending, _) in enumerate(decided)
                if (_may_retry(pending) if n in failed else pending.leans)
            ]
            decided = [item for n, item in enumerate(decided) if n not in failed and not item[0].leans]
        return again

    async def _append_one_by_one(
        self, connection: Connection, decided: list[_Decided], error: Exception
    ) -> list[_Pending]:
        """One of them holds what the database does not take: find it, and let the others pass."""
        if len(decided) == 1:
            pending, _ = decided[0]
            pending.fail(_translated(error))
            return []
        again = [pending for one in decided if not one[0].leans for pending in await self._append(connection, [one])]
        return again + [pending for pending, _ in decided if pending.leans]


def _caused(command: Command) -> Caller:
    """Who asked, and for what reason; an idempotency key is one, so that its row is missed where it is lost."""
    caller, key = command.caller, command.idempotency
    if key is None or caller.causation_id is not None:
        return caller
    return replace(caller, causation_id=cause_of_key(key.scope, key.key))


def _keys_of(batch: Iterable[_Pending]) -> set[Hashable]:
    return {key for pending in batch for keys in (pending.keys, pending.shared) for key in keys}


def _may_retry(pending: _Pending) -> bool:
    pending.attempts += 1
    if pending.attempts < ATTEMPTS:
        return True
    pending.fail(ConcurrentUpdate("others kept changing the same thing first; try again"))
    return False


def _answer_again(pending: _Pending, prior: Prior) -> None:
    key = pending.command.idempotency
    if key and prior.request_digest is not None and prior.request_digest != key.request_digest:
        pending.fail(IdempotencyConflict(f"the idempotency key {key.key!r} was used with another request"))
        return
    pending.resolve(_recorded(prior.answer, prior.position, replayed=True))


def _answer_all(decided: Iterable[_Decided], *, base: int) -> None:
    position = base
    for pending, prepared in decided:
        position += len(prepared.events)
        pending.resolve(_recorded(prepared.answer, position if prepared.events else None))


def _recorded(answer: str, position: int | None, *, replayed: bool = False) -> Recorded:
    return Recorded(answer=msgspec.json.decode(answer), replayed=replayed, position=position)


def _translated(error: Exception) -> Exception:
    """What the database refuses in one command, in words for its caller."""
    if isinstance(error, psycopg.errors.UniqueViolation):
        if error.diag.constraint_name == "documents_key":
            kind = (error.diag.message_detail or "").partition("=(")[2].partition(",")[0]
            field_name = KEY_FIELDS.get(kind)
            return Conflict(f"this {field_name or 'key'} is taken by another {kind or 'thing'}", field=field_name)
        return Conflict(f"it is recorded already ({error.diag.constraint_name})")
    if isinstance(error, psycopg.errors.CheckViolation):
        return UnbalancedJournal(error.diag.message_primary or str(error))
    if isinstance(error, psycopg.errors.NumericValueOutOfRange):
        return InvalidInput("a number is too large to be stored")
    if isinstance(error, (psycopg.DataError, UnicodeEncodeError, _TOO_LARGE)):
        return InvalidInput(f"a value cannot be stored: {error}")
    return error
