"""Claims: a backlog is sealed (chain, Merkle tree, signed checkpoint) many times faster than it could be written, and
any event is proven to be in it in milliseconds.

The log holds real orders, multiplied as in `projection_fold`. The baseline of sealing is one transaction an event, by
the same sealer; that of proofs is what they would take without the stored subtrees: one reading of all leaves.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from pathlib import Path

from bench.claim import Measured
from bench.projection_fold import multiply, record
from colink.adapters.clock import SystemClock
from colink.adapters.postgres.migrate import migrate
from colink.adapters.postgres.pool import AsyncPool, create_pool
from colink.adapters.postgres.provision import Database
from colink.adapters.postgres.sealer import Sealer
from colink.adapters.postgres.server import ServerHandle
from colink.adapters.sealing_keys import KeyFolder
from colink.domain.sealing.encoding import origin_of
from colink.domain.sealing.merkle import CompactRange
from colink.projections.seals import prove_inclusion

BASELINE_SECONDS = 3
PROOFS, BASELINE_PROOFS = 300, 3


def run(_server: ServerHandle, database: Database) -> list[Measured]:
    migrate(database.owner_dsn)
    asyncio.run(record(database.app_dsn))
    events = multiply(database.owner_dsn)
    with tempfile.TemporaryDirectory(prefix="colink-bench-") as folder:
        return asyncio.run(measure(database.app_dsn, events, Path(folder)))


async def measure(dsn: str, events: int, folder: Path) -> list[Measured]:
    async with create_pool(dsn) as pool:
        async with pool.connection() as conn:
            cursor = await conn.execute("SELECT value FROM colink.installation WHERE name = 'log_id'")
            (log_id,) = await cursor.fetchone() or ("",)
        origin = origin_of(log_id)
        keys = KeyFolder(folder, origin=origin)
        one_by_one = await seal_for(Sealer(pool, keys, SystemClock(), origin=origin, batch_size=1), BASELINE_SECONDS)
        sealer = Sealer(pool, keys, SystemClock(), origin=origin)
        sealed, began, busy = 0, time.perf_counter(), time.process_time()
        while added := await sealer.run():
            sealed += added
        seconds, busy = time.perf_counter() - began, time.process_time() - busy
        proofs = await proof_times(pool, events)
        theirs = await proof_times_from_leaves(pool, events)
    return [
        Measured(
            claim=f"sealing a backlog of {sealed:,} events / one transaction per event",
            unit="events/s",
            ours=sealed / seconds,
            baseline=one_by_one,
            least=150_000,
            least_ratio=20,
            detail=f"of which Python's core: {sealed / busy:,.0f} events/s",
        ),
        Measured(
            claim=f"an inclusion proof among {events:,} events / from the leaves alone",
            unit="us",
            ours=statistics.median(proofs) * 1e6,
            baseline=statistics.median(theirs) * 1e6,
            most=10_000,
            most_ratio=0.1,
            detail=f"p99 {statistics.quantiles(proofs, n=100)[98] * 1e3:.1f} ms, root and checkpoint included",
        ),
    ]


async def seal_for(sealer: Sealer, seconds: float) -> float:
    """Events a second."""
    sealed, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        sealed += await sealer.run()
    return sealed / passed


async def proof_times(pool: AsyncPool, events: int) -> list[float]:
    chance = random.Random(1)  # noqa: S311 - the same positions in every run
    times = []
    async with pool.connection() as conn:
        for _ in range(PROOFS):
            began = time.perf_counter()
            await prove_inclusion(conn, chance.randrange(events) + 1)
            times.append(time.perf_counter() - began)
    return times


async def proof_times_from_leaves(pool: AsyncPool, events: int) -> list[float]:
    """As if nothing but the leaves were kept: each proof reads all of them."""
    times = []
    async with pool.connection() as conn:
        for _ in range(BASELINE_PROOFS):
            began = time.perf_counter()
            cursor = await conn.execute("SELECT leaf FROM colink.seals ORDER BY position")
            tree = CompactRange()
            tree.extend([leaf for (leaf,) in await cursor.fetchall()])
            times.append(time.perf_counter() - began)
            assert tree.size == events
    return times
