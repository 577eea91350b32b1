"""Promise: over the real database, too, a preview is what the order gets; and it is nobody else's business."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

import pytest
from tests.api.sale import Sale
from tests.api.shop import ADMIN_KEY, Shop
from tests.api.test_tiers import MARCH, myr, open_fair, steps

pytestmark = pytest.mark.anyio

PREVIEW = "/v1/commission-rules/preview"
COMPARED = ("line_id", "rule", "platform_fee", "creator_commission", "payment_fee", "seller_take")


def compared(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: line[name] for name in COMPARED} for line in lines]


def some_terms(random: Random) -> dict[str, Any]:
    """What a rule may give."""
    kind = random.randrange(4)
    if kind == 0:
        return {"rate_bps": None, "fixed": myr(random.choice([150, 990]))}
    if kind == 1:
        return {"rate_bps": 500, "tiers": {"mode": "whole", "steps": steps((10_00, random.choice([800, 1200])))}}
    if kind == 2:
        return {"rate_bps": 1000, "cap_per_order": myr(random.choice([100, 300]))}
    return {"rate_bps": random.choice([0, 700, 2000]), "cap_per_month": myr(50_00)}


async def test_previews_of_many_rule_sets_are_what_their_orders_get(shop: Shop) -> None:
    random = Random(5)
    fair = await open_fair(shop)
    product = await shop.product(fair.store)
    targets = {"product": product["id"], "sku": product["skus"][0]["id"], "campaign": fair.link["campaign_id"]}
    for number in range(1, 16):
        scope = random.choice(["product", "sku", "campaign", "default"])
        at = MARCH + timedelta(hours=number)
        rule = {"scope": scope, "creator_id": random.choice([None, fair.creator["id"]])} | some_terms(random)
        starts = (at - timedelta(minutes=30)).isoformat()
        shop.clock.time = at - timedelta(minutes=20)
        await shop.rule(fair.organization, **rule, target_id=targets.get(scope), valid_from=starts)
        price = random.randint(100, 9_999)
        line = {"line_id": str(number), "product_external_id": "71", "sku_external_id": "81", "base": myr(price)}
        asked = {"store_id": fair.store["id"], "currency": "MYR", "placed_at": at.isoformat(), "lines": [line]}
        told = await shop.post(PREVIEW, asked | {"link_id": fair.link["id"]}, status=200)
        await fair.sell(number, f"{price // 100}.{price % 100:02}", at=at)
        order = await fair.order(number)
        assert compared(told["lines"]) == compared(order["lines"])
        again = await shop.post(PREVIEW, {"order_id": order["id"]}, status=200)
        assert compared(again["lines"]) == compared(order["lines"])


async def test_each_other_rule_is_told_with_the_reason(sale: Sale) -> None:
    product = sale.line_product
    mine = await sale.shop.rule(
        sale.organization, scope="product", target_id=product, creator_id=sale.creator["id"], rate_bps=700
    )
    ended = await sale.shop.rule(
        sale.organization, scope="product", target_id=product, rate_bps=900, valid_to="2026-02-01T00:00:00Z"
    )
    line = {"product_external_id": "71", "quantity": 2, "base": myr(10_000)}
    asked = {"store_id": sale.store["id"], "currency": "MYR", "lines": [line], "creator_id": sale.creator["id"]}
    told = await sale.shop.post(PREVIEW, asked, status=200)
    (line,) = told["lines"]
    assert (line["creator_commission"], line["platform_fee"], line["seller_take"]) == (myr(700), myr(500), myr(8800))
    assert [(each["rule"]["id"], each["verdict"]) for each in line["candidates"]] == [
        (mine["id"], "serves"),
        (ended["id"], "no_longer_valid"),
        (sale.rule["id"], "weaker_scope"),
    ]


async def test_a_coupon_says_who_is_credited(sale: Sale) -> None:
    await sale.shop.coupon(sale.creator, sale.store, code="AINA10", campaign_id=sale.campaign["id"])
    asked = {"store_id": sale.store["id"], "currency": "MYR", "lines": [{"base": myr(1_000)}]}
    by_coupon = await sale.shop.post(PREVIEW, asked | {"coupon_code": "aina10"}, status=200)
    assert (by_coupon["outcome"], by_coupon["creator_id"]) == ("coupon", sale.creator["id"])
    assert by_coupon["lines"][0]["creator_commission"] == myr(100)
    by_none = await sale.shop.post(PREVIEW, asked, status=200)
    assert (by_none["outcome"], by_none["lines"][0]["candidates"]) == ("none", [])


async def test_a_preview_records_nothing(sale: Sale) -> None:
    async def head() -> int:
        async with sale.shop.colink.pool.connection() as connection:
            row = await (await connection.execute("select position from colink.log_head")).fetchone()
        return int(row[0])

    before = await head()
    await sale.shop.post(PREVIEW, {"order_id": sale.order_id}, status=200)
    assert await head() == before


async def test_a_seller_previews_orders_of_its_own(sale: Sale) -> None:
    shop = sale.shop
    other = await shop.organization(name="Other")
    foreign = await shop.key("seller", organization_id=other["id"])
    own = await shop.key("seller", organization_id=sale.organization["id"])
    for asked in ({"order_id": sale.order_id}, {"store_id": sale.store["id"], "currency": "MYR", "lines": []}):
        await shop.refused("POST", PREVIEW, asked, key=foreign, status=404)
        await shop.post(PREVIEW, asked, key=own, status=200)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"store_id": None}, "store_id"),
        ({"currency": None}, "currency"),
        ({"lines": [{"base": {"amount": 1, "currency": "SGD"}}]}, "lines.0.base.currency"),
        ({"lines": [{"base": {"amount": -1, "currency": "MYR"}}]}, "lines.0.base.amount"),
        ({"link_id": "lnk_none"}, "link_id"),
        ({"creator_id": "cre_none"}, "creator_id"),
    ],
)
async def test_what_cannot_be_previewed_is_refused_naming_the_field(
    sale: Sale, changes: dict[str, Any], field: str
) -> None:
    asked = {"store_id": sale.store["id"], "currency": "MYR", "lines": [{"base": myr(100)}]}
    problem = await sale.shop.refused("POST", PREVIEW, asked | changes, key=ADMIN_KEY, status=422)
    assert problem["field"] == field
