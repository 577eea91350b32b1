"""Claim: folding the log into a projection in batches of 5,000 positions, checkpoint in the same transaction, is many
times faster than one transaction an event, which is how projections are commonly run.

The log holds real orders (recorded by the real command: three lines, 40 creators, spread over a month), multiplied.
Both ways are the engine's own, on the same log, in positions of the log a second; the baseline differs in its batch
size alone. Measured for each projection by itself, and for both beside each other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

import psycopg

from bench.claim import Measured
from bench.order_command import BY, PLACED_AT, STORE, SetUp, order, seller
from colink.adapters.clock import SystemClock
from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.mapper import EventMapper
from colink.adapters.postgres.migrate import migrate
from colink.adapters.postgres.pool import AsyncPool, create_pool
from colink.adapters.postgres.provision import Database
from colink.adapters.postgres.server import ServerHandle
from colink.application.record_order import RecordOrder
from colink.domain.attribution import CouponUse, OrderKeys
from colink.domain.snapshots import OrderSnapshot
from colink.domain.tracking import Coupon, CouponDetails
from colink.projections.advance import Step, VersionRun
from colink.projections.attribution_report import AttributionReport
from colink.projections.engine import Log, Projection, ProjectionEngine
from colink.projections.leaderboard import Leaderboard
from colink.projections.versions import begin_version

ORDERS = 5_000
COPIES = 15
CREATORS = 40
BATCH = 5_000
BASELINE_SECONDS = 3


def run(_server: ServerHandle, database: Database) -> list[Measured]:
    migrate(database.owner_dsn)
    asyncio.run(record(database.app_dsn))
    events = multiply(database.owner_dsn)
    folded = asyncio.run(fold(database.app_dsn, events))
    return [
        Measured(
            claim=f"fold of {events:,} events into {each.name}, batches of {BATCH:,} / one transaction per event",
            unit="events/s",
            ours=each.alone,
            baseline=each.one_by_one,
            least=100_000,
            least_ratio=20,
            detail=f"{each.beside:,.0f} events/s while the other one is built too",
        )
        for each in folded
    ]


@dataclass(frozen=True, kw_only=True)
class Folded:
    """Events a second of one projection: alone, while the other is built beside it, one transaction per event."""

    name: str
    alone: float
    beside: float
    one_by_one: float


async def record(dsn: str) -> None:
    coupons = [
        Coupon.create(
            CouponDetails(
                id=f"cpn_{n}", organization_id="org_1", store_id="sto_1", code=f"c{n}", creator_id=f"cre_{n}"
            ),
            at=PLACED_AT,
        )
        for n in range(2, CREATORS + 2)
    ]
    async with (
        create_pool(dsn, min_size=2, max_size=2, for_commands=True) as pool,
        Committer(pool, SystemClock(), in_flight=2) as bus,
    ):
        await bus.submit(SetUp(caller=BY, aggregates=[*seller(), *coupons]))
        numbers = iter(range(ORDERS))

        async def caller() -> None:
            for number in numbers:
                await bus.submit(RecordOrder(caller=BY, store=STORE, news=spread(number)))

        await asyncio.gather(*(caller() for _ in range(128)))


def spread(number: int) -> OrderSnapshot:
    """An order by one of the creators' coupons, some time in a month."""
    at = PLACED_AT + timedelta(minutes=number * 8)
    keys = OrderKeys(coupons=(CouponUse(code=f"c{2 + number % CREATORS}", discount=1000),))
    return replace(order(f"{number}"), placed_at=at, updated_at=at, keys=keys)


def multiply(owner_dsn: str) -> int:
    """Each recorded event again and again, as other orders'. How many events there are then."""
    with psycopg.connect(owner_dsn) as conn:
        [head] = conn.execute("SELECT position FROM colink.log_head").fetchone() or (0,)
        conn.execute(
            "INSERT INTO colink.events (position, stream_id, version, topic, schema_version, payload,"
            " organization_id, recorded_at, actor, correlation_id, causation_id)"
            " SELECT position + copy * %(head)s, stream_id || '-' || copy, version, topic, schema_version, payload,"
            " organization_id, recorded_at, actor, correlation_id, causation_id"
            " FROM colink.events CROSS JOIN generate_series(1, %(copies)s) AS copy ORDER BY 1",
            {"head": head, "copies": COPIES - 1},
        )
        conn.execute("UPDATE colink.log_head SET position = %s", [head * COPIES])
    with psycopg.connect(owner_dsn, autocommit=True) as conn:
        conn.execute("VACUUM ANALYZE colink.events")
    return int(head) * COPIES


async def fold(dsn: str, events: int) -> list[Folded]:
    projections: Sequence[Projection] = (AttributionReport(), Leaderboard())
    async with create_pool(dsn, max_size=12) as pool:
        singles = [await one_by_one(pool, projection) for projection in projections]
        engine = ProjectionEngine(pool, projections, EventMapper().newest, batch_size=BATCH)

        async def rate(name: str) -> float:
            began = time.perf_counter()
            await engine.rebuild(name)
            return events / (time.perf_counter() - began)

        await engine.run_until_caught_up()  # and everything is warm
        alone = [await rate(projection.name) for projection in projections]
        beside = await asyncio.gather(*(rate(projection.name) for projection in projections))
    return [
        Folded(name=projection.name, alone=alone[n], beside=beside[n], one_by_one=singles[n])
        for n, projection in enumerate(projections)
    ]


async def one_by_one(pool: AsyncPool, projection: Projection) -> float:
    """Events a second from the beginning of the log, for some seconds."""
    async with pool.connection() as conn:
        version = await begin_version(conn, projection)
    steps: list[Step] = []
    began = time.perf_counter()
    with suppress(TimeoutError):
        async with asyncio.timeout(BASELINE_SECONDS):
            run = VersionRun(pool, projection, version, EventMapper().newest)
            await run.catch_up(Log.COMMERCE, batch_size=1, told=steps.append)
    return len(steps) / (time.perf_counter() - began)
