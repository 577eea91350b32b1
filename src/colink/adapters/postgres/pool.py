"""Connection pools of the application: UTC, no JIT, autocommit. Not responsible for roles or the server."""

from __future__ import annotations

from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from colink.projections.whole_numbers import read_whole_numbers

AsyncPool = AsyncConnectionPool[AsyncConnection[TupleRow]]
SyncPool = ConnectionPool[Connection[TupleRow]]

# Plans cached on young tables, and JIT for statements of a millisecond, cost more than they give.
_SETTINGS = "set jit = off; set timezone = 'UTC'; set client_encoding = 'UTF8'"


# A plan made while a table was young would go on scanning it when it is large: commands read by key only. So there is
# one good plan of each statement, and planning it for every batch would cost more than the batch itself.
_BY_KEY_ONLY = f"{_SETTINGS}; set enable_seqscan = off; set plan_cache_mode = force_generic_plan"


async def _configure(connection: AsyncConnection[TupleRow]) -> None:
    read_whole_numbers(connection)
    await connection.execute(_SETTINGS)


async def _configure_for_commands(connection: AsyncConnection[TupleRow]) -> None:
    read_whole_numbers(connection)
    await connection.execute(_BY_KEY_ONLY)


def _configure_blocking(connection: Connection[TupleRow]) -> None:
    read_whole_numbers(connection)
    connection.execute(_SETTINGS)


def create_pool(
    dsn: str, *, min_size: int = 1, max_size: int = 8, timeout: float = 10.0, for_commands: bool = False
) -> AsyncPool:
    """A closed pool: open it with `await pool.open()` on the loop that uses it. `timeout` in seconds, for a
    connection to be free. `for_commands`: for a committer, which needs one connection per batch in flight.

    A lost connection is sought for as long as a caller waits for one, after 1, 3 and 7 seconds; then the next caller
    begins anew. By default the pauses double for five minutes: after an outage of a minute the pool would go on
    sleeping for another."""
    return AsyncConnectionPool(
        dsn,
        connection_class=AsyncConnection[TupleRow],
        kwargs={"autocommit": True},
        configure=_configure_for_commands if for_commands else _configure,
        min_size=min_size,
        max_size=max_size,
        timeout=timeout,
        reconnect_timeout=timeout,
        open=False,
    )


def create_blocking_pool(dsn: str, *, min_size: int = 1, max_size: int = 4, timeout: float = 10.0) -> SyncPool:
    """The same for threads (the recorder of the eventsourcing library, tools). It is open."""
    return ConnectionPool(
        dsn,
        connection_class=Connection[TupleRow],
        kwargs={"autocommit": True},
        configure=_configure_blocking,
        min_size=min_size,
        max_size=max_size,
        timeout=timeout,
        reconnect_timeout=timeout,
        open=True,
    )
