"""The promise: the first operator key is shown at most once and works at once; the clock of a demo moves; a store is
connected only where its deliveries can be read."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from tests.conftest import TestDatabase, data_dir_of

from colink.adapters.postgres.migrate import migrate
from colink.adapters.postgres.provision import Database
from colink.bootstrap import DatabaseNotUsable, connect
from colink.config import Settings, SettingsError
from colink.domain.organizations import OFFERED_PLATFORMS

pytestmark = pytest.mark.anyio


def opened(database: TestDatabase, **settings: Any) -> Any:
    settings.setdefault("data_dir", data_dir_of(database.owner_dsn))
    return connect(Settings(**settings), Database(owner_dsn=database.owner_dsn, app_dsn=database.app_dsn))


async def may_operate(colink: Any, key: str) -> bool:
    transport = httpx.ASGITransport(app=colink.asgi())
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        body = {"name": "Kedai", "platform_fee_bps": 500}
        answer = await http.post("/v1/organizations", json=body, headers={"Authorization": f"Bearer {key}"})
    return answer.status_code == 201


async def test_the_first_key_is_made_once_whoever_opens(database: TestDatabase) -> None:
    async with opened(database) as one, opened(database) as another:
        keys = await asyncio.gather(*(colink.first_admin_key() for colink in (one, another) for _ in range(4)))
        (key,) = [key for key in keys if key is not None]
        assert await may_operate(one, key)
        assert await may_operate(another, key)
    async with opened(database) as later:
        assert await later.first_admin_key() is None


async def test_a_given_admin_key_works_from_every_opening(database: TestDatabase) -> None:
    for _ in range(2):
        async with opened(database, admin_key="ck_given_by_the_operator") as colink:
            assert await colink.first_admin_key() is None
            assert await may_operate(colink, "ck_given_by_the_operator")
    async with opened(database, admin_key="ck_another_one_later_on") as colink:
        assert await may_operate(colink, "ck_another_one_later_on")


async def test_the_clock_moves_on_a_database_that_was_created_as_a_demo(make_database: Any) -> None:
    demo = make_database(migrated=False)
    migrate(demo.owner_dsn, demo=True)
    async with opened(demo, clock_offset="+15d") as colink:
        ahead = colink.clock.now() - datetime.now(UTC)
    assert timedelta(days=14, hours=23) < ahead < timedelta(days=15, seconds=1)


async def test_the_clock_of_any_other_database_stands(database: TestDatabase) -> None:
    with pytest.raises(SettingsError, match="COLINK_CLOCK_OFFSET"):
        async with opened(database, clock_offset="+15d"):
            pass


async def test_the_platforms_that_are_offered_are_those_whose_deliveries_are_read(database: TestDatabase) -> None:
    async with opened(database) as colink:
        assert set(colink.connectors) == OFFERED_PLATFORMS


async def test_a_database_that_lost_what_makes_it_itself_is_refused_in_words(database: TestDatabase) -> None:
    """A new pepper would recognise nobody again, and a new log id no signature."""
    with psycopg.connect(database.superuser_dsn) as conn:
        conn.execute("ALTER TABLE colink.installation DISABLE TRIGGER ALL")
        conn.execute("DELETE FROM colink.installation WHERE name IN ('pepper', 'log_id')")
    with pytest.raises(DatabaseNotUsable, match="lost log_id and pepper: put it back from a backup"):
        async with opened(database):
            pass
