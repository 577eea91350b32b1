"""A whole application on a real database, spoken to over HTTP, and the things one sets up in it.

Others may build on it: `Shop` is what the fixture `shop` gives."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from tests.conftest import data_dir_of

from colink.adapters.postgres.provision import Database
from colink.application.clear_order import ClearOrder
from colink.application.ports import Caller
from colink.bootstrap import Colink, connect
from colink.cli.shopify_traffic import SignedDelivery, order_body, refund_body, signed_delivery
from colink.config import Settings

ADMIN_KEY = "ck_the_operator_of_the_tests"
SECRET = "shpss_of_the_test_shop"
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PUBLIC_URL = "https://colink.example"


@dataclass
class MovableClock:
    time: datetime = NOON

    def now(self) -> datetime:
        return self.time


@dataclass
class Shop:
    """`http` sends the operator's key; `key=` sends another. Helpers answer with the JSON of what they made."""

    colink: Colink
    http: httpx.AsyncClient
    clock: MovableClock
    numbers: itertools.count = field(default_factory=lambda: itertools.count(1))

    async def send(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        key: str | None = ADMIN_KEY,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        headers = dict(headers or {})
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        if json is not None:
            more["json"] = json
        return await self.http.request(method, path, headers=headers, **more)

    async def get(self, path: str, *, key: str | None = ADMIN_KEY, **query: Any) -> Any:
        answer = await self.send("GET", path, key=key, params=query or None)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, json: Any = None, *, key: str | None = ADMIN_KEY, status: int = 201) -> Any:
        answer = await self.send("POST", path, json, key=key)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def refused(
        self, method: str, path: str, json: Any = None, *, status: int, key: str | None = ADMIN_KEY, **more: Any
    ) -> dict[str, Any]:
        """The problem of a request that is refused with this status."""
        answer = await self.send(method, path, json, key=key, **more)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == status
        assert problem["type"].startswith("urn:colink:problem:")
        return problem

    async def organization(self, **changes: Any) -> Any:
        return await self.post("/v1/organizations", {"name": "Kedai", "platform_fee_bps": 500} | changes)

    async def store(self, organization: Any, **changes: Any) -> Any:
        body = {
            "organization_id": organization["id"],
            "platform": "shopify",
            "name": "Kedai online",
            "domain": "kedai.example",
            "settlement": "platform_collected",
            "credentials": {"webhook_secrets": [SECRET]},
        }
        return await self.post("/v1/stores", body | changes)

    async def product(self, store: Any, **changes: Any) -> Any:
        body = {
            "organization_id": store["organization_id"],
            "store_id": store["id"],
            "external_id": "71",
            "title": "T-shirt",
            "skus": [{"external_id": "81", "sku": "TS-M", "price": {"amount": 5990, "currency": "MYR"}}],
        }
        return await self.post("/v1/products", body | changes)

    async def creator(self, **changes: Any) -> Any:
        body = {"handle": f"creator{next(self.numbers)}", "display_name": "Aina"}
        return await self.post("/v1/creators", body | changes)

    async def campaign(self, organization: Any, **changes: Any) -> Any:
        body = {"organization_id": organization["id"], "name": "Raya", "slug": f"raya-{next(self.numbers)}"}
        return await self.post("/v1/campaigns", body | changes)

    async def rule(self, organization: Any, **changes: Any) -> Any:
        body = {"organization_id": organization["id"], "scope": "default"}
        if "fixed" not in changes:
            body["rate_bps"] = 1000
        return await self.post("/v1/commission-rules", body | changes)

    async def link(self, creator: Any, **changes: Any) -> Any:
        body = {"creator_id": creator["id"], "destination": "https://kedai.example/products/t-shirt"}
        return await self.post("/v1/links", body | changes)

    async def coupon(self, creator: Any, store: Any, **changes: Any) -> Any:
        body = {"creator_id": creator["id"], "store_id": store["id"], "code": f"CODE{next(self.numbers)}"}
        return await self.post("/v1/coupons", body | changes)

    async def key(self, role: str, **bound: Any) -> str:
        made = await self.post("/v1/keys", {"role": role} | bound)
        return str(made["key"])

    async def follow(self, link: Any, *, agent: str = "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0") -> str:
        """A shopper follows a link; the click id that reaches the shop."""
        answer = await self.http.get(f"/l/{link['code']}", headers={"User-Agent": agent})
        assert answer.status_code == 302, answer.text
        return httpx.URL(answer.headers["location"]).params["colink_ref"]

    async def order(self, store: Any, *, order_id: int = 4507, **changes: Any) -> Any:
        """An order as Shopify tells it, delivered; placed now, at the clock."""
        fields = {
            "number": 1042,
            "currency": "MYR",
            "placed_at": self.clock.now(),
            "shipping": "8.00",
        }
        body = order_body(order_id=order_id, **(fields | changes))
        return await self.deliver(store, "orders/paid", body)

    async def refund(self, store: Any, *, order_id: int = 4507, refund_id: int = 900, **changes: Any) -> Any:
        fields = {"currency": "MYR", "processed_at": self.clock.now()}
        body = refund_body(refund_id=refund_id, order_id=order_id, **(fields | changes))
        return await self.deliver(store, "refunds/create", body)

    async def deliver(self, store: Any, topic: str, body: dict[str, Any] | bytes) -> Any:
        delivery: SignedDelivery = signed_delivery(
            topic,
            body,
            secret=SECRET,
            webhook_id=f"wh-{next(self.numbers)}",
            shop_domain="kedai.myshopify.com",
            triggered_at=self.clock.now(),
        )
        answer = await self.http.post(
            f"/webhooks/shopify/{store['id']}", content=delivery.body, headers=dict(delivery.headers)
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def hold_ends(self, order_id: str, *, after: timedelta = timedelta(days=15)) -> None:
        """Time passes, and the worker's command clears the order."""
        self.clock.time += after
        caller = Caller(actor="worker", correlation_id="test")
        await self.colink.commerce.submit(ClearOrder(caller=caller, order_id=order_id))


@asynccontextmanager
async def open_shop(database: Database, **settings: Any) -> AsyncIterator[Shop]:
    clock = MovableClock()
    data_dir = data_dir_of(database.owner_dsn)
    fields = {"admin_key": ADMIN_KEY, "public_url": PUBLIC_URL, "data_dir": data_dir} | settings
    async with connect(Settings(**fields), database, clock=clock) as colink:
        transport = httpx.ASGITransport(app=colink.asgi())
        async with httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL) as http:
            yield Shop(colink=colink, http=http, clock=clock)
