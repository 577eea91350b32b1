"""Versions of a projection's tables: made, completed, retired and dropped (decision 11).

    being built  ->  live (the pointer names it)  ->  retired (another became live)  ->  dropped, after a grace period

Responsible for the tables themselves (from the one definition in the projection's module), the pointer readers
follow, and the rows of their checkpoints. Not responsible for filling tables (`advance.py`) or for when to build
(`rebuild.py`).

A projection has a `shape`, raised when its tables or the meaning of their rows change. The pointer is kept by shape:
a program of the release before goes on reading, and keeping up, the version of the shape that it knows, until that is
dropped. A version of another shape than the program's own is nothing it writes to.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar, Protocol
from zlib import crc32

from psycopg import errors, sql

from colink.domain.errors import Unavailable
from colink.projections.logs import Connection, Log, LogEvent, Parts, heads

SCHEMA = "colink_read"
_LOCKS = 0x_C0_11_4D  # our space of advisory locks, one lock a projection


class Projection(Protocol):
    """A read model. `tables`: the columns and keys of each table it fills, by name; the version is added to that.
    `parts`: what it folds, for each log it reads."""

    name: ClassVar[str]
    shape: ClassVar[int]
    tables: ClassVar[Mapping[str, str]]
    parts: ClassVar[Mapping[Log, Parts]]

    async def apply(self, conn: Connection, version: int, log: Log, events: list[LogEvent]) -> None:
        """Fold events (in order of position, never empty) and write to the tables of a version, inside the caller's
        transaction. Depends on the events and these tables alone, and not on how the log was cut into batches."""


def table(name: str, version: int) -> str:
    """What a table of a version is called."""
    return f"{SCHEMA}.{name}_v{version}"


async def live_version(conn: Connection, projection: type[Projection]) -> int:
    """The version whose tables readers use now. Raises Unavailable while the first one is being built.

    Read it, then the tables, in one request: they stay for a grace period after another version became live.
    """
    found = await find_live_version(conn, projection)
    if found is None:
        msg = f"{projection.name} is being built from the log: a running worker finishes it"
        raise Unavailable(msg)
    return found


async def find_live_version(conn: Connection, projection: Projection | type[Projection]) -> int | None:
    """The same, None where there is none."""
    cursor = await conn.execute(
        "SELECT live_version FROM colink.projections WHERE name = %s AND shape = %s",
        (projection.name, projection.shape),
    )
    row = await cursor.fetchone()
    return row[0] if row is not None else None


async def is_outdated(conn: Connection, projection: Projection) -> bool:
    """Whether a later release keeps this projection in a later shape."""
    cursor = await conn.execute(
        "SELECT FROM colink.projections WHERE name = %s AND shape > %s AND live_version IS NOT NULL",
        (projection.name, projection.shape),
    )
    return await cursor.fetchone() is not None


async def try_lock(conn: Connection, projection: Projection, *, for_transaction: bool = False) -> bool:
    """Whether this connection (or its transaction) is now the one that makes versions of the projection. The lock
    dies with the connection."""
    kind = "xact_" if for_transaction else ""
    cursor = await conn.execute(f"SELECT pg_try_advisory_{kind}lock(%s, %s)", lock_key(projection))
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def unlock(conn: Connection, projection: Projection) -> None:
    await conn.execute("SELECT pg_advisory_unlock(%s, %s)", lock_key(projection))


def lock_key(projection: Projection) -> tuple[int, int]:
    """Its advisory lock."""
    return _LOCKS, crc32(projection.name.encode()) - 2**31


async def register(conn: Connection, projection: Projection) -> None:
    """See to it that there is a version of the projection's shape. With empty logs it is complete as it is, else a
    worker builds it. Repeatable, and safe at once with itself."""
    if await _has_version(conn, projection) or await is_outdated(conn, projection):
        return
    async with conn.transaction():
        if not await try_lock(conn, projection, for_transaction=True) or await _has_version(conn, projection):
            return
        version = await _make_version(conn, projection)
        if not any((await heads(conn, list(projection.parts))).values()):
            await complete(conn, projection, version)


async def _has_version(conn: Connection, projection: Projection) -> bool:
    cursor = await conn.execute(
        "SELECT FROM colink.projection_versions WHERE projection = %s AND shape = %s AND retired_at IS NULL",
        (projection.name, projection.shape),
    )
    return await cursor.fetchone() is not None


async def unfinished_version(conn: Connection, projection: Projection) -> int | None:
    """One that is still being built, where there is one."""
    cursor = await conn.execute(
        "SELECT max(version) FROM colink.projection_versions WHERE projection = %s AND shape = %s"
        " AND completed_at IS NULL AND retired_at IS NULL",
        (projection.name, projection.shape),
    )
    row = await cursor.fetchone()
    return row[0] if row is not None else None


async def is_parked(conn: Connection, projection: Projection, version: int) -> bool:
    """Whether a version waits at an event that it cannot apply."""
    cursor = await conn.execute(
        "SELECT FROM colink.projection_checkpoints"
        " WHERE projection = %s AND version = %s AND error_position IS NOT NULL",
        (projection.name, version),
    )
    return await cursor.fetchone() is not None


async def begin_version(conn: Connection, projection: Projection) -> int:
    """The next version, empty. For the holder of the lock."""
    async with conn.transaction():
        return await _make_version(conn, projection)


async def _make_version(conn: Connection, projection: Projection) -> int:
    """Numbered behind all that is known of, also where the row of a version was lost: its tables are still read."""
    cursor = await conn.execute(
        "INSERT INTO colink.projection_versions (projection, version, shape, tables)"
        " SELECT %(name)s, coalesce(max(version), 0) + 1, %(shape)s, %(tables)s FROM ("
        "SELECT version FROM colink.projection_versions WHERE projection = %(name)s"
        " UNION ALL SELECT version FROM colink.projection_checkpoints WHERE projection = %(name)s"
        " UNION ALL SELECT live_version FROM colink.projections WHERE name = %(name)s"
        " UNION ALL SELECT split_part(tablename, '_v', -1)::integer FROM pg_tables, unnest(%(tables)s::text[]) AS own"
        " WHERE schemaname = %(schema)s AND tablename ~ ('^' || own || '_v[0-9]+$')) AS known (version)"
        " RETURNING version",
        {
            "name": projection.name,
            "shape": projection.shape,
            "tables": list(projection.tables),
            "schema": SCHEMA,
        },
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - an INSERT that returns
    version = int(row[0])
    for name, definition in projection.tables.items():
        await conn.execute(f"CREATE TABLE {table(name, version)} {definition}")
        # Who backs the database up as its owner reads these tables too.
        await conn.execute(
            f"DO $$ BEGIN EXECUTE format('GRANT ALL ON {table(name, version)} TO %s',"
            f" (SELECT nspowner::regrole FROM pg_namespace WHERE nspname = '{SCHEMA}')); END $$"
        )
    await conn.execute(
        "INSERT INTO colink.projections (name, shape) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (projection.name, projection.shape),
    )
    for log in projection.parts:
        await conn.execute(
            "INSERT INTO colink.projection_checkpoints (projection, version, log, position) VALUES (%s, %s, %s, 0)",
            (projection.name, version, log.value),
        )
    return version


async def complete(conn: Connection, projection: Projection, version: int) -> None:
    """Point readers at a version, in the caller's transaction: the one that caught up. Those before it retire."""
    await conn.execute(
        "UPDATE colink.projections SET live_version = %s WHERE name = %s AND shape = %s",
        (version, projection.name, projection.shape),
    )
    await conn.execute(
        "UPDATE colink.projection_versions SET completed_at = clock_timestamp()"
        " WHERE projection = %s AND version = %s",
        (projection.name, version),
    )
    # Not those of a later release's shape: its programs read them.
    await conn.execute(
        "UPDATE colink.projection_versions SET retired_at = clock_timestamp()"
        " WHERE projection = %s AND version <> %s AND shape <= %s AND retired_at IS NULL",
        (projection.name, version, projection.shape),
    )


async def drop_retired(conn: Connection, *, grace: timedelta) -> int:
    """Drop the tables of versions that retired `grace` ago or earlier; how many versions. One that somebody still
    reads is left for the next time: nobody ever waits for a drop."""
    cursor = await conn.execute(
        "SELECT projection, version FROM colink.projection_versions"
        " WHERE retired_at <= clock_timestamp() - %s AND dropped_at IS NULL ORDER BY projection, version",
        (grace,),
    )
    dropped = 0
    for projection, version in await cursor.fetchall():
        try:
            async with conn.transaction():
                dropped += await _drop(conn, projection, version)
        except errors.LockNotAvailable:
            continue
    return dropped


async def _drop(conn: Connection, projection: str, version: int) -> int:
    await conn.execute("SET LOCAL lock_timeout = '50ms'")
    cursor = await conn.execute(
        "UPDATE colink.projection_versions SET dropped_at = clock_timestamp()"
        " WHERE projection = %s AND version = %s AND dropped_at IS NULL RETURNING tables",
        (projection, version),
    )
    row = await cursor.fetchone()
    if row is None:
        return 0
    for name in row[0]:
        gone = sql.Identifier(SCHEMA, f"{name}_v{version}")
        await conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(gone))
    await conn.execute(
        "DELETE FROM colink.projection_checkpoints WHERE projection = %s AND version = %s", (projection, version)
    )
    await conn.execute("DELETE FROM colink.projections WHERE name = %s AND live_version = %s", (projection, version))
    return 1
