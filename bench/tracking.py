"""Claim: clicks are recorded together, also those of one network, where each must be told of those before it; and how
many months the log has makes no difference.

64 callers, each click durable before its redirect. The baseline is the same committer with batches of one: a
transaction a click, eight at a time. Of one network, where clicks wait for each other, it is given one fifth.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg

from bench.claim import Measured
from colink.adapters.clock import SystemClock
from colink.adapters.ids import Uuid7Ids
from colink.adapters.postgres.append import TRACKING
from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.migrate import migrate
from colink.adapters.postgres.pool import create_pool
from colink.adapters.postgres.provision import Database, provision
from colink.adapters.postgres.server import ServerHandle
from colink.application.track import RecordTouch, record_click
from colink.domain.tracking import LinkDetails

CALLERS = 64
CLICKS = 6_000
BASELINE_CLICKS = 2_000
MONTHS = 60
LINK = LinkDetails(
    id="lnk_1", code="raya", creator_id="cre_1", destination="https://kedai.example/products/1", campaign_id="cmp_1"
)
Networks = Callable[[int], str]


def run(server: ServerHandle, database: Database) -> list[Measured]:
    years = provision(server, "bench_tracking_years")
    for each in (database, years):
        migrate(each.owner_dsn)
    add_months(years)
    many, one = (lambda n: f"{n:064x}"), (lambda _: "f" * 64)
    baseline = clicks_a_second(database, "slow", many, clicks=BASELINE_CLICKS, batch_size=1)
    apart = clicks_a_second(database, "many", many)
    together = clicks_a_second(database, "one", one)
    baseline_of_one = clicks_a_second(database, "slow", one, clicks=BASELINE_CLICKS // 5, batch_size=1)
    # In turns, so that what else the machine does falls on both.
    turns = [
        [clicks_a_second(each, f"turn{n}", many, clicks=CLICKS // 2) for each in (years, database)] for n in range(3)
    ]
    old, young = (len(turns) / sum(1 / turn[side] for turn in turns) for side in (0, 1))
    return [
        Measured(
            claim=f"clicks recorded, {CALLERS} callers, every network another / a transaction a click",
            unit="clicks/s",
            ours=apart,
            baseline=baseline,
            least_ratio=2.0,
        ),
        Measured(
            claim=f"clicks recorded, {CALLERS} callers, all of one network / a transaction a click",
            unit="clicks/s",
            ours=together,
            baseline=baseline_of_one,
            least_ratio=4.0,
        ),
        Measured(
            claim=f"clicks recorded with {MONTHS} months of tracking in the log / with two",
            unit="clicks/s",
            ours=old,
            baseline=young,
            least_ratio=0.75,
        ),
    ]


def clicks_a_second(
    database: Database, name: str, network_of: Networks, *, clicks: int = CLICKS, batch_size: int = 256
) -> float:
    async def measure() -> float:
        in_flight = 8 if batch_size == 1 else 1
        clock = SystemClock()
        ids = Uuid7Ids(clock)
        async with (
            create_pool(database.app_dsn, max_size=in_flight, for_commands=True) as pool,
            Committer(pool, clock, log=TRACKING, in_flight=in_flight, batch_size=batch_size) as bus,
        ):

            def click(number: int) -> RecordTouch:
                return record_click(
                    LINK,
                    click_id=ids("clk"),
                    at=clock.now(),
                    visitor_id=ids("vis"),
                    set_aside=None,
                    network_hashes=(f"{name}{network_of(number)}",),
                )

            await submit_all(bus, click, range(clicks, clicks + clicks // 10))
            began = time.perf_counter()
            await submit_all(bus, click, range(clicks))
            return clicks / (time.perf_counter() - began)

    return asyncio.run(measure())


async def submit_all(bus: Committer, click: Callable[[int], RecordTouch], numbers: range) -> None:
    """Each caller waits for its answer before the next."""
    left = iter(numbers)

    async def caller() -> None:
        for number in left:
            await bus.submit(click(number))

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


def add_months(database: Database) -> None:
    """Empty months before this one: what they cost is looking into them."""
    with psycopg.connect(database.owner_dsn, autocommit=True) as connection:
        for months_ago in range(1, MONTHS - 1):
            moment = datetime.now(UTC) - timedelta(days=30.5 * months_ago)
            connection.execute("select colink.add_tracking_month(%s)", [moment])
        connection.execute("analyze colink.tracking_events, colink.touches")
