"""Shopify bodies with sensible defaults, for tests that care about one thing in them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from colink.cli.shopify_traffic import Item, RefundedItem, SignedDelivery, order_body, refund_body, signed_delivery

SECRET = "shpss_of_the_test_shop"
PLACED_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
REFUNDED_AT = datetime(2026, 3, 5, 9, 30, tzinfo=UTC)
TSHIRT = Item(
    line_id=11, title="T-shirt", price="59.90", quantity=2, product_id=71, variant_id=81, sku="TS-M", tax="7.19"
)
MUG = Item(
    line_id=12, title="Mug", price="25.00", product_id=72, variant_id=82, sku="MUG", discount="2.50", tax="1.35"
)


def an_order(items: Sequence[Item] = (TSHIRT, MUG), **changes: Any) -> dict[str, Any]:
    """A paid order of 142.30 MYR before tax, unless told otherwise."""
    fields: dict[str, Any] = {
        "order_id": 4507,
        "number": 1042,
        "currency": "MYR",
        "placed_at": PLACED_AT,
        "email": "aina@example.com",
        "shipping": "8.00",
    }
    return order_body(items=items, **(fields | changes))


def a_refund(items: Sequence[RefundedItem] = (RefundedItem(item=MUG),), **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"refund_id": 900, "order_id": 4507, "currency": "MYR", "processed_at": REFUNDED_AT}
    return refund_body(items=items, **(fields | changes))


def signed(
    topic: str, body: dict[str, Any] | bytes, *, webhook_id: str = "wh-1", secret: str = SECRET
) -> SignedDelivery:
    return signed_delivery(
        topic,
        body,
        secret=secret,
        webhook_id=webhook_id,
        shop_domain="test-shop.myshopify.com",
        triggered_at=PLACED_AT,
    )
