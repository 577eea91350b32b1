"""Whoever follows the log hears of an append at once, and never waits longer than it wanted to."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from tests.projections.world import World

from colink.projections.log_watch import LogWatch

pytestmark = pytest.mark.anyio


async def seconds(watch: LogWatch, at_most: float) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await watch.wait(at_most)
    return loop.time() - began


async def test_an_append_is_heard(world: World) -> None:
    async with LogWatch(world.database.app_dsn) as watch:
        await seconds(watch, 0.05)  # it listens from its first wait on
        waiting = asyncio.create_task(seconds(watch, 30))
        await asyncio.sleep(0.1)
        await world.order(1, 1_000)
        assert await waiting < 5


async def test_silence_ends_by_itself(world: World) -> None:
    async with LogWatch(world.database.app_dsn) as watch:
        assert 0.1 <= await seconds(watch, 0.1) < 5


async def test_a_lost_connection_is_told_and_then_made_again(world: World) -> None:
    async with LogWatch(world.database.app_dsn) as watch:
        await seconds(watch, 0.05)
        with psycopg.connect(world.database.superuser_dsn) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            )
        with pytest.raises(psycopg.OperationalError):
            await watch.wait(30)
        assert 0.05 <= await seconds(watch, 0.05) < 5
