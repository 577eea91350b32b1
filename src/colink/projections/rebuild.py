"""Rebuilds a projection beside the version in use, and points readers at the new one (architecture section 5).

    the lock -> an unfinished version, else the next one -> catch up -> the flip -> the old one retires

Responsible for one rebuild at a time (an advisory lock that dies with the process) and for the flip: one transaction
that holds the live version still, applies what is left of the logs and moves the pointer, so that no reader ever sees
less than before. Readers wait for nothing: they read the pointer, then tables that stay for a grace period.

A rebuild that was killed leaves a version that nobody reads, with its checkpoint; the next rebuild goes on there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from psycopg import OperationalError

from colink.domain.errors import Conflict
from colink.projections.advance import CannotApply, Step, VersionRun, all_of
from colink.projections.logs import Connection, Log, OpenArchive, Pool, Upcaster, heads, no_archive
from colink.projections.versions import (
    Projection,
    begin_version,
    complete,
    find_live_version,
    is_parked,
    table,
    try_lock,
    unfinished_version,
    unlock,
)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a rebuild is: positions reached and heads, by log. `resumed`: an earlier rebuild began this version."""

    projection: str
    version: int
    resumed: bool
    positions: Mapping[Log, int]
    heads: Mapping[Log, int]


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """`live`: readers use it now. Else it stopped at an event that it cannot apply, as its checkpoint says."""

    projection: str
    version: int
    resumed: bool
    live: bool
    passed: int


Report = Callable[[Progress], None]


def tell_nobody(_progress: Progress) -> None:
    """For those who do not watch."""


class Rebuild:
    """The next version of one projection, from the first event to the flip."""

    def __init__(
        self,
        pool: Pool,
        projection: Projection,
        upcast: Upcaster,
        *,
        batch_size: int,
        report: Report = tell_nobody,
        open_archive: OpenArchive = no_archive,
    ) -> None:
        self._pool = pool
        self._projection = projection
        self._upcast = upcast
        self._batch_size = batch_size
        self._report = report
        self._open_archive = open_archive

    async def run(self) -> Rebuilt:
        """Raises Conflict where another process rebuilds this projection now."""
        async with self._alone() as conn:
            unfinished = await unfinished_version(conn, self._projection)
            version = unfinished or await begin_version(conn, self._projection)
            run = VersionRun(self._pool, self._projection, version, self._upcast, self._open_archive)
            await run.unpark(conn)
            watch = _Watch(self._report, run, resumed=unfinished is not None)
            await watch.begin(conn)
            live = await self._fill(conn, run, watch)
        return Rebuilt(
            projection=self._projection.name, version=version, resumed=watch.resumed, live=live, passed=watch.passed
        )

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[Connection]:
        async with self._pool.connection() as conn:
            if not await try_lock(conn, self._projection):
                msg = f"{self._projection.name} is being rebuilt by another process: wait for that one"
                raise Conflict(msg)
            try:
                yield conn
            finally:
                with suppress(OperationalError):  # a connection that broke has lost the lock already
                    await unlock(conn, self._projection)

    async def _fill(self, conn: Connection, run: VersionRun, watch: _Watch) -> bool:
        """Until the version is live, or parked."""
        await self._catch_up(run, watch)
        for name in self._projection.tables:
            await conn.execute(f"ANALYZE {table(name, run.version)}")  # readers plan for what is there
        while not await is_parked(conn, self._projection, run.version):
            if await self._flip(run, watch):
                return True
            await self._catch_up(run, watch)
        return False

    async def _catch_up(self, run: VersionRun, watch: _Watch) -> None:
        await all_of(
            run.catch_up(log, batch_size=self._batch_size, told=watch.stepped) for log in self._projection.parts
        )

    async def _flip(self, run: VersionRun, watch: _Watch) -> bool:
        """Whether the version is live now. Not where more of a log is left than a batch, or what is left cannot be
        applied."""
        try:
            async with self._pool.connection() as conn, conn.transaction():
                if not await self._hold(conn, run.version):
                    return False
                # Heads are read after the live version was held: it cannot be ahead of what is applied here.
                for log in self._projection.parts:
                    step = await run.apply_window(conn, log, self._batch_size)
                    if step is not None and step.new < step.head:
                        return False
                    if step is not None:
                        watch.stepped(step)
                await complete(conn, self._projection, run.version)
                return True
        except CannotApply:
            return False

    async def _hold(self, conn: Connection, version: int) -> bool:
        """Keep everybody from moving the live version and this one; whether this one is in order."""
        live = await find_live_version(conn, self._projection)
        cursor = await conn.execute(
            "SELECT version, error_position FROM colink.projection_checkpoints"
            " WHERE projection = %s AND version = ANY(%s) ORDER BY version, log FOR UPDATE",
            (self._projection.name, [version if live is None else live, version]),
        )
        rows = await cursor.fetchall()
        errors = [error for held, error in rows if held == version]
        return len(errors) == len(self._projection.parts) and errors.count(None) == len(errors)


class _Watch:
    """Adds up the steps of a rebuild for whoever watches."""

    def __init__(self, report: Report, run: VersionRun, *, resumed: bool) -> None:
        self._report = report
        self._run = run
        self.resumed = resumed
        self.passed = 0
        self._positions: dict[Log, int] = {}
        self._heads: dict[Log, int] = {}

    async def begin(self, conn: Connection) -> None:
        logs = list(self._run.projection.parts)
        self._heads = await heads(conn, logs)
        self._positions = await self._run.positions(conn)
        self._tell()

    def stepped(self, step: Step) -> None:
        self.passed += step.length
        self._positions[step.log], self._heads[step.log] = step.new, step.head
        self._tell()

    def _tell(self) -> None:
        self._report(
            Progress(
                projection=self._run.projection.name,
                version=self._run.version,
                resumed=self.resumed,
                positions=dict(self._positions),
                heads=dict(self._heads),
            )
        )
