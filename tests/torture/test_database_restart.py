"""PostgreSQL goes away under the service and comes back: clients wait or are told 503 and when to ask again, and all
goes on by itself: API, worker, the connection that listens, projections."""

from __future__ import annotations

import asyncio
import random
import signal
import time

from tests.torture.judge import judge, settle
from tests.torture.load import Load
from tests.torture.machine import Machine, machine, wait_until
from tests.torture.shop import open_shop

AWAY = 3.0  # seconds: several tries of everything that tries again


def test_everything_goes_on_after_each_way_to_stop() -> None:
    with machine() as on:
        on.start_all()
        processes = on.pid("serve"), on.pid("worker")
        asyncio.run(_restarts(on, [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL]))
        assert on.is_alive("serve")
        assert on.is_alive("worker")
        assert (on.pid("serve"), on.pid("worker")) == processes
        on.stop("worker")
        on.stop("serve")


async def _restarts(on: Machine, ways: list[signal.Signals]) -> None:
    async with open_shop(on.url) as shop:
        load = Load(shop, random.Random(1))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(load.run())
            for way in ways:
                await asyncio.sleep(1.0)
                await asyncio.to_thread(_stop_and_start, on, way)
                before = len(load.answers.deliveries)
                await asyncio.to_thread(
                    wait_until, lambda before=before: len(load.answers.deliveries) > before, "deliveries to go on"
                )
                await asyncio.to_thread(wait_until, lambda: listens(on), "the worker to listen again")
            load.stop()
        await asyncio.to_thread(settle, on)
        await asyncio.to_thread(judge, on, shop, load.answers)


def _stop_and_start(on: Machine, way: signal.Signals) -> None:
    with on.database_away(way):
        time.sleep(AWAY)


def listens(on: Machine) -> bool:
    query = "select count(*) from pg_stat_activity where datname = current_database() and query ilike 'listen %%'"
    return bool(on.value(query))
