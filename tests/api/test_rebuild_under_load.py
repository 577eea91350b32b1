"""The promise of issue 4: while projections are rebuilt under load, readers of the API see only complete answers that
never fall back, wait for no lock, and a rebuild that is killed harms nobody and is finished by the next.

Webhooks write, a worker follows, readers poll the report and the leaderboard. Their connections give up on any lock
after 100 ms: a reader who had to wait would be an answer that is no 200. Rebuilds are real processes.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tests.api.sale import MUG
from tests.api.shop import Shop, open_shop
from tests.conftest import TestDatabase, data_dir_of

from colink.adapters.postgres.provision import Database

pytestmark = pytest.mark.anyio
COLINK = Path(sys.executable).with_name("colink")
REVENUE, COMMISSION = 2_250, 225  # of each order


@dataclass
class Load:
    """What runs beside the rebuilds, and what readers were answered: orders and clicks of the report, orders of the
    board."""

    shop: Shop
    readers: Shop
    organization: Any
    store: Any
    link: Any
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    sold: int = 0
    seen: list[tuple[int, int]] = field(default_factory=list)
    boards: list[int] = field(default_factory=list)

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Waits for it while everything goes on."""
        async with asyncio.timeout(180):
            while not await condition():
                self.check_all_goes_on()
                await asyncio.sleep(0.01)

    def check_all_goes_on(self) -> None:
        for task in self.tasks:
            if task.done():
                task.result()

    async def until_seen(self) -> None:
        """Until readers see more than was sold by now."""
        sold = self.sold

        async def seen() -> bool:
            return bool(self.seen and self.boards) and min(*self.seen[-1], self.boards[-1]) > sold

        await self.until(seen)

    async def write(self) -> None:
        for number in itertools.count(1):
            self.shop.clock.time += timedelta(minutes=61)  # a click within the hour would be a repeat
            click_id = await self.shop.follow(self.link)
            await self.shop.order(self.store, order_id=number, number=number, items=[MUG], click_id=click_id)
            self.sold = number
            await asyncio.sleep(0.01)

    async def work(self) -> None:
        while True:
            await self.shop.colink.engine.run_until_caught_up()
            await asyncio.sleep(0.01)

    async def read_report(self) -> None:
        while True:
            report = await self.readers.get("/v1/reports/attribution", organization_id=self.organization["id"])
            seen = (0, 0)
            for row in report["items"]:
                if row["orders"]:
                    money = (row["revenue"]["amount"], row["commission"]["amount"])
                    assert money == (REVENUE * row["orders"], COMMISSION * row["orders"]), "no half of a batch"
                seen = (row["orders"], row["clicks"])
            self.seen.append(seen)
            await asyncio.sleep(0.005)

    async def read_board(self) -> None:
        organization = self.organization["id"]
        while True:
            board = await self.readers.get("/v1/leaderboards", organization_id=organization, metric="orders")
            self.boards.append(board["items"][0]["value"] if board["items"] else 0)
            await asyncio.sleep(0.005)


@pytest.fixture
async def load(anyio_backend: str, database: TestDatabase) -> AsyncIterator[Load]:
    """Everything under way, and something to be seen already."""
    impatient = make_conninfo(database.app_dsn, options="-c lock_timeout=100ms")
    async with (
        open_shop(Database(owner_dsn=database.owner_dsn, app_dsn=database.app_dsn)) as shop,
        open_shop(Database(owner_dsn=database.owner_dsn, app_dsn=impatient)) as readers,
    ):
        organization = await shop.organization()
        store, creator = await shop.store(organization), await shop.creator()
        await shop.rule(organization)
        campaign = await shop.campaign(organization)
        link = await shop.link(creator, campaign_id=campaign["id"])
        load = Load(shop=shop, readers=readers, organization=organization, store=store, link=link)
        await shop.colink.engine.run_until_caught_up()
        jobs = (load.write, load.work, load.read_report, load.read_board)
        load.tasks = [asyncio.create_task(job()) for job in jobs]
        try:
            await load.until_seen()
            yield load
            load.check_all_goes_on()
        finally:
            for task in load.tasks:
                task.cancel()
            await asyncio.gather(*load.tasks, return_exceptions=True)


@asynccontextmanager
async def rebuilding(database: TestDatabase, name: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`colink projections rebuild NAME --json`, killed in the end where it still runs."""
    parts = conninfo_to_dict(database.superuser_dsn)
    url = f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']}&port={parts['port']}"
    process = await asyncio.create_subprocess_exec(
        COLINK,
        *("projections", "rebuild", name, "--json"),
        env={"PATH": os.environ["PATH"], "COLINK_DATABASE_URL": url, "COLINK_DATA_DIR": str(data_dir_of(url))},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()


async def rebuilt(database: TestDatabase, name: str) -> Any:
    async with rebuilding(database, name) as process:
        said, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(said)


async def test_readers_never_notice(load: Load, database: TestDatabase) -> None:
    connect = psycopg.AsyncConnection.connect
    async with (
        await connect(database.owner_dsn, autocommit=True) as owner,
        await connect(database.superuser_dsn, autocommit=True) as watcher,
    ):
        # Killed at its last step: everything is built, and it waits for the live version that we hold.
        async with owner.transaction(), rebuilding(database, "attribution_report"):
            await owner.execute(
                "SELECT FROM colink.projection_checkpoints WHERE projection = 'attribution_report' AND version = 1"
                " FOR UPDATE"
            )
            flipping = (
                "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
                " AND query LIKE '%ORDER BY version, log FOR UPDATE'"
            )

            async def at_its_last_step() -> bool:
                return await (await watcher.execute(flipping)).fetchone() is not None

            await load.until(at_its_last_step)
        await load.until_seen()

        first = await rebuilt(database, "attribution_report")
        assert (first["version"], first["live"], first["resumed"]) == (2, True, True)
        board = await rebuilt(database, "leaderboard")
        assert (board["version"], board["live"], board["resumed"]) == (2, True, False)

        # The grace period passes, and old tables go while readers read.
        assert await load.shop.colink.engine.drop_retired() == 0
        await owner.execute(
            "UPDATE colink.projection_versions SET retired_at = retired_at - interval '11 minutes'"
            " WHERE retired_at IS NOT NULL"
        )
        assert await load.shop.colink.engine.drop_retired() == 2
        cursor = await owner.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'colink_read'::regnamespace AND relkind = 'r'"
            " AND relname ~ '^(attribution|leaderboard)'"
        )
        assert {name[-3:] for (name,) in await cursor.fetchall()} == {"_v2"}

    await load.until_seen()
    orders, clicks = zip(*load.seen, strict=True)
    assert list(orders) == sorted(orders), "no answer falls back behind one before"
    assert list(clicks) == sorted(clicks)
    assert load.boards == sorted(load.boards)
