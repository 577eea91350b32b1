"""Claim: with 1,000 orders a second offered, a committed order is in every projection within 200 ms, 99 times of 100.

The orders are recorded by the real command, at a steady rate whatever the answers take (an open loop). The worker is
the real `colink worker`, a process of its own that hears of commits by LISTEN and does its other jobs too. Every few
milliseconds the checkpoints are read; an order's lag is from its answer until the slowest projection has passed it,
so it is told up to that much too long.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from bench.claim import Measured
from bench.order_command import BY, STORE, SetUp, order, seller
from colink.adapters.clock import SystemClock
from colink.adapters.postgres.cluster import SUPERUSER
from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.migrate import migrate
from colink.adapters.postgres.pool import create_pool
from colink.adapters.postgres.provision import Database
from colink.adapters.postgres.server import ServerHandle
from colink.application.record_order import RecordOrder
from colink.domain.errors import Unavailable
from colink.projections.engine import Connection

RATE = 1_000  # orders a second
SECONDS = 15
WARM_SECONDS = 3
TICK = 0.005  # seconds between two bursts of orders, and between two looks at the checkpoints


def run(server: ServerHandle, database: Database) -> list[Measured]:
    migrate(database.owner_dsn)
    dbname = str(conninfo_to_dict(database.app_dsn)["dbname"])
    seen = asyncio.run(offer(database.app_dsn, server.dsn(SUPERUSER, dbname)))
    lags = sorted(seen.lags())
    p50, p99 = statistics.median(lags), lags[int(len(lags) * 0.99)]
    rate = len(lags) / seen.seconds
    return [
        Measured(
            claim=f"p99 from answer to projection, {rate:,.0f} orders/s of {RATE:,} offered, `colink worker` beside",
            unit="ms",
            ours=p99 * 1_000,
            most=200,
            detail=f"p50 {p50 * 1_000:.0f} ms, longest {lags[-1] * 1_000:.0f} ms, {len(lags):,} orders,"
            f" {seen.refused:,} turned away",
        )
    ]


@dataclass
class Seen:
    """When orders were answered, by position, and when projections had passed a position."""

    answers: list[tuple[float, int]] = field(default_factory=list)
    passed: list[tuple[float, int]] = field(default_factory=list)
    refused: int = 0
    seconds: float = 0.0

    def lags(self) -> Sequence[float]:
        """Seconds, of every order answered."""
        looks = iter(self.passed)
        at, reached = next(looks)
        lags = []
        for answered, position in sorted(self.answers, key=lambda answer: answer[1]):
            while reached < position:
                at, reached = next(looks)
            lags.append(max(at - answered, 0.0))
        return lags


async def offer(app_dsn: str, owner_dsn: str) -> Seen:
    seen = Seen()
    async with (
        create_pool(app_dsn, min_size=2, max_size=2, for_commands=True) as pool,
        Committer(pool, SystemClock(), in_flight=2) as bus,
        create_pool(app_dsn, min_size=1, max_size=1) as watching,
    ):
        await bus.submit(SetUp(caller=BY, aggregates=seller()))
        async with running_worker(owner_dsn), watching.connection() as conn:
            await until_passed(conn, 1)
            warm = Seen()
            await place(bus, "warm", WARM_SECONDS, warm)
            await until_passed(conn, max(position for _, position in warm.answers))
            placed = asyncio.Event()
            looking = asyncio.create_task(look(conn, seen, until=placed))
            await place(bus, "order", SECONDS, seen)
            placed.set()
            await looking
            last = max(position for _, position in seen.answers)
            seen.passed.append((await until_passed(conn, last), last))
    return seen


async def place(bus: Committer, name: str, seconds: int, seen: Seen) -> None:
    """So many orders a second, for so long, and until all are answered."""
    began = time.perf_counter()
    under_way: set[asyncio.Task[None]] = set()

    async def one(number: int) -> None:
        now = datetime.now(UTC)
        news = replace(order(f"{name}-{number}"), placed_at=now, updated_at=now)
        try:
            recorded = await bus.submit(RecordOrder(caller=BY, store=STORE, news=news))
        except Unavailable:
            seen.refused += 1
            return
        assert recorded.position is not None, "a new order writes events"
        seen.answers.append((time.perf_counter(), recorded.position))

    number = 0
    while number < seconds * RATE:
        due = min(int((time.perf_counter() - began) * RATE), seconds * RATE)
        for each in range(number, due):
            task = asyncio.create_task(one(each))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        number = due
        await asyncio.sleep(TICK)
    await asyncio.gather(*under_way)
    seen.seconds = time.perf_counter() - began


async def look(conn: Connection, seen: Seen, *, until: asyncio.Event) -> None:
    while not until.is_set():
        seen.passed.append((time.perf_counter(), await passed_by_all(conn)))
        await asyncio.sleep(TICK)


async def passed_by_all(conn: Connection) -> int:
    """The position of the commerce log that the slowest projection has reached."""
    cursor = await conn.execute(
        "SELECT min(coalesce(c.position, 0)) FROM colink.projections p LEFT JOIN colink.projection_checkpoints c"
        " ON p.name = c.projection AND p.live_version = c.version AND c.log = 'commerce'"
    )
    row = await cursor.fetchone()
    return int(row[0] or 0) if row is not None else 0


async def until_passed(conn: Connection, position: int) -> float:
    """When all projections had passed it."""
    for _ in range(int(60 / TICK)):
        if await passed_by_all(conn) >= position:
            return time.perf_counter()
        await asyncio.sleep(TICK)
    msg = "the worker does not get there"
    raise TimeoutError(msg)


@asynccontextmanager
async def running_worker(owner_dsn: str) -> AsyncIterator[None]:
    parts = conninfo_to_dict(owner_dsn)
    with tempfile.TemporaryDirectory(prefix="colink-bench-worker-") as folder:
        worker = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("colink"),
            "worker",
            env={
                "PATH": os.environ["PATH"],
                "COLINK_DATA_DIR": folder,
                "COLINK_SANDBOX_URL": "http://127.0.0.1:9",  # nobody is paid here
                "COLINK_DATABASE_URL": "postgresql://{user}@/{dbname}?host={host}&port={port}".format(**parts),
            },
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            worker.terminate()
            await worker.wait()
