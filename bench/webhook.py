"""Claim: signed Shopify webhooks (7 KB, three lines), each from socket to durable order, attribution, split, journal
and balances, are taken at three tenths of the rate at which an empty route answers.

`colink serve` runs as a process of its own on an embedded PostgreSQL with default durability, the load generator as
another, with 64 connections. The baseline is an empty FastAPI route on the same server software, asked by the same
generator with the smallest request there is. All orders are one seller's and one creator's: hot accounts.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from bench.claim import Measured
from bench.empty_route import serving_nothing
from bench.http_load import Load, measure, request_bytes
from bench.served_shop import served_shop
from colink.adapters.postgres.provision import Database
from colink.adapters.postgres.server import ServerHandle

CONNECTIONS = 64
DELIVERIES = 10_000
EMPTY = 15_000
P99 = 50.0  # milliseconds


def run(_server: ServerHandle, _database: Database) -> list[Measured]:
    with tempfile.TemporaryDirectory(prefix="colink-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        ours, baseline = asyncio.run(measured(Path(folder) / "data"))
    return [
        Measured(
            claim=f"signed webhook over HTTP, {CONNECTIONS} connections, 7 KB, 3 lines / an empty FastAPI route",
            unit="requests/s",
            ours=ours.rate,
            baseline=baseline.rate,
            least=2_500,
            least_ratio=0.3,
            detail=f"{ours}; baseline {baseline}",
        ),
        Measured(claim="signed webhook, slowest of 100", unit="ms", ours=ours.p99, most=P99),
    ]


async def measured(data_dir: Path) -> tuple[Load, Load]:
    async with served_shop(data_dir) as shop:
        await asyncio.to_thread(measure, shop.url, shop.webhooks(0, DELIVERIES // 5), connections=CONNECTIONS)
        ours = await asyncio.to_thread(
            measure, shop.url, shop.webhooks(DELIVERIES, DELIVERIES), connections=CONNECTIONS
        )
    with serving_nothing() as url:
        empty = [request_bytes("GET", "/", headers={})] * EMPTY
        baseline = await asyncio.to_thread(measure, url, empty, connections=CONNECTIONS)
    return ours.check_all(200), baseline.check_all(200)
