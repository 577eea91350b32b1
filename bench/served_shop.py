"""A real `colink serve` on a database of its own, with one seller, one creator and their rule in it: what claims
about HTTP talk to. And its orders: bodies of 7 KB with three lines, as Shopify would send them, made here."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from bench.http_load import request_bytes
from colink.cli.demo.processes import Stage, serving
from colink.cli.shopify_traffic import Item, encoded, order_body, signed_delivery

ADMIN_KEY = "ck_bench"
SECRET = "shpss_bench"  # noqa: S105 - of a shop that exists for a minute
BODY_SIZE = 7_000  # bytes
_ORDER, _WEBHOOK = 4_500_000_001, "wh-4500000001"  # stand for the ids in the template


@dataclass(frozen=True, kw_only=True)
class ServedShop:
    """`url` of the server, `store_id` of the shop; `code` is the creator's coupon: all orders are credited."""

    url: str
    store_id: str
    code: str

    def webhooks(self, first: int, count: int) -> Iterator[bytes]:
        """So many signed deliveries of new paid orders, complete requests; orders are numbered from `first`."""
        template = order_template(self.code)
        placed_at = datetime.now(UTC)
        delivery = signed_delivery(
            "orders/paid",
            template,
            secret=SECRET,
            webhook_id=_WEBHOOK,
            shop_domain="bench.myshopify.com",
            triggered_at=placed_at,
        )
        path = f"/webhooks/shopify/{self.store_id}"
        whole = request_bytes("POST", path, headers=delivery.headers, body=delivery.body)
        signed_by_template = delivery.headers["X-Shopify-Hmac-Sha256"].encode()
        for number in range(_ORDER + first, _ORDER + first + count):
            body = delivery.body.replace(str(_ORDER).encode(), str(number).encode())
            signature = base64.b64encode(hmac.digest(SECRET.encode(), body, "sha256"))
            yield (
                whole[: -len(delivery.body)]
                .replace(_WEBHOOK.encode(), f"wh-{number}".encode())
                .replace(signed_by_template, signature)
                + body
            )


def order_template(code: str) -> bytes:
    """An order of three lines, filled up to the size that bodies of real shops have."""
    now = datetime.now(UTC)
    items = [
        Item(
            line_id=11 + n, title="T-shirt", price=price, product_id=71 + n, variant_id=81 + n, sku=f"TS-{n}", tax=tax
        )
        for n, (price, tax) in enumerate((("59.90", "3.59"), ("120.00", "7.20"), ("15.50", "0.93")))
    ]
    body = order_body(
        order_id=_ORDER,
        number=1042,
        currency="MYR",
        placed_at=now,
        items=items,
        shipping="8.00",
        code=code,
        email="buyer@example.com",
    )
    body["note"] = "x" * (BODY_SIZE - len(encoded(body)))
    return encoded(body)


@asynccontextmanager
async def served_shop(folder: Path) -> AsyncIterator[ServedShop]:
    async with serving(Stage(data_dir=folder, admin_key=ADMIN_KEY)) as server:
        async with httpx.AsyncClient(
            base_url=server.url, headers={"Authorization": f"Bearer {ADMIN_KEY}"}, timeout=30
        ) as http:

            async def made(path: str, **body: Any) -> Any:
                answer = await http.post(path, json=body)
                assert answer.status_code == 201, answer.text
                return json.loads(answer.content)

            organization = await made("/v1/organizations", name="Kedai", platform_fee_bps=500)
            store = await made(
                "/v1/stores",
                organization_id=organization["id"],
                platform="shopify",
                name="Kedai",
                settlement="platform_collected",
                credentials={"webhook_secrets": [SECRET]},
            )
            creator = await made("/v1/creators", handle="aina", display_name="Aina")
            await made("/v1/commission-rules", organization_id=organization["id"], scope="default", rate_bps=1_000)
            await made("/v1/coupons", creator_id=creator["id"], store_id=store["id"], code="AINA10")
        yield ServedShop(url=server.url, store_id=store["id"], code="AINA10")
