"""Promise: whole tiers are decided once a month, from the revenue before it, whoever first needs them; no order of
the month earns by another rate because of when it was told (semantics section 4, decision 22)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.api.shop import Shop

from colink.application.tier_job import tier_job
from colink.cli.shopify_traffic import Item, RefundedItem
from colink.projections.tier_queue import TierTables

pytestmark = pytest.mark.anyio

MARCH = datetime(2026, 3, 10, 4, tzinfo=UTC)
APRIL = datetime(2026, 4, 2, 4, tzinfo=UTC)


def myr(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": "MYR"}


def steps(*tiers: tuple[int, int]) -> list[dict[str, Any]]:
    return [{"from_revenue": myr(revenue), "rate_bps": rate} for revenue, rate in tiers]


@dataclass
class Fair:
    """A shop in Kuala Lumpur with one creator and a rule of 5 %, 10 % from 100.00 on."""

    shop: Shop
    organization: Any
    store: Any
    creator: Any
    rule: Any
    link: Any

    async def click(self, at: datetime) -> str:
        self.shop.clock.time = at - timedelta(minutes=1)
        return await self.shop.follow(self.link)

    async def sell(
        self, number: int, price: str, *, at: datetime, told: datetime | None = None, click_id: str | None = None
    ) -> None:
        shop = self.shop
        click_id = click_id or await self.click(at)
        shop.clock.time = told or at
        item = Item(line_id=number, title="Sarong", price=price, product_id=71, variant_id=81)
        placed = {"placed_at": at, "items": [item], "click_id": click_id, "shipping": "0.00"}
        told_of = await shop.order(self.store, order_id=number, **placed)
        assert told_of["status"] == "accepted"

    async def commission(self, number: int) -> int:
        return int((await self.order(number))["split"]["creator_commission"]["amount"])

    async def order(self, number: int) -> Any:
        (order,) = (await self.shop.get("/v1/orders", store_id=self.store["id"], external_id=str(number)))["items"]
        return order

    async def decisions(self) -> list[tuple[str, int]]:
        async with self.shop.colink.pool.connection() as connection:
            cursor = await connection.execute(
                "select payload::jsonb ->> 'month', (payload::jsonb ->> 'revenue')::bigint from colink.events"
                " where topic = 'tier.decided' order by position"
            )
            return list(await cursor.fetchall())


@pytest.fixture
async def fair(shop: Shop) -> Fair:
    return await open_fair(shop, tiers={"mode": "whole", "steps": steps((100_00, 1000), (1_000_00, 2000))})


async def open_fair(
    shop: Shop,
    *,
    organization: dict[str, Any] | None = None,
    store: dict[str, Any] | None = None,
    creator: dict[str, Any] | None = None,
    **rule: Any,
) -> Fair:
    opened = await shop.organization(timezone="Asia/Kuala_Lumpur", **(organization or {}))
    connected = await shop.store(opened, **(store or {}))
    promoted_by = await shop.creator(**(creator or {}))
    made = await shop.rule(opened, **({"rate_bps": 500} | rule))
    campaign = await shop.campaign(opened)
    return Fair(
        shop=shop,
        organization=opened,
        store=connected,
        creator=promoted_by,
        rule=made,
        link=await shop.link(promoted_by, campaign_id=campaign["id"]),
    )


async def test_the_month_before_decides_the_rate_of_a_month(fair: Fair) -> None:
    await fair.sell(1, "99.99", at=MARCH)
    await fair.sell(2, "50.00", at=MARCH)
    assert [await fair.commission(1), await fair.commission(2)] == [500, 250]
    await fair.sell(3, "200.00", at=APRIL)
    assert await fair.commission(3) == 2000  # 149.99 was sold in March: 10 %
    assert await fair.decisions() == [("2026-03", 0), ("2026-04", 149_99)]


async def test_a_month_begins_at_midnight_where_the_organisation_is(fair: Fair) -> None:
    await fair.sell(1, "100.00", at=datetime(2026, 3, 31, 15, 59, 59, tzinfo=UTC))
    await fair.sell(2, "100.00", at=datetime(2026, 3, 31, 16, 0, 0, tzinfo=UTC))
    assert [await fair.commission(1), await fair.commission(2)] == [500, 1000]


async def test_a_decision_is_never_changed_by_what_comes_later(fair: Fair) -> None:
    await fair.sell(1, "100.00", at=MARCH)
    await fair.sell(2, "10.00", at=APRIL)
    await fair.shop.refund(
        fair.store,
        order_id=1,
        items=[RefundedItem(item=Item(line_id=1, title="Sarong", price="100.00", product_id=71, variant_id=81))],
    )
    await fair.sell(3, "2000.00", at=MARCH + timedelta(days=1), told=APRIL + timedelta(days=1))  # told in April
    await fair.sell(4, "10.00", at=APRIL + timedelta(days=2))
    assert [await fair.commission(2), await fair.commission(4)] == [100, 100]
    assert await fair.commission(3) == 100_00  # March was decided with March's first order: 5 %
    assert await fair.decisions() == [("2026-03", 0), ("2026-04", 100_00)]


async def test_an_edit_after_the_decision_keeps_the_rate(fair: Fair) -> None:
    await fair.sell(1, "100.00", at=MARCH)
    await fair.sell(2, "10.00", at=APRIL)
    shop = fair.shop
    shop.clock.time += timedelta(hours=1)
    dearer = Item(line_id=2, title="Sarong", price="30.00", product_id=71, variant_id=81)
    await shop.order(fair.store, order_id=2, placed_at=APRIL, updated_at=shop.clock.time, items=[dearer])
    assert await fair.commission(2) == 300
    assert len(await fair.decisions()) == 2


async def test_orders_that_need_the_decision_at_once_make_it_once(fair: Fair) -> None:
    await fair.sell(1, "100.00", at=MARCH)
    shop = fair.shop
    shop.clock.time = APRIL - timedelta(minutes=1)
    clicks = [await shop.follow(fair.link) for _ in range(12)]
    shop.clock.time = APRIL

    async def sell(number: int) -> None:
        item = Item(line_id=number, title="Sarong", price="10.00", product_id=71, variant_id=81)
        await shop.order(fair.store, order_id=number, items=[item], click_id=clicks[number - 10])

    await asyncio.gather(*(sell(number) for number in range(10, 22)))
    assert [await fair.commission(number) for number in range(10, 22)] == [100] * 12
    assert await fair.decisions() == [("2026-03", 0), ("2026-04", 100_00)]


async def test_the_worker_decides_when_the_month_begins(fair: Fair) -> None:
    shop = fair.shop
    job = tier_job(shop.colink.commerce, TierTables(shop.colink.pool), shop.clock)
    await fair.sell(1, "100.00", at=MARCH)
    assert await job() == 0  # March is decided, by its first order
    shop.clock.time = datetime(2026, 3, 31, 16, 0, tzinfo=UTC)
    assert await job() == 1
    assert await fair.decisions() == [("2026-03", 0), ("2026-04", 100_00)]
    await shop.refund(fair.store, order_id=1, items=[RefundedItem(item=item_of(1, "100.00"))])
    await fair.sell(2, "10.00", at=APRIL)
    assert await fair.commission(2) == 100  # as it was when April began
    assert await job() == 0
    assert await tier_job(shop.colink.commerce, TierTables(shop.colink.pool), shop.clock)() == 0  # another worker


def item_of(number: int, price: str) -> Item:
    return Item(line_id=number, title="Sarong", price=price, product_id=71, variant_id=81)


async def test_all_time_counts_every_month_before(shop: Shop) -> None:
    fair = await open_fair(shop, tiers={"mode": "whole", "span": "all_time", "steps": steps((100_00, 1000))})
    await fair.sell(1, "60.00", at=MARCH)
    await fair.sell(2, "40.00", at=APRIL)
    await fair.sell(3, "10.00", at=APRIL + timedelta(days=30))
    assert await fair.commission(3) == 100
    assert [revenue for _, revenue in await fair.decisions()] == [0, 60_00, 100_00]


async def test_a_rule_in_another_currency_serves_no_order_and_counts_nothing(shop: Shop) -> None:
    tiers = {"mode": "whole", "steps": [{"from_revenue": {"amount": 1, "currency": "SGD"}, "rate_bps": 1000}]}
    fair = await open_fair(shop, tiers=tiers)
    await fair.sell(1, "60.00", at=MARCH)
    assert await fair.commission(1) == 0
    assert await fair.decisions() == []


async def test_a_cap_per_order_is_shared_by_its_lines(shop: Shop) -> None:
    fair = await open_fair(shop, cap_per_order=myr(1_00))
    shop.clock.time = MARCH
    click_id = await shop.follow(fair.link)
    items = [
        Item(line_id=1, title="Sarong", price="30.00", product_id=71, variant_id=81),
        Item(line_id=2, title="Mug", price="20.00", product_id=72, variant_id=82),
    ]
    await shop.order(fair.store, order_id=1, items=items, click_id=click_id)
    lines = (await fair.order(1))["lines"]
    assert [line["creator_commission"]["amount"] for line in lines] == [60, 40]  # 2.50 would be 5 %
    await shop.refund(fair.store, order_id=1, items=[RefundedItem(item=items[0])])
    assert await fair.commission(1) == 40
