"""Runs the async projections: reads a log in batches, lets each projection fold and write, and moves its checkpoint
in the same transaction.

Responsible for: exactly-once application whatever number of workers runs, parking a projection whose event cannot be
applied, and lag. Not responsible for: what a projection keeps (its module), when the engine runs (the worker), and
inline rows (`inline.py`).

How a batch is applied once: the transaction first moves the checkpoint with `WHERE position = :old`, which locks the
row. A second worker waits there, then finds the position moved, rolls back having written nothing, and reads again.

Each (projection, version, log) has a checkpoint of its own, so a projection of both logs records the position it saw
of each. A projection writes rows fed by one log only from that log: then the two may advance in any order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import structlog
from psycopg import AsyncConnection, DataError, Error, IntegrityError
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from colink.domain.aggregates import Event
from colink.domain.errors import NotFound

Connection = AsyncConnection[TupleRow]
Pool = AsyncConnectionPool[Connection]

_log = structlog.get_logger(__name__)


class Log(StrEnum):
    """The two logs (architecture section 3)."""

    COMMERCE = "commerce"
    TRACKING = "tracking"


TABLES: Mapping[Log, str] = {Log.COMMERCE: "colink.events", Log.TRACKING: "colink.tracking_events"}
HEADS: Mapping[Log, str] = {Log.COMMERCE: "colink.log_head", Log.TRACKING: "colink.tracking_head"}


class Decoder(Protocol):
    def __call__(self, stream_id: str, version: int, topic: str, payload: str) -> Event:
        """The event of one row of a log, in its newest shape. Raises whatever the payload deserves."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An event with its position in the log it was read from."""

    position: int
    event: Event


class Projection(Protocol):
    """A read model. Its tables carry `version` in their names: a rebuild fills the next ones beside them."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def topics(self) -> Mapping[Log, Sequence[str]]:
        """The topics it folds, for each log it reads."""

    async def apply(self, conn: Connection, log: Log, events: Sequence[Seen]) -> None:
        """Fold events (in order of position, never empty) and write, inside the caller's transaction. Depends on the
        events and its own tables alone, and not on how the log was cut into batches."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """How far a projection is. `lag`: events of the log behind it. `error`: why it is parked at `error_position`."""

    projection: str
    version: int
    log: Log
    position: int
    lag: int
    error: str | None
    error_position: int | None


@dataclass(frozen=True, kw_only=True)
class Lag:
    """How far the version that readers use is behind a log: `events` not applied yet, and the age of the oldest of
    them in `seconds` (0.0 where there is none)."""

    projection: str
    log: Log
    events: int
    seconds: float


class _CannotApply(Exception):
    """An event of the window between `old` and `new` cannot be decoded, folded or written."""

    def __init__(self, cause: Exception, *, old: int, new: int) -> None:
        super().__init__(str(cause))
        self.cause, self.old, self.new = cause, old, new


class ProjectionEngine:
    """Brings projections up to the head of their logs. Any number of engines may run at once."""

    def __init__(
        self,
        pool: Pool,
        projections: Sequence[Projection],
        decode: Decoder,
        *,
        batch_size: int = 5_000,
    ) -> None:
        self._pool = pool
        self._projections = {projection.name: projection for projection in projections}
        self._decode = decode
        self._batch_size = batch_size

    @property
    def names(self) -> list[str]:
        return list(self._projections)

    async def register(self) -> None:
        """Give each projection its checkpoints, and its first version the pointer. Repeatable."""
        async with self._pool.connection() as conn:
            for projection in self._projections.values():
                await _register(conn, projection)

    async def run_until_caught_up(self) -> int:
        """All projections, until each is at the head of its logs or parked. The number of positions passed. Errors of
        the database come out after every projection had its turn."""
        passed, errors = 0, []
        for name in self._projections:
            try:
                passed += await self.catch_up(name)
            except Error as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return passed

    async def catch_up(self, name: str) -> int:
        """One projection. The number of positions this engine moved it."""
        projection = self._projections[name]
        passed = 0
        for log in projection.topics:
            while (step := await self._advance(projection, log, self._batch_size)) is not None:
                passed += step
        return passed

    async def _advance(self, projection: Projection, log: Log, limit: int) -> int | None:
        """Apply at most `limit` positions. Returns how many (0: another worker was first), None when there is nothing
        to do. Halves the window around an event that cannot be applied, so that all before it is applied."""
        try:
            async with self._pool.connection() as conn, conn.transaction():
                return await self._apply_window(conn, projection, log, limit)
        except _CannotApply as failure:
            window = failure.new - failure.old
            if window > 1:
                return await self._advance(projection, log, window // 2)
            await self._park(projection, log, failure)
            return None

    async def _apply_window(self, conn: Connection, projection: Projection, log: Log, limit: int) -> int | None:
        cursor = await conn.execute(
            f"SELECT c.position, c.error_position, (SELECT h.position FROM {HEADS[log]} h)"
            " FROM colink.projection_checkpoints c WHERE c.projection = %s AND c.version = %s AND c.log = %s",
            (projection.name, projection.version, log.value),
        )
        row = await cursor.fetchone()
        if row is None:
            await _register(conn, projection)
            return 0
        old, error_position, head = row
        if error_position is not None or old >= head:
            return None
        new = min(old + limit, head)
        moved = await conn.execute(
            "UPDATE colink.projection_checkpoints SET position = %s, updated_at = clock_timestamp()"
            " WHERE projection = %s AND version = %s AND log = %s AND position = %s AND error_position IS NULL",
            (new, projection.name, projection.version, log.value, old),
        )
        if moved.rowcount == 0:
            return 0
        try:
            events = await self._read(conn, log, projection.topics[log], old, new)
            if events:
                await projection.apply(conn, log, events)
        except (DataError, IntegrityError) as error:
            raise _CannotApply(error, old=old, new=new) from error
        except Error:
            raise
        except Exception as error:
            raise _CannotApply(error, old=old, new=new) from error
        return int(new - old)

    async def _read(self, conn: Connection, log: Log, topics: Sequence[str], old: int, new: int) -> list[Seen]:
        cursor = await conn.execute(
            f"SELECT position, stream_id, version, topic, payload FROM {TABLES[log]}"
            " WHERE position > %s AND position <= %s AND topic = ANY(%s) ORDER BY position",
            (old, new, list(topics)),
        )
        return [Seen(position, self._decode(*stored)) for position, *stored in await cursor.fetchall()]

    async def _park(self, projection: Projection, log: Log, failure: _CannotApply) -> None:
        error = f"{type(failure.cause).__name__}: {failure.cause}"
        async with self._pool.connection() as conn:
            parked = await conn.execute(
                "UPDATE colink.projection_checkpoints SET error = %s, error_position = %s"
                " WHERE projection = %s AND version = %s AND log = %s AND position = %s AND error_position IS NULL",
                (error, failure.new, projection.name, projection.version, log.value, failure.old),
            )
        if parked.rowcount:
            _log.error(
                "projection parked", projection=projection.name, log=log.value, position=failure.new, error=error
            )

    async def resume(self, name: str) -> None:
        """Let a parked projection try its event again. Raises NotFound for an unknown name."""
        if name not in self._projections:
            msg = f"no projection is called {name!r}: there are {', '.join(self._projections)}"
            raise NotFound(msg)
        async with self._pool.connection() as conn:
            await conn.execute(
                "UPDATE colink.projection_checkpoints SET error = NULL, error_position = NULL WHERE projection = %s",
                (name,),
            )

    async def checkpoints(self) -> list[Checkpoint]:
        """How far every projection of this engine is, by name and log."""
        async with self._pool.connection() as conn:
            return [c for c in await checkpoints(conn) if c.projection in self._projections]


async def _register(conn: Connection, projection: Projection) -> None:
    await conn.execute(
        "INSERT INTO colink.projections (name, live_version) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (projection.name, projection.version),
    )
    for log in projection.topics:
        await conn.execute(
            "INSERT INTO colink.projection_checkpoints (projection, version, log, position)"
            " VALUES (%s, %s, %s, 0) ON CONFLICT DO NOTHING",
            (projection.name, projection.version, log.value),
        )


async def checkpoints(conn: Connection) -> list[Checkpoint]:
    """All checkpoints with their lag in events, by projection and log."""
    heads = ", ".join(f"('{log.value}', (SELECT position FROM {table}))" for log, table in HEADS.items())
    cursor = await conn.execute(
        "SELECT c.projection, c.version, c.log, c.position, greatest(h.head - c.position, 0), c.error,"
        f" c.error_position FROM colink.projection_checkpoints c JOIN (VALUES {heads}) h (log, head) ON h.log = c.log"
        " ORDER BY c.projection, c.version, c.log"
    )
    return [_checkpoint(row) for row in await cursor.fetchall()]


def _checkpoint(row: tuple[Any, ...]) -> Checkpoint:
    name, version, log, position, lag, error, error_position = row
    return Checkpoint(
        projection=name,
        version=version,
        log=Log(log),
        position=position,
        lag=lag,
        error=error,
        error_position=error_position,
    )


async def lag(conn: Connection) -> list[Lag]:
    """Of every projection and log, in that order. Times are the database's, so that a moved clock moves none."""
    found = []
    for log, head_table in HEADS.items():
        cursor = await conn.execute(
            "SELECT c.projection, greatest(h.position - c.position, 0), coalesce(greatest(extract(epoch FROM"
            f" clock_timestamp() - (SELECT e.recorded_at FROM {TABLES[log]} e WHERE e.position > c.position"
            " ORDER BY e.position LIMIT 1)), 0), 0)::float8"
            " FROM colink.projection_checkpoints c JOIN colink.projections p ON p.name = c.projection"
            f" AND p.live_version = c.version CROSS JOIN {head_table} h WHERE c.log = %s",
            (log.value,),
        )
        found += [
            Lag(projection=name, log=log, events=events, seconds=seconds)
            for name, events, seconds in await cursor.fetchall()
        ]
    return sorted(found, key=lambda each: (each.projection, each.log))


async def head(conn: Connection, log: Log) -> int:
    """The position of the newest event of a log, 0 for an empty one."""
    row = await (await conn.execute(f"SELECT position FROM {HEADS[log]}")).fetchone()
    return int(row[0]) if row is not None else 0


async def live_version(conn: Connection, projection: str) -> int:
    """The version whose tables readers use now. Raises NotFound before the projection was registered."""
    cursor = await conn.execute("SELECT live_version FROM colink.projections WHERE name = %s", (projection,))
    row = await cursor.fetchone()
    if row is None:
        msg = f"the projection {projection} has not been registered yet: start a worker"
        raise NotFound(msg)
    return int(row[0])
