"""Pools and committers on a fresh database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from psycopg.rows import TupleRow
from tests.adapters.postgres.commands import FixedClock

from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.pool import AsyncPool, create_pool


class Store:
    """A database under test, with what tests ask of it."""

    def __init__(self, database: Any) -> None:
        self.app_dsn: str = database.app_dsn
        self.owner_dsn: str = database.owner_dsn
        self.clock = FixedClock()

    def run(self, story: Callable[[Committer, AsyncPool], Awaitable[None]], **settings: Any) -> None:
        """Run a story with a started committer and its pool."""

        async def told() -> None:
            async with self.committer(**settings) as (bus, pool):
                await story(bus, pool)

        asyncio.run(told())

    @asynccontextmanager
    async def committer(self, **settings: Any) -> AsyncIterator[tuple[Committer, AsyncPool]]:
        pool = create_pool(self.app_dsn, for_commands=True)
        async with pool, Committer(pool, self.clock, **settings) as bus:
            yield bus, pool

    def rows(self, query: str, *values: object) -> list[TupleRow]:
        with psycopg.connect(self.app_dsn, autocommit=True) as connection:
            return connection.execute(query, values or None).fetchall()

    def value(self, query: str, *values: object) -> Any:
        return self.rows(query, *values)[0][0]

    def assert_sound(self) -> None:
        """Positions are gapless, the head is at the last, and balances are the fold of the entries."""
        count, last, head = self.rows(
            "select count(*), coalesce(max(position), 0), (select position from colink.log_head) from colink.events"
        )[0]
        assert count == last == head
        stored = self.rows(
            "select account, currency, amount, debits, credits, credited, version, position from colink.balances"
            " order by account, currency"
        )
        folded = self.rows(
            "select account, currency, sum(amount),"
            " coalesce(sum(amount) filter (where amount < 0), 0),"
            " coalesce(sum(amount) filter (where amount > 0), 0),"
            " coalesce(sum(amount) filter (where credited_after is not null), 0), count(*), max(position)"
            " from colink.entries group by account, currency order by account, currency"
        )
        assert stored == folded
        lines = self.rows(
            "select credited_after, sum(amount) over (partition by account, currency order by position, ordinal)"
            " from colink.entries where credited_after is not null"
        )
        assert all(stored == running for stored, running in lines)
        assert self.rows("select currency from colink.entries group by currency having sum(amount) <> 0") == []


@pytest.fixture
def store(database: Any) -> Store:
    return Store(database)
