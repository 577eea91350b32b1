"""A log with events in it, and sealers for it: what the tests of sealing share.

Events are put in by the owner of the schema, in bulk: what they say does not matter here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg.rows import TupleRow
from tests.adapters.postgres.commands import FixedClock

from colink.adapters.postgres.pool import AsyncPool, create_pool
from colink.adapters.postgres.sealer import Sealer
from colink.adapters.sealing_keys import KeyFolder
from colink.domain.sealing.encoding import EventRow, origin_of
from colink.projections.seals import SEALED_COLUMNS

T = TypeVar("T")


class SealedLog:
    """The commerce log of a database under test, with the keys in `folder`."""

    def __init__(self, database: Any, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.clock = FixedClock()
        self.log_id: str = self.value("select value from colink.installation where name = 'log_id'")
        self.origin = origin_of(self.log_id)
        self.keys = KeyFolder(folder, origin=self.origin)

    def sealer(self, pool: AsyncPool, **settings: Any) -> Sealer:
        return Sealer(pool, self.keys, self.clock, origin=self.origin, **settings)

    async def run(self, story: Callable[[AsyncPool], Awaitable[T]]) -> T:
        async with create_pool(self.database.app_dsn) as pool:
            return await story(pool)

    async def seal(self, **settings: Any) -> int:
        """As a worker that starts: until nothing is left, and signed."""

        async def story(pool: AsyncPool) -> int:
            sealer, sealed = self.sealer(pool, **settings), 0
            while added := await sealer.run():
                sealed += added
            return sealed

        return await self.run(story)

    def grow(self, count: int) -> None:
        """That many more events."""
        self.as_owner(
            "with head as (update colink.log_head set position = position + %(count)s,"
            " recorded_at = '2026-03-01 12:00:00.123456+00' returning position - %(count)s as position)"
            " insert into colink.events select position + n, 'str_' || (position + n), 1, 'test.happened', 1,"
            " '{\"n\":' || n || '}', case when n %% 2 = 0 then 'org_1' end, '2026-03-01 12:00:00.123456+00',"
            " 'test', 'cor_' || n, null from head, generate_series(1, %(count)s) n",
            {"count": count},
        )

    def as_owner(self, statement: str, values: Any = None) -> None:
        self._execute(self.database.owner_dsn, statement, values)

    def as_attacker(self, *statements: str) -> None:
        """As somebody for whom the database refuses nothing: triggers are dropped, not only switched off."""
        with psycopg.connect(self.database.superuser_dsn, autocommit=True) as connection:
            for table in ("events", "seals", "merkle_nodes", "checkpoints", "checkpoint_keys"):
                connection.execute(f"drop trigger if exists append_only on colink.{table}".encode())
            for statement in statements:
                connection.execute(statement.encode())

    def _execute(self, dsn: str, statement: str, values: Any) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(statement.encode(), values)

    def rows(self, query: str) -> list[TupleRow]:
        with psycopg.connect(self.database.app_dsn, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def value(self, query: str) -> Any:
        return self.rows(query)[0][0]

    def events(self) -> list[EventRow]:
        return self.rows(f"select {SEALED_COLUMNS} from colink.events order by position")  # type: ignore[return-value] # their columns
