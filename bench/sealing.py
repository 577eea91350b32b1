"""Claims: a backlog is sealed (chain, Merkle tree, signed checkpoint) many times faster than it could be written, and
any event is proven to be in it in milliseconds.

The log holds real orders, multiplied as in `projection_fold`. The baseline of sealing is one transaction an event, by
the same sealer; that of proofs is the kept library for such trees (pymerkle), with all leaves in its memory.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from pathlib import Path

from pymerkle import InmemoryTree

from bench.claim import Measured
from bench.projection_fold import multiply, record
from colink.adapters.clock import SystemClock
from colink.adapters.postgres.migrate import migrate
from colink.adapters.postgres.pool import AsyncPool, create_pool
from colink.adapters.postgres.provision import Database
from colink.adapters.postgres.sealer import Sealer
from colink.adapters.postgres.server import ServerHandle
from colink.adapters.sealing_keys import KeyFolder
from colink.domain.sealing.encoding import leaf_data, origin_of
from colink.projections.seals import SEALED_COLUMNS, prove_inclusion

BASELINE_SECONDS = 3
PROOFS, BASELINE_PROOFS = 300, 30


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
        theirs = await peer_proof_times(pool, events)
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
            claim=f"an inclusion proof among {events:,} events from the database / pymerkle, tree in memory",
            unit="us",
            ours=statistics.median(proofs) * 1e6,
            baseline=statistics.median(theirs) * 1e6,
            most=10_000,
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


async def peer_proof_times(pool: AsyncPool, events: int) -> list[float]:
    tree = InmemoryTree(algorithm="sha256")
    async with pool.connection() as conn, conn.transaction(), conn.cursor(name="leaves") as cursor:
        cursor.itersize = 10_000
        await cursor.execute(f"SELECT {SEALED_COLUMNS} FROM colink.events ORDER BY position")
        async for row in cursor:
            tree.append_entry(leaf_data(row))
    chance = random.Random(1)  # noqa: S311 - the same positions in every run
    times = []
    for _ in range(BASELINE_PROOFS):
        began = time.perf_counter()
        tree.prove_inclusion(chance.randrange(events) + 1)
        times.append(time.perf_counter() - began)
    return times
