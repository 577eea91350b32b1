"""A small shop over real HTTP, and what its people and machines send: every request with an identity of its own, so
that it can be repeated and looked for afterwards."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from tests.torture.machine import ADMIN_KEY, PATIENCE

from colink.cli.shopify_traffic import Item, RefundedItem, SignedDelivery, order_body, refund_body, signed_delivery

SECRET = "shpss_of_the_torture_tests"
BASE = 10_000  # minor units of every order: fee and commission come out even, whatever is refunded
PLATFORM_FEE, COMMISSION = 500, 1_000  # minor units of such an order, at 5 % and 10 %
CURRENCY = "MYR"
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}


@dataclass(kw_only=True)
class Shop:
    """`placed_at`: of every order; so long ago that its money clears at once."""

    http: httpx.AsyncClient
    organization_id: str
    store_id: str
    creator_id: str
    code: str
    placed_at: datetime
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def order(self, number: int, *, padding: int = 0) -> SignedDelivery:
        """`padding`: bytes that make the body longer."""
        body = order_body(
            order_id=number,
            number=number,
            currency=CURRENCY,
            placed_at=self.placed_at,
            items=[_item(number)],
            code="TORTURE",
        )
        return self._signed("orders/paid", body | {"note": "x" * padding}, f"order-{number}")

    def refund(self, number: int) -> SignedDelivery:
        """All of an order is given back."""
        body = refund_body(
            refund_id=number,
            order_id=number,
            currency=CURRENCY,
            processed_at=self.placed_at + timedelta(minutes=1),
            items=[RefundedItem(item=_item(number))],
        )
        return self._signed("refunds/create", body, f"refund-{number}")

    def _signed(self, topic: str, body: dict[str, Any], delivery_id: str) -> SignedDelivery:
        return signed_delivery(
            topic,
            body,
            secret=SECRET,
            webhook_id=delivery_id,
            shop_domain="kedai.myshopify.com",
            triggered_at=self.placed_at,
        )

    async def deliver(self, delivery: SignedDelivery) -> httpx.Response:
        return await self.http.post(
            f"/webhooks/shopify/{self.store_id}", content=delivery.body, headers=dict(delivery.headers)
        )

    async def click(self) -> httpx.Response:
        return await self.http.get(f"/l/{self.code}", headers=BROWSER)

    async def command(self, path: str, body: Mapping[str, Any], *, key: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Idempotency-Key": key}
        return await self.http.post(path, json=dict(body), headers=headers)

    async def make_link(self, number: int) -> httpx.Response:
        """A link of which there must be one: its destination says which."""
        body = {"creator_id": self.creator_id, "destination": f"https://kedai.example/{number}"}
        return await self.command("/v1/links", body, key=f"link-{number}")

    async def request_payout(self, payee_id: str, *, key: str) -> httpx.Response:
        return await self.command("/v1/payouts", {"payee_id": payee_id, "currency": CURRENCY}, key=key)


def _item(number: int) -> Item:
    return Item(line_id=number * 10, title="Sarong", price="110.00", discount="10.00", product_id=71, sku="SAR")


@asynccontextmanager
async def open_shop(url: str) -> AsyncIterator[Shop]:
    """A seller with a store, a creator whose coupon every order carries, and payout accounts for both."""
    limits = httpx.Limits(max_connections=64)
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, limits=limits, trust_env=False) as http:

        async def made(path: str, **body: Any) -> Any:
            answer = await http.post(path, json=body, headers={"Authorization": f"Bearer {ADMIN_KEY}"})
            assert answer.status_code == 201, answer.text
            return answer.json()

        organization = await made("/v1/organizations", name="Kedai", platform_fee_bps=500, hold_days=0)
        store = await made(
            "/v1/stores",
            organization_id=organization["id"],
            platform="shopify",
            name="Kedai online",
            domain="kedai.example",
            settlement="platform_collected",
            credentials={"webhook_secrets": [SECRET]},
        )
        creator = await made("/v1/creators", handle="aina", display_name="Aina")
        await made("/v1/commission-rules", organization_id=organization["id"], scope="default", rate_bps=1000)
        await made("/v1/coupons", creator_id=creator["id"], store_id=store["id"], code="TORTURE")
        link = await made("/v1/links", creator_id=creator["id"], destination="https://kedai.example/")
        for payee_id in (creator["id"], organization["id"]):
            await made(
                "/v1/payout-accounts",
                payee_id=payee_id,
                rail="sandbox",
                currency=CURRENCY,
                details={"outcome": "paid", "delay_ms": 50},
            )
        yield Shop(
            http=http,
            organization_id=organization["id"],
            store_id=store["id"],
            creator_id=creator["id"],
            code=link["code"],
            placed_at=datetime.now(UTC) - timedelta(days=1),
        )
