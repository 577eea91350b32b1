"""A head of the log that the test holds: appends wait on the server until it lets go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from tests.conftest import TestDatabase


def rows(database: TestDatabase, query: str, *values: object) -> list[Any]:
    with psycopg.connect(database.app_dsn, autocommit=True) as connection:
        return connection.execute(query, values or None).fetchall()


@asynccontextmanager
async def head_locked(database: TestDatabase) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """While it lasts no append gets on; calling what it yields ends it early."""
    async with await psycopg.AsyncConnection.connect(database.superuser_dsn) as connection:
        await connection.execute("select from colink.log_head for update")
        yield connection.rollback


async def waiting_appends(database: TestDatabase, number: int) -> None:
    """Until that many appends wait on the server."""
    query = (
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        " and query like '%append_commerce%'"
    )
    while rows(database, query)[0][0] < number:  # noqa: ASYNC110 - only the server knows
        await asyncio.sleep(0.02)
