"""Runs the async projections of a process: keeps the versions in use up to date, builds the first ones, rebuilds on
request, and drops what retired.

    logs.py (events in parts) -> advance.py (one version, exactly once) -> versions.py (tables, pointer)
                                 rebuild.py (the next version, the flip)    checkpoints.py (how far, how late)

Not responsible for what a projection keeps (its module), when the engine runs (the worker), or inline rows
(`inline.py`). Projections know nothing of each other: each runs in tasks and on connections of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from colink.domain.errors import Conflict, NotFound
from colink.projections.advance import VersionRun, all_of
from colink.projections.checkpoints import Checkpoint, Lag, State, all_checkpoints, checkpoints, lag
from colink.projections.logs import (
    ArchiveReader,
    Connection,
    Decoder,
    Log,
    LogEvent,
    OpenArchive,
    Parts,
    Pool,
    Seen,
    Upcaster,
    head,
    no_archive,
)
from colink.projections.rebuild import Progress, Rebuild, Rebuilt, Report, tell_nobody
from colink.projections.versions import (
    Projection,
    drop_retired,
    find_live_version,
    is_outdated,
    is_parked,
    live_version,
    register,
    table,
    unfinished_version,
)

__all__ = [
    "ArchiveReader",
    "Checkpoint",
    "Connection",
    "Decoder",
    "Lag",
    "Log",
    "LogEvent",
    "Parts",
    "Pool",
    "Progress",
    "Projection",
    "ProjectionEngine",
    "Rebuilt",
    "Seen",
    "State",
    "checkpoints",
    "head",
    "lag",
    "live_version",
    "table",
]

GRACE = timedelta(minutes=10)
"""How long the tables of a version stay after readers were pointed at another: far longer than any request."""


class ProjectionEngine:
    """Brings projections up to the head of their logs. Any number of engines may run at once."""

    def __init__(
        self,
        pool: Pool,
        projections: Sequence[Projection],
        upcast: Upcaster,
        *,
        batch_size: int = 5_000,
        grace: timedelta = GRACE,
        open_archive: OpenArchive = no_archive,
    ) -> None:
        """`open_archive`: gives readers of the events that left the tracking log, to whoever builds from zero."""
        self._pool = pool
        self._projections = {projection.name: projection for projection in projections}
        self._upcast = upcast
        self._batch_size = batch_size
        self._grace = grace
        self._open_archive = open_archive

    @property
    def names(self) -> list[str]:
        return list(self._projections)

    async def register(self) -> None:
        """Give each projection its first version, where it has none of its shape. Repeatable."""
        async with self._pool.connection() as conn:
            for projection in self._projections.values():
                await register(conn, projection)

    async def run_until_caught_up(self) -> int:
        """All projections beside each other, until each is at the head of its logs or parked. The number of positions
        passed. Errors of the database come out after every projection had its turn."""
        return await all_of(self.catch_up(name) for name in self._projections)

    async def catch_up(self, name: str) -> int:
        """One projection. The number of positions this engine moved it. Builds its first version where there is none;
        what a later release keeps in a later shape is that one's."""
        projection = self._projections[name]
        async with self._pool.connection() as conn:
            version = await find_live_version(conn, projection)
            if version is None and not await self._is_to_build(conn, projection):
                return 0
        if version is None:
            return await self._build(projection)
        run = VersionRun(self._pool, projection, version, self._upcast, self._open_archive)
        return await all_of(run.catch_up(log, batch_size=self._batch_size) for log in projection.parts)

    async def _is_to_build(self, conn: Connection, projection: Projection) -> bool:
        if await is_outdated(conn, projection):
            return False
        unfinished = await unfinished_version(conn, projection)
        return unfinished is None or not await is_parked(conn, projection, unfinished)

    async def _build(self, projection: Projection) -> int:
        try:
            built = await self._rebuild_of(projection).run()
        except Conflict:
            return 0  # another process builds it
        return built.passed

    async def rebuild(self, name: str, *, report: Report = tell_nobody) -> Rebuilt:
        """Build the next version of a projection beside the one in use, or go on with one that was begun, and point
        readers at it. Raises NotFound for an unknown name, Conflict while another process rebuilds it."""
        return await self._rebuild_of(self._named(name), report).run()

    def _rebuild_of(self, projection: Projection, report: Report = tell_nobody) -> Rebuild:
        return Rebuild(
            self._pool,
            projection,
            self._upcast,
            batch_size=self._batch_size,
            report=report,
            open_archive=self._open_archive,
        )

    async def drop_retired(self) -> int:
        """Drop the tables of versions that readers were pointed away from a grace period ago; how many versions."""
        async with self._pool.connection() as conn:
            return await drop_retired(conn, grace=self._grace)

    async def resume(self, name: str) -> None:
        """Let a parked projection try its event again. Raises NotFound for an unknown name."""
        self._named(name)
        async with self._pool.connection() as conn:
            await conn.execute(
                "UPDATE colink.projection_checkpoints SET error = NULL, error_position = NULL WHERE projection = %s",
                (name,),
            )

    async def checkpoints(self) -> list[Checkpoint]:
        """How far every projection of this engine is, by name, version and log, versions being built too."""
        async with self._pool.connection() as conn:
            return [each for each in await all_checkpoints(conn) if each.projection in self._projections]

    def _named(self, name: str) -> Projection:
        if name not in self._projections:
            msg = f"no projection is called {name!r}: there are {', '.join(self._projections)}"
            raise NotFound(msg)
        return self._projections[name]
