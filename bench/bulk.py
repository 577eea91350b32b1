"""Claim: orders told 500 to a request are recorded several times as fast as through a webhook each.

`colink serve` and the load generator are processes of their own, as in `webhook`; the baseline are signed webhooks
with the same three lines to the same server, in the same run. Each order is attributed, split, journaled and durable.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from bench.claim import Measured
from bench.http_load import Load, measure, request_bytes
from bench.served_shop import ADMIN_KEY, ServedShop, served_shop
from colink.adapters.postgres.provision import Database
from colink.adapters.postgres.server import ServerHandle

ORDERS = 500  # a request
REQUESTS = 40
CALLERS = 4
DELIVERIES = 4_000
CONNECTIONS = 64


def run(_server: ServerHandle, _database: Database) -> list[Measured]:
    with tempfile.TemporaryDirectory(prefix="colink-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        ours, baseline = asyncio.run(measured(Path(folder) / "data"))
    return [
        Measured(
            claim=f"bulk orders, {ORDERS} a request, {CALLERS} callers / the same by signed webhooks",
            unit="orders/s",
            ours=ours.rate * ORDERS,
            baseline=baseline.rate,
            least=6_000,
            detail=f"a request: {ours}; webhooks {baseline}",
        )
    ]


async def measured(data_dir: Path) -> tuple[Load, Load]:
    async with served_shop(data_dir) as shop:
        await asyncio.to_thread(measure, shop.url, shop.webhooks(0, DELIVERIES // 4), connections=CONNECTIONS)
        await asyncio.to_thread(measure, shop.url, bulks(shop, "w", REQUESTS // 8), connections=CALLERS)
        await check_accepted(shop)
        ours = await asyncio.to_thread(measure, shop.url, bulks(shop, "b", REQUESTS), connections=CALLERS)
        baseline = await asyncio.to_thread(
            measure, shop.url, shop.webhooks(DELIVERIES, DELIVERIES), connections=CONNECTIONS
        )
    return ours.check_all(200), baseline.check_all(200)


async def check_accepted(shop: ServedShop) -> None:
    """A rejected order would be an answer too, and a quick one."""
    orders = [order(f"c{number}", datetime.now(UTC).isoformat(), code=shop.code) for number in range(ORDERS)]
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {ADMIN_KEY}"}, timeout=60) as http:
        answer = await http.post(f"{shop.url}/v1/orders/bulk", json={"store_id": shop.store_id, "orders": orders})
    assert answer.json()["accepted"] == ORDERS, answer.text


def bulks(shop: ServedShop, name: str, count: int) -> Iterator[bytes]:
    """So many requests of new paid orders."""
    headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json"}
    placed_at = datetime.now(UTC).isoformat()
    for request in range(count):
        orders = [order(f"{name}{request}-{number}", placed_at, code=shop.code) for number in range(ORDERS)]
        body = json.dumps({"store_id": shop.store_id, "orders": orders}).encode()
        yield request_bytes("POST", "/v1/orders/bulk", headers=headers, body=body)


def order(external_id: str, placed_at: str, *, code: str) -> dict[str, Any]:
    """The order of `served_shop.order_template`, as a snapshot."""

    def myr(amount: int) -> dict[str, Any]:
        return {"amount": amount, "currency": "MYR"}

    return {
        "external_id": external_id,
        "number": f"#{external_id}",
        "currency": "MYR",
        "placed_at": placed_at,
        "updated_at": placed_at,
        "status": "paid",
        "lines": [
            {
                "line_id": str(11 + n),
                "quantity": 1,
                "base": myr(base),
                "product_external_id": str(71 + n),
                "sku_external_id": str(81 + n),
                "current_quantity": 1,
            }
            for n, base in enumerate((5_990, 12_000, 1_550))
        ],
        "total_price": myr(21_512),
        "keys": {"coupons": [{"code": code, "discount": myr(0)}], "customer_email": "buyer@example.com"},
    }
