"""Where a seed is lived: the world, the service in it, and the watch that compares it with the model.

Responsible for getting things done whatever happens to the service (a killed one is thrown away and opened again, a
cut command repeated with its key), and for numbering and comparing steps. Not responsible for what is done.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

from colink.application.ports import Command, Idempotency, Recorded
from colink.domain.audit.report import Report
from colink.domain.errors import ColinkError
from colink.domain.ids import order_id
from colink.simulation.checks import Differs, Step, Watch, compare_order, orders_that_differ
from colink.simulation.counts import Counts
from colink.simulation.faults import Fault, Killed
from colink.simulation.happenings import VirtualClock
from colink.simulation.model.balances import Change
from colink.simulation.model.books import Books
from colink.simulation.provider import SimulatedProvider
from colink.simulation.service import Service, World

T = TypeVar("T")
Facts = dict[str, Any]
Ask = Callable[[], Coroutine[Any, Any, Recorded | Exception]]


@dataclass
class Stage:
    """A database of its own and all that works on it. `done`: steps so far; `interrupt_at`: where the next
    conversation with the provider is cut short."""

    world: World
    clock: VirtualClock
    provider: SimulatedProvider
    random: Random
    books: Books
    service: Service
    watch: Watch = field(default_factory=Watch)
    done: int = 0
    crashes: int = 0
    interrupt_at: str = ""
    _pending: list[Step] = field(default_factory=list)
    _keys: int = 0

    def __post_init__(self) -> None:
        self.counts = Counts(self)

    def break_now_and_then(self, probability: float) -> None:
        """The next append may go wrong."""
        if self.random.random() < probability:
            self.world.faults.next = self.random.choice(list(Fault))

    async def command(self, command: Command) -> Recorded:
        """Submitted by somebody who does not give up: cut off, they repeat it with the same key."""
        return await self._insist(lambda: self._submitted(command), keyed=command.idempotency is not None)

    async def _insist(self, ask: Ask, *, keyed: bool) -> Recorded:
        """`keyed`: asked with an idempotency key, so that it may be cut off, and repeated."""
        if keyed and self.random.random() < 0.05:
            self.world.faults.next = self.random.choice(list(Fault))
        outcome = await self.surviving(ask)
        self.world.faults.next = None
        if isinstance(outcome, Exception):
            raise outcome
        await self.counts.tell_new()
        if keyed and self.random.random() < 0.1:
            again = await ask()
            if not isinstance(again, Recorded) or not again.replayed or again.answer != outcome.answer:
                msg = f"repeated with its key it was answered {again}, at first {outcome}"
                raise Differs(msg)
        return outcome

    async def attempt(self, command: Command, what: str, *, refusals: Collection[str] = ()) -> Recorded | None:
        """Like `command`, where the model expects one of some refusals, or none. None: it was refused as expected,
        and its step is numbered. Raises Differs."""
        keyed = command.idempotency is not None
        return await self.attempt_of(lambda: self._submitted(command), what, refusals=refusals, keyed=keyed)

    async def attempt_of(
        self, ask: Ask, what: str, *, refusals: Collection[str] = (), keyed: bool = True
    ) -> Recorded | None:
        """The same of something that takes more than one command; `ask` answers with a refusal, too."""
        try:
            recorded = await self._insist(ask, keyed=keyed)
        except ColinkError as refusal:
            if refusal.slug not in refusals:
                msg = f"{what} was refused as {refusal.slug}, expected {sorted(refusals) or 'no refusal'}: {refusal}"
                raise Differs(msg) from refusal
            self.step(f"{what}: {refusal.slug}", {}, None)
            return None
        if refusals:
            msg = f"{what} was done, expected {sorted(refusals)}"
            raise Differs(msg)
        return recorded

    async def _submitted(self, command: Command) -> Recorded | Exception:
        (outcome,) = await self.service.submit([command])
        if isinstance(outcome, Exception) and not isinstance(outcome, ColinkError):
            raise outcome
        return outcome

    def idempotency(self) -> Idempotency:
        self._keys += 1
        return Idempotency(scope="simulation", key=str(self._keys), request_digest=str(self._keys))

    # Crashes ------------------------------------------------------------------------------------------------------

    def interrupt(self, where: str) -> None:
        """Called in conversations with the provider: the process may end here."""
        if self.world.faults.happened.is_set():
            raise Killed
        if where == self.interrupt_at:
            self.interrupt_at = ""
            self.world.faults.happened.set()
            raise Killed

    async def surviving(self, work: Callable[[], Coroutine[Any, Any, T] | Awaitable[T]]) -> T:
        """Do it; where the service is killed meanwhile, start a new one and do it again."""
        while True:
            working = asyncio.ensure_future(work())
            killed = asyncio.ensure_future(self.world.faults.happened.wait())
            await asyncio.wait({working, killed}, return_when=asyncio.FIRST_COMPLETED)
            if not self.world.faults.happened.is_set():
                killed.cancel()
                return await working
            working.cancel()
            await asyncio.wait({working})
            if not working.cancelled():
                working.exception()
            await self.crash()

    async def crash(self) -> None:
        """The service is thrown away as it stands, and a new one started on the same database."""
        await self.service.crash()
        self.world.faults.happened.clear()
        self.crashes += 1
        self.service = await Service.open(self.world)

    # Comparing ----------------------------------------------------------------------------------------------------

    def step(self, what: str, expected: Change, position: int | None) -> None:
        self.done += 1
        self._pending.append(Step(number=self.done, what=what, expected=expected, position=position))

    async def job(self, what: str, expected: Change) -> None:
        """A worker's job answers no position: all that it wrote is its step."""
        async with self.service.pool.connection() as connection:
            row = await (await connection.execute("select position from colink.log_head")).fetchone()
        self.step(what, expected, row[0] if row else 0)
        try:
            await self.compare()
        except Differs as difference:
            msg = f"{difference} ({await orders_that_differ(self.service.pool, self.books)})"
            raise Differs(msg) from difference

    async def compare(self) -> None:
        steps, self._pending = self._pending, []
        await self.watch.compare(self.service.pool, steps, self.books)
        if unused := self.books.counting.tiers.unused:
            msg = f"revenues were counted for orders that do not look at them: {sorted(unused)}"
            raise Differs(msg)

    async def look_at_orders(self, keys: Sequence[tuple[str, str]]) -> None:
        ids = {key: order_id(*key) for key in keys}
        for at in range(0, len(keys), 200):
            page = keys[at : at + 200]
            orders = await self.service.orders([ids[key] for key in page])
            for key in page:
                compare_order(orders.get(ids[key]), self.books.orders[key].money, ids[key])

    async def audit(self) -> None:
        report: Report = await self.service.verify()
        if not report.clean:
            found = "; ".join(str(finding) for finding in list(report.findings)[:3])
            msg = f"audit verify: {found or [result for result in report.passes if result.status != 'passed']}"
            raise Differs(msg)

    async def digest(self) -> str:
        """Of both logs: every event, in order."""
        digest = hashlib.sha256()
        columns = "position, stream_id, version, topic, payload, recorded_at, actor, correlation_id"
        async with self.service.pool.connection() as connection:
            for table in ("events", "tracking_events"):
                async for row in await connection.execute(f"select {columns} from colink.{table} order by position"):
                    digest.update(repr(row).encode())
        return digest.hexdigest()
