"""Brings one version of a projection forward: reads a window of a log, lets the projection fold and write, and moves
the checkpoint in the same transaction.

Responsible for exactly-once application whatever number of workers runs, for parking at an event that cannot be
applied, and for reading ahead. Not responsible for which versions there are (`versions.py`) or who runs when.

How a window is applied once: the transaction first moves the checkpoint with `WHERE position = :old`, which locks the
row. A second worker waits there, then finds the position moved, rolls back having written nothing, and reads again.

Each (projection, version, log) has a checkpoint of its own. A projection writes rows fed by one log only from that
log: then its logs may be followed beside each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass

import structlog
from psycopg import DataError, Error, IntegrityError
from psycopg.errors import ProgramLimitExceeded

from colink.projections.logs import (
    HEADS,
    Connection,
    Log,
    LogEvent,
    LogReader,
    OpenArchive,
    Pool,
    Upcaster,
    no_archive,
)
from colink.projections.versions import Projection

_log = structlog.get_logger(__name__)

# A crash of the server takes back rows and checkpoint together, so nothing is gained by waiting for the disk. A plan
# made while a table was young would go on scanning it when it is large. Both hold for the transaction.
_SETTINGS = "set_config('synchronous_commit', 'off', true), set_config('enable_seqscan', 'off', true)"
_PATIENCE = 1.0  # seconds reading ahead waits for a connection: it is worth that, and never a deadlock


class CannotApply(Exception):
    """An event of the window between `old` and `new` cannot be decoded, folded or written."""

    def __init__(self, cause: Exception, *, old: int, new: int) -> None:
        super().__init__(str(cause))
        self.cause, self.old, self.new = cause, old, new


@dataclass(frozen=True, kw_only=True)
class Step:
    """From one position to another, of a log that reaches to `head`. Of no length: another worker was first."""

    log: Log
    old: int
    new: int
    head: int

    @property
    def length(self) -> int:
        return self.new - self.old


def tell_nobody(_step: Step) -> None:
    """For those who do not watch."""


class VersionRun:
    """One version of a projection. Any number of runs of it may be under way at once."""

    def __init__(
        self,
        pool: Pool,
        projection: Projection,
        version: int,
        upcast: Upcaster,
        open_archive: OpenArchive = no_archive,
    ) -> None:
        self._pool = pool
        self.projection = projection
        self.version = version
        self._readers = {
            log: LogReader(log, parts, upcast, open_archive()) for log, parts in projection.parts.items()
        }

    async def catch_up(self, log: Log, *, batch_size: int, told: Callable[[Step], None] = tell_nobody) -> int:
        """Until the version is at the head of the log or parked. The number of positions this run moved it."""
        passed = 0
        ahead = _ReadAhead(self._pool, self._readers[log])
        try:
            while (step := await self._advance(log, batch_size, ahead)) is not None:
                passed += step.length
                told(step)
        finally:
            await ahead.stop()
        return passed

    async def _advance(self, log: Log, limit: int, ahead: _ReadAhead) -> Step | None:
        """Apply at most `limit` positions. None where there is nothing to do. Halves the window around an event that
        cannot be applied, so that all before it is applied."""
        try:
            async with self._pool.connection() as conn, conn.transaction():
                return await self.apply_window(conn, log, limit, ahead)
        except CannotApply as failure:
            window = failure.new - failure.old
            if window > 1:
                return await self._advance(log, window // 2, ahead)
            await self._park(log, failure)
            return None

    async def apply_window(
        self, conn: Connection, log: Log, limit: int, ahead: _ReadAhead | None = None
    ) -> Step | None:
        """The next `limit` positions at most, in the caller's transaction. None where there is nothing to do. Raises
        CannotApply, and the caller must roll back."""
        cursor = await conn.execute(
            f"SELECT c.position, c.error_position, (SELECT h.position FROM {HEADS[log]} h), {_SETTINGS}"
            " FROM colink.projection_checkpoints c WHERE c.projection = %s AND c.version = %s AND c.log = %s",
            (self.projection.name, self.version, log.value),
        )
        row = await cursor.fetchone()
        if row is None:
            return None
        old, error_position, head, *_ = row
        if error_position is not None or old >= head:
            return None
        new = min(old + limit, head)
        moved = await conn.execute(
            "UPDATE colink.projection_checkpoints SET position = %s, updated_at = clock_timestamp()"
            " WHERE projection = %s AND version = %s AND log = %s AND position = %s AND error_position IS NULL",
            (new, self.projection.name, self.version, log.value, old),
        )
        if moved.rowcount == 0:
            return Step(log=log, old=old, new=old, head=head)
        events = await ahead.take(old, new) if ahead is not None else None
        if ahead is not None and head - new >= limit:
            ahead.start(new, new + limit)
        try:
            if events is None:
                events = await self._readers[log].read(conn, old, new)
            if events:
                await self.projection.apply(conn, self.version, log, events)
        except (DataError, IntegrityError, ProgramLimitExceeded) as error:
            raise CannotApply(error, old=old, new=new) from error
        except Error:
            raise
        except Exception as error:
            raise CannotApply(error, old=old, new=new) from error
        return Step(log=log, old=old, new=new, head=head)

    async def _park(self, log: Log, failure: CannotApply) -> None:
        error = f"{type(failure.cause).__name__}: {failure.cause}"
        async with self._pool.connection() as conn:
            parked = await conn.execute(
                "UPDATE colink.projection_checkpoints SET error = %s, error_position = %s"
                " WHERE projection = %s AND version = %s AND log = %s AND position = %s AND error_position IS NULL",
                (error, failure.new, self.projection.name, self.version, log.value, failure.old),
            )
        if parked.rowcount:
            _log.error(
                "projection parked",
                projection=self.projection.name,
                version=self.version,
                log=log.value,
                position=failure.new,
                error=error,
            )

    async def positions(self, conn: Connection) -> dict[Log, int]:
        """How far it is in each log."""
        cursor = await conn.execute(
            "SELECT log, position FROM colink.projection_checkpoints WHERE projection = %s AND version = %s",
            (self.projection.name, self.version),
        )
        return {Log(log): position for log, position in await cursor.fetchall()}

    async def unpark(self, conn: Connection) -> None:
        """Let it try its event again."""
        await conn.execute(
            "UPDATE colink.projection_checkpoints SET error = NULL, error_position = NULL"
            " WHERE projection = %s AND version = %s",
            (self.projection.name, self.version),
        )


async def all_of(works: Iterable[Coroutine[None, None, int]]) -> int:
    """Their sum, once all came to an end; then the first error, if any."""
    ends = await asyncio.gather(*works, return_exceptions=True)
    passed = 0
    for end in ends:
        if isinstance(end, BaseException):
            raise end
        passed += end
    return passed


class _ReadAhead:
    """Reads the next window on a connection of its own while the one before it is folded and written."""

    def __init__(self, pool: Pool, reader: LogReader) -> None:
        self._pool = pool
        self._reader = reader
        self._window = (-1, -1)
        self._reading: asyncio.Task[list[LogEvent]] | None = None

    def start(self, old: int, new: int) -> None:
        self._window = (old, new)
        self._reading = asyncio.create_task(self._read(old, new))

    async def _read(self, old: int, new: int) -> list[LogEvent]:
        async with self._pool.connection(timeout=_PATIENCE) as conn:
            return await self._reader.read(conn, old, new)

    async def take(self, old: int, new: int) -> list[LogEvent] | None:
        """The events of a window. None where it was not read, or not without an error: whoever needs it reads it
        then, and meets the error where it belongs."""
        if self._reading is None:
            return None
        if self._window != (old, new):
            await self.stop()
            return None
        reading = self._reading
        await asyncio.wait({reading})
        self._reading = None
        return None if reading.cancelled() or reading.exception() is not None else reading.result()

    async def stop(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
