"""A connection to read with where nobody has handled a database that is away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import AsyncConnection, OperationalError
from psycopg.rows import TupleRow
from psycopg_pool import PoolTimeout

from colink.adapters.postgres.pool import AsyncPool
from colink.domain.errors import Unavailable


@asynccontextmanager
async def connected(pool: AsyncPool) -> AsyncIterator[AsyncConnection[TupleRow]]:
    """A connection of the pool. Raises Unavailable when none is to be had or it breaks."""
    try:
        async with pool.connection() as connection:
            yield connection
    except (OperationalError, PoolTimeout) as error:
        msg = "the database is away: nothing was recorded"
        raise Unavailable(msg) from error
