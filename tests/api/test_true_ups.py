"""Promise: marginal tiers and caps per day and month are settled by one true-up a rule, creator and period, whatever
the order in which orders are told; refunds release a cap; its money ages like any other (semantics section 4)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.api.shop import Shop
from tests.api.test_tiers import MARCH, Fair, myr, open_fair, steps

from colink.application.clear_order import ClearOrder
from colink.application.ports import Caller
from colink.application.seller_settlement import SettlementDesk
from colink.application.true_up_job import true_up_job
from colink.application.true_ups import CountTrueUp
from colink.cli.shopify_traffic import Item, RefundedItem, order_body
from colink.projections.audit import verify
from colink.projections.seller_billing import SettlementTables
from colink.projections.true_ups import TrueUpTables

pytestmark = pytest.mark.anyio

MARCH_ENDS = datetime(2026, 3, 31, 16, tzinfo=UTC)  # midnight in Kuala Lumpur
HOLD = timedelta(days=14)
SECOND = timedelta(seconds=1)


async def work(fair: Fair) -> int:
    """What the worker does about true-ups and clearing; how many true-ups moved."""
    colink, moved = fair.shop.colink, 0
    job = true_up_job(colink.commerce, TrueUpTables(colink.pool), colink.clock)
    while True:
        await colink.engine.catch_up("true_ups")
        if not (done := await job()):
            return moved
        moved += done


async def clear(fair: Fair, *numbers: int) -> None:
    for number in numbers:
        order_id = (await fair.order(number))["id"]
        caller = Caller(actor="worker", correlation_id="test")
        await fair.shop.colink.commerce.submit(ClearOrder(caller=caller, order_id=order_id))


async def owed(fair: Fair, payee: Any) -> tuple[int, int]:
    """Pending and available."""
    items = (await fair.shop.get("/v1/balances", payee_id=payee["id"]))["items"]
    amounts = {item["account"].rpartition(":")[2]: item["amount"] for item in items}
    return amounts.get("pending", 0), amounts.get("available", 0)


async def true_ups(fair: Fair) -> list[tuple[str, int]]:
    """What true-ups gave or took the creator: kind and amount of each journal."""
    entries = (await fair.shop.get("/v1/ledger/entries", payee_id=fair.creator["id"], limit=200))["items"]
    sums: dict[tuple[str, str], int] = {}
    for entry in entries:
        if entry["purpose"] == "true_up":
            key = (entry["journal_id"], entry["kind"])
            sums[key] = sums.get(key, 0) + entry["amount"]
    return [(kind, amount) for (_, kind), amount in sums.items()]


def item(number: int, price: str) -> Item:
    return Item(line_id=number, title="Sarong", price=price, product_id=71, variant_id=81)


async def test_marginal_tiers_are_trued_up_when_the_month_has_ended(shop: Shop) -> None:
    fair = await open_fair(shop, tiers={"mode": "marginal", "steps": steps((100_00, 1000), (200_00, 2000))})
    await fair.sell(1, "150.00", at=MARCH)
    await fair.sell(2, "100.00", at=MARCH + timedelta(days=1))
    assert [await fair.commission(1), await fair.commission(2)] == [750, 500]
    shop.clock.time = MARCH_ENDS - SECOND
    assert await work(fair) == 0
    shop.clock.time = MARCH_ENDS
    assert await work(fair) == 1
    # 100.00 at 5 %, 100.00 at 10 %, 50.00 at 20 %: 25.00, of which 12.50 was posted.
    assert await true_ups(fair) == [("true_up", 1250)]
    assert await owed(fair, fair.creator) == (2500, 0)
    await clear(fair, 1, 2)
    assert await owed(fair, fair.creator) == (1250, 1250)  # held until a fortnight after the month
    shop.clock.time = MARCH_ENDS + HOLD
    assert await work(fair) == 1
    assert await owed(fair, fair.creator) == (0, 2500)
    assert await work(fair) == 0


async def test_the_seller_bears_what_the_creator_gets(shop: Shop) -> None:
    fair = await open_fair(shop, tiers={"mode": "marginal", "steps": steps((100_00, 1000))})
    await fair.sell(1, "200.00", at=MARCH)
    before = sum(await owed(fair, fair.organization))
    shop.clock.time = MARCH_ENDS
    await work(fair)
    assert sum(await owed(fair, fair.organization)) == before - 500


async def test_a_cap_per_month_takes_back_what_is_above_it_and_a_refund_releases_it(shop: Shop) -> None:
    fair = await open_fair(shop, rate_bps=1000, cap_per_month=myr(25_00))
    await fair.sell(1, "200.00", at=MARCH)
    await fair.sell(2, "200.00", at=MARCH + timedelta(days=3))
    shop.clock.time = MARCH_ENDS + HOLD
    await work(fair)
    assert await true_ups(fair) == [("true_up", -15_00)]
    await clear(fair, 1, 2)
    assert await owed(fair, fair.creator) == (0, 25_00)
    shop.clock.time += timedelta(days=1)
    await shop.refund(fair.store, order_id=1, items=[RefundedItem(item=item(1, "200.00"))])
    assert await owed(fair, fair.creator) == (0, 5_00)  # the debit bites at once
    assert await work(fair) == 1
    assert await owed(fair, fair.creator) == (0, 20_00)  # and the cap no longer takes anything
    assert [amount for _, amount in await true_ups(fair)] == [-15_00, 15_00]


async def test_commission_does_not_clear_before_its_period_ended_and_was_counted(shop: Shop) -> None:
    fair = await open_fair(shop, rate_bps=1000, cap_per_month=myr(25_00))
    await fair.sell(1, "200.00", at=MARCH)
    await fair.sell(2, "200.00", at=MARCH)
    shop.clock.time = MARCH + HOLD + SECOND  # held long enough, but March goes on
    await clear(fair, 1, 2)
    assert await owed(fair, fair.creator) == (40_00, 0)
    assert (await owed(fair, fair.organization))[1] > 0  # the seller's part waits for no period
    shop.clock.time = MARCH_ENDS
    await clear(fair, 1)  # the worker has not counted yet: clearing counts first
    assert await true_ups(fair) == [("true_up", -15_00)]
    assert await owed(fair, fair.creator) == (20_00, 5_00)
    await clear(fair, 2)
    assert await owed(fair, fair.creator) == (0, 25_00)
    assert await work(fair) == 0


async def test_a_cap_per_day_is_one_of_the_organisations_days(shop: Shop) -> None:
    fair = await open_fair(shop, rate_bps=1000, cap_per_day=myr(10_00))
    await fair.sell(1, "90.00", at=datetime(2026, 3, 9, 16, tzinfo=UTC))  # midnight of the 10th
    await fair.sell(2, "90.00", at=datetime(2026, 3, 10, 15, 59, 59, tzinfo=UTC))
    await fair.sell(3, "90.00", at=datetime(2026, 3, 10, 16, tzinfo=UTC))
    shop.clock.time = datetime(2026, 3, 12, tzinfo=UTC)
    await work(fair)
    assert [amount for _, amount in await true_ups(fair)] == [-8_00]
    assert sum(await owed(fair, fair.creator)) == 19_00


async def test_what_is_told_late_is_counted_again(shop: Shop) -> None:
    fair = await open_fair(shop, rate_bps=1000, cap_per_month=myr(25_00))
    await fair.sell(1, "200.00", at=MARCH)
    click_id = await fair.click(MARCH)
    shop.clock.time = MARCH_ENDS
    assert await work(fair) == 1
    assert await true_ups(fair) == []
    await fair.sell(2, "200.00", at=MARCH, told=MARCH_ENDS + timedelta(days=2), click_id=click_id)
    assert await work(fair) == 1
    assert await true_ups(fair) == [("true_up", -15_00)]
    assert sum(await owed(fair, fair.creator)) == 25_00


async def test_a_revised_rule_counts_on_where_the_version_before_it_stopped(shop: Shop) -> None:
    fair = await open_fair(shop, rate_bps=1000, cap_per_month=myr(25_00))
    await fair.sell(1, "300.00", at=MARCH)
    cut = {"rate_bps": 1000, "cap_per_month": myr(20_00), "valid_from": "2026-03-12T00:00:00Z"}
    await shop.post(f"/v1/commission-rules/{fair.rule['id']}/versions", cut)
    await fair.sell(3, "300.00", at=MARCH + timedelta(days=5))
    await fair.sell(2, "300.00", at=MARCH + timedelta(days=45))  # April, past the notice
    shop.clock.time = MARCH_ENDS + timedelta(days=60)
    await work(fair)
    # March: 30.00 by version 1 and 30.00 (under notice) by version 1: 25.00. April: 30.00 by version 2: 20.00.
    assert sum(await owed(fair, fair.creator)) == 45_00


async def test_where_the_seller_collects_it_is_billed(shop: Shop) -> None:
    store = {"settlement": "seller_collected"}
    fair = await open_fair(shop, store=store, rate_bps=1000, cap_per_month=myr(25_00))
    await fair.sell(1, "400.00", at=MARCH)
    shop.clock.time = MARCH_ENDS
    await work(fair)
    account = f"seller:{fair.organization['id']}:receivable"
    (billed,) = (await shop.get("/v1/balances", account=account))["items"]
    assert billed["amount"] == -(20_00 + 40_00)  # 5 % platform fee, and commission: a cap takes off what is paid
    paid = {"organization_id": fair.organization["id"], "amount": myr(60_00), "reference": "MBB-1"}
    finance = await shop.key("finance")
    await shop.post("/v1/seller-payments", paid | {"received_at": MARCH_ENDS.isoformat()}, key=finance)
    await SettlementDesk(shop.colink.commerce, SettlementTables(shop.colink.pool)).run()
    await work(fair)
    (billed,) = (await shop.get("/v1/balances", account=account))["items"]
    assert billed["amount"] == 15_00
    assert sum(await owed(fair, fair.creator)) == 25_00


async def test_where_the_seller_collects_and_creators_are_paid_in_advance_a_cap_takes_off_at_once(shop: Shop) -> None:
    store = {"settlement": "seller_collected"}
    fair = await open_fair(shop, store=store, organization={"advance": True}, cap_per_month=myr(25_00), rate_bps=1000)
    await fair.sell(1, "400.00", at=MARCH)
    shop.clock.time = MARCH_ENDS
    await work(fair)
    account = f"seller:{fair.organization['id']}:receivable"
    (billed,) = (await shop.get("/v1/balances", account=account))["items"]
    assert billed["amount"] == -(20_00 + 25_00)
    assert sum(await owed(fair, fair.creator)) == 25_00


async def test_counted_at_once_a_period_is_posted_once(shop: Shop) -> None:
    fair = await open_fair(shop, rate_bps=1000, cap_per_month=myr(25_00))
    await fair.sell(1, "400.00", at=MARCH)
    shop.clock.time = MARCH_ENDS + HOLD
    await shop.colink.engine.catch_up("true_ups")
    (changed,) = await TrueUpTables(shop.colink.pool).to_count(shop.clock.time, 10)
    caller = Caller(actor="worker", correlation_id="test")
    count = CountTrueUp(caller=caller, key=changed.key, changed_position=changed.position)
    recorded = await asyncio.gather(*(shop.colink.commerce.submit(count) for _ in range(5)), clear(fair, 1))
    assert sum(answer is not None and answer.position is not None for answer in recorded) <= 1
    assert await true_ups(fair) == [("true_up", -15_00)]
    assert await owed(fair, fair.creator) == (0, 25_00)


async def test_what_waits_for_the_sellers_money_clears_when_finance_releases_it(shop: Shop) -> None:
    store = {"settlement": "seller_collected"}
    fair = await open_fair(shop, store=store, tiers={"mode": "marginal", "steps": steps((100_00, 1000))})
    await fair.sell(1, "200.00", at=MARCH)
    shop.clock.time = MARCH_ENDS + HOLD
    await work(fair)
    assert await owed(fair, fair.creator) == (15_00, 0)
    entries = (await shop.get("/v1/ledger/entries", payee_id=fair.creator["id"]))["items"]
    (journal,) = {each["journal_id"] for each in entries if each["purpose"] == "true_up"}
    release = f"/v1/true-ups/{journal.removeprefix('jrn_').rpartition('.')[0].rpartition('.')[0]}/release"
    finance = await shop.key("finance")
    await shop.refused("POST", release, {"reason": "paid"}, key=await shop.key("auditor"), status=403)
    await shop.post(release, {"reason": "paid by transfer"}, key=finance, status=200)
    await shop.refused("POST", release, {"reason": "again"}, key=finance, status=409)
    await shop.refused("POST", "/v1/true-ups/tru_none/release", {"reason": "x"}, key=finance, status=404)
    assert await work(fair) == 1
    assert await owed(fair, fair.creator) == (10_00, 5_00)  # the order's own part waits for the seller's payment
    async with shop.colink.pool.connection() as connection:
        assert (await verify(connection, shop.colink.decode)).findings == []


async def test_a_period_of_what_is_paid_late_waits_for_its_holding_period(shop: Shop) -> None:
    """An order of March that is paid in May: nothing of what its month comes to is due before it is itself."""
    fair = await open_fair(shop, tiers={"mode": "marginal", "steps": steps((100_00, 1000))})
    told = {"number": 1, "currency": "MYR", "placed_at": MARCH, "click_id": await fair.click(MARCH)}
    told["items"] = [Item(line_id=1, title="Sarong", price="1100.00", product_id=71, variant_id=81)]
    unpaid = order_body(order_id=1, status="pending", total_outstanding="1100.00", **told)
    await shop.deliver(fair.store, "orders/create", unpaid)
    shop.clock.time = paid_at = datetime(2026, 5, 20, 4, tzinfo=UTC)
    await shop.deliver(fair.store, "orders/paid", order_body(order_id=1, updated_at=paid_at, **told))
    for days, owes in ((0, (105_00, 0)), (13, (105_00, 0)), (14, (0, 105_00))):
        shop.clock.time = paid_at + timedelta(days=days)
        await work(fair)
        await clear(fair, 1)
        assert await owed(fair, fair.creator) == owes, days
    async with shop.colink.pool.connection() as connection:
        assert (await verify(connection, shop.colink.decode)).findings == []


async def test_a_period_of_a_line_that_is_added_late_waits_for_its_holding_period(shop: Shop) -> None:
    fair = await open_fair(shop, rate_bps=100)
    product = await shop.product(fair.store, external_id="72", title="Mug", skus=[])
    tiers = {"mode": "marginal", "steps": steps((100_00, 1000))}
    await shop.rule(fair.organization, scope="product", target_id=product["id"], rate_bps=500, tiers=tiers)
    told = {"order_id": 1, "number": 1, "currency": "MYR", "placed_at": MARCH, "click_id": await fair.click(MARCH)}
    sarong = Item(line_id=1, title="Sarong", price="10.00", product_id=71, variant_id=81)
    mug = Item(line_id=2, title="Mug", price="1100.00", product_id=72, variant_id=82)
    shop.clock.time = MARCH
    await shop.deliver(fair.store, "orders/paid", order_body(items=[sarong], updated_at=MARCH, **told))
    shop.clock.time = added_at = MARCH_ENDS + timedelta(days=60)
    await clear(fair, 1)
    await shop.deliver(fair.store, "orders/updated", order_body(items=[sarong, mug], updated_at=added_at, **told))
    for days, owes in ((0, (105_00, 10)), (14, (0, 105_10))):
        shop.clock.time = added_at + timedelta(days=days)
        await work(fair)
        await clear(fair, 1)
        assert await owed(fair, fair.creator) == owes, days


async def test_an_order_is_credited_to_nobody_else_once_money_of_its_month_has_cleared(shop: Shop) -> None:
    """By a rule of 0 % up to 100.00 nothing of the order itself ever clears."""
    tiers = {"mode": "marginal", "steps": steps((100_00, 1000))}
    fair = await open_fair(shop, rate_bps=0, tiers=tiers)
    other, finance = await shop.creator(), await shop.key("finance")
    await shop.coupon(other, fair.store, code="LATE10")
    click_id = await fair.click(MARCH)
    await fair.sell(1, "1100.00", at=MARCH, click_id=click_id)
    told = {
        "order_id": 1,
        "number": 1,
        "currency": "MYR",
        "placed_at": MARCH,
        "shipping": "0.00",
        "click_id": click_id,
    }
    item = Item(line_id=1, title="Sarong", price="1101.00", product_id=71, variant_id=81, discount="1.00")
    credit = f"/v1/orders/{(await fair.order(1))['id']}/reattribute"
    shop.clock.time = MARCH_ENDS + HOLD - SECOND
    await work(fair)
    assert (await owed(fair, fair.creator), await owed(fair, other)) == ((100_00, 0), (0, 0))
    shop.clock.time = MARCH_ENDS + HOLD
    await work(fair)
    assert (await owed(fair, fair.creator), await owed(fair, other)) == ((0, 100_00), (0, 0))
    body = order_body(items=[item], updated_at=shop.clock.now(), code="LATE10", **told)
    await shop.deliver(fair.store, "orders/updated", body)
    refused = await shop.refused("POST", credit, {"creator_id": other["id"], "reason": "x"}, key=finance, status=409)
    assert refused["type"].endswith("order-has-cleared")
    await work(fair)
    assert (await owed(fair, fair.creator), await owed(fair, other)) == ((0, 100_00), (0, 0))
    async with shop.colink.pool.connection() as connection:
        assert (await verify(connection, shop.colink.decode)).findings == []


async def test_an_order_is_credited_to_another_until_then(shop: Shop) -> None:
    tiers = {"mode": "marginal", "steps": steps((100_00, 1000))}
    fair = await open_fair(shop, rate_bps=0, tiers=tiers)
    other, finance = await shop.creator(), await shop.key("finance")
    await fair.sell(1, "1100.00", at=MARCH)
    shop.clock.time = MARCH_ENDS + HOLD - SECOND
    await work(fair)
    credit = f"/v1/orders/{(await fair.order(1))['id']}/reattribute"
    await shop.post(credit, {"creator_id": other["id"], "reason": "x"}, key=finance, status=200)
    await work(fair)
    assert (await owed(fair, fair.creator), await owed(fair, other)) == ((0, 0), (100_00, 0))
