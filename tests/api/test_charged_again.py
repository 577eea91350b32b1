"""Promise: money that a seller paid pays for one thing at a time. What had cleared with it, and was given back,
clears anew when it is owed again; what a cap took off, and is charged again, is taken back of the orders that it
settled. So all that his creators have is never more than he paid. Over HTTP and on a real database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partialmethod
from typing import Any

import pytest
from tests.api.sale import myr
from tests.api.seller import (
    HOLD,
    MARCH,
    MARCH_ENDS,
    Seller,
    change,
    clear,
    commission_only,
    make_seller,
    sarong,
    true_up,
    work_for,
)
from tests.api.shop import Shop

from colink.cli.shopify_traffic import Item, RefundedItem
from colink.domain import seller_accounts
from colink.domain.audit.report import Pass
from colink.domain.orders import Order
from colink.domain.seller_account_events import uncovered_by

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
Change = Callable[[Seller], Awaitable[None]]


async def edited(seller: Seller, number: int, price: str, **more: Any) -> None:
    seller.shop.clock.time += timedelta(hours=1)
    placed = {"placed_at": MARCH + timedelta(minutes=number - 1), "updated_at": seller.shop.clock.time}
    await seller.shop.order(seller.store, order_id=number, items=sarong(price), shipping="0.00", **placed, **more)


async def disputed(seller: Seller, **told: str) -> None:
    opened = (MARCH + HOLD + 2 * DAY).isoformat()
    dispute = {"id": 7, "order_id": 1, "type": "chargeback", "amount": "200.00", "currency": "MYR"}
    details = {"status": "needs_response", "finalized_on": None, "initiated_at": opened}
    topic = "disputes/update" if told else "disputes/create"
    await seller.shop.deliver(seller.store, topic, dispute | details | told)


async def refunded(seller: Seller, status: str) -> None:
    at = MARCH + HOLD + 2 * DAY
    await seller.shop.refund(
        seller.store, order_id=1, amount_only="200.00", processed_at=at, transaction_status=status
    )


GONE_AND_BACK: dict[str, tuple[Change, Change]] = {
    "a dispute that is won": (disputed, lambda seller: disputed(seller, status="won", finalized_on="2026-03-27")),
    "an edit": (lambda seller: edited(seller, 1, "0.00"), lambda seller: edited(seller, 1, "200.00")),
    "a refund that fails": (lambda seller: refunded(seller, "success"), lambda seller: refunded(seller, "failure")),
    "a cancellation": (
        lambda seller: edited(seller, 1, "200.00", cancelled_at=seller.shop.clock.time),
        lambda seller: edited(seller, 1, "200.00"),
    ),
}


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("name", GONE_AND_BACK)
async def test_what_had_cleared_and_is_owed_again_is_paid_for_again(shop: Shop, name: str, held: bool) -> None:
    """Its money settled an order of another creator meanwhile."""
    goes, comes_back = GONE_AND_BACK[name]
    seller = await commission_only(shop, cap_per_month=None)
    theirs = await seller.with_another_creator()
    one = await seller.order(1, items=sarong("200.00"), shipping="0.00")
    other = await theirs.order(2, items=sarong("200.00"), shipping="0.00")
    await seller.pay(20_00, "MBB-1", order_ids=[one])
    shop.clock.time = MARCH + HOLD + 2 * DAY
    await work_for(seller, one, other)
    assert await seller.earned() == {"available": 20_00}
    if held:
        await shop.post(f"/v1/orders/{one}/hold", {"reason": "odd"}, key=seller.finance, status=200)
    await goes(seller)
    await work_for(seller, one, other)
    assert (await seller.earned(), await theirs.earned()) == ({}, {"available": 20_00})
    await comes_back(seller)
    if held:
        await shop.post(f"/v1/orders/{one}/release", {"reason": "fine"}, key=seller.finance, status=200)
    await work_for(seller, one, other)
    assert (await seller.earned(), await theirs.earned()) == ({"pending": 20_00}, {"available": 20_00})
    assert (await seller.owed(), await seller.cash()) == (20_00, 20_00)
    await seller.pay(20_00, "MBB-2")
    shop.clock.time += 2 * HOLD
    await work_for(seller, one, other)
    assert await seller.earned() == {"available": 20_00}
    assert await seller.findings() == []


@pytest.mark.parametrize("as_before", [False, True])
async def test_a_line_that_comes_back_is_not_paid_for_by_what_took_its_place(
    shop: Shop, as_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if as_before:  # older programs gave it away; what they recorded verifies
        monkeypatch.setattr(Order, "next_clearing", partialmethod(Order.next_clearing, as_before=True))
    seller = await commission_only(shop, cap_per_month=None)
    sarongs, mugs = sarong("200.00"), [Item(line_id=2, title="Mug", price="200.00", product_id=72, variant_id=82)]
    one = await seller.order(1, items=sarongs, shipping="0.00")
    await seller.pay(20_00, "MBB-1")
    shop.clock.time = MARCH + HOLD + DAY
    await work_for(seller, one)
    placed = {"placed_at": MARCH, "shipping": "0.00"}
    for items in (mugs, [*sarongs, *mugs]):
        shop.clock.time += HOLD
        await shop.order(seller.store, order_id=1, items=items, updated_at=shop.clock.time, **placed)
        shop.clock.time += HOLD
        await work_for(seller, one)
    monkeypatch.undo()
    assert await seller.cash() == 20_00
    assert await seller.earned() == ({"available": 40_00} if as_before else {"available": 20_00, "pending": 20_00})
    assert await seller.findings() == []
    await seller.pay(20_00, "MBB-2")
    await work_for(seller, one)
    assert (await seller.earned(), await seller.findings()) == ({"available": 40_00}, [])


async def test_creators_who_are_paid_in_advance_have_it_at_once(shop: Shop) -> None:
    seller = await commission_only(shop, advance=True, cap_per_month=None)
    one = await seller.order(1, items=sarong("200.00"), shipping="0.00")
    shop.clock.time = MARCH + HOLD + DAY
    await seller.pay(20_00, "MBB-1")
    await work_for(seller, one)
    for price, earned in (("0.00", {}), ("200.00", {"available": 20_00})):
        await edited(seller, 1, price)
        await seller.settle()
        assert await seller.earned() == earned
    assert await seller.findings() == []


async def one_goes_to_nobody(seller: Seller, one: str, _: Any) -> None:
    body = {"reason": "x", "creator_id": None}
    await seller.shop.post(f"/v1/orders/{one}/reattribute", body, key=seller.finance, status=200)


async def one_goes_to_a_third(seller: Seller, one: str, _: Any) -> None:
    body = {"reason": "x", "creator_id": (await seller.shop.creator())["id"]}
    await seller.shop.post(f"/v1/orders/{one}/reattribute", body, key=seller.finance, status=200)


async def its_payment_is_returned(seller: Seller, _: str, paid: Any) -> None:
    await seller.bounce(paid)


async def one_is_refunded(seller: Seller, one: str, _: Any) -> None:
    """And a payment of one sen names it, and orders of others."""
    await seller.shop.refund(seller.store, order_id=1, items=[RefundedItem(item=sarong("200.00")[0])])
    others = [f"ord_{seller.store['id']}.{number}" for number in (3, 4)]
    await seller.pay(1, "MBB-3", order_ids=[one, *others])


@pytest.mark.parametrize("settled_first", [False, True])
@pytest.mark.parametrize(
    "happens", [one_goes_to_nobody, one_goes_to_a_third, its_payment_is_returned, one_is_refunded]
)
async def test_what_a_cap_took_off_and_is_charged_again_is_taken_back_of_what_it_settled(
    shop: Shop, happens: Any, settled_first: bool
) -> None:
    """400.00 sold and paid for, capped at 25.00 of 40.00: the 15.00 settle an order of another creator. Then one of
    both orders is no more in the month, before anything has cleared."""
    seller = await commission_only(shop)
    one = await seller.order(1, items=sarong("200.00"), shipping="0.00")
    two = await seller.order(2, items=sarong("200.00"), shipping="0.00")
    paid = await seller.pay(20_00, "MBB-1", order_ids=[one])
    await seller.pay(20_00, "MBB-2", order_ids=[two])
    shop.clock.time = MARCH_ENDS + timedelta(hours=1)
    await true_up(seller)
    assert await seller.credit() == 15_00
    theirs = await seller.with_another_creator()
    three = await theirs.order(3, items=sarong("150.00"), shipping="0.00")
    four = await theirs.order(4, items=sarong("200.00"), shipping="0.00")
    if settled_first:
        await seller.settle()
        assert await seller.settled([three]) == [15_00]
    await happens(seller, one, paid)
    await seller.settle()
    shop.clock.time += timedelta(days=31) + HOLD
    await work_for(seller, one, two, three, four)
    available = (await seller.earned()).get("available", 0) + (await theirs.earned()).get("available", 0)
    assert available <= await seller.cash()
    await seller.pay(await seller.owed() + 1, "MBB-9")
    shop.clock.time += 3 * HOLD
    await work_for(seller, one, two, three, four)
    kept = 25_00 if happens is its_payment_is_returned else 20_00
    assert (await seller.earned(), await theirs.earned()) == ({"available": kept}, {"available": 25_00})
    assert await seller.findings() == []


async def test_a_payment_that_names_a_refunded_order_has_its_month_counted_first(shop: Shop) -> None:
    """What was paid for it is 20.00, of which the cap's 15.00 are owed again: 5.00 and the payment settle others."""
    seller = await commission_only(shop)
    one = await seller.order(1, items=sarong("200.00"), shipping="0.00")
    await seller.order(2, items=sarong("200.00"), shipping="0.00")
    await seller.pay(40_00, "MBB-1")
    await seller.settle()
    shop.clock.time = MARCH_ENDS + timedelta(hours=1)
    await true_up(seller)
    theirs = await seller.with_another_creator()
    others = [await theirs.order(number, items=sarong("150.00"), shipping="0.00") for number in (3, 4)]
    await one_is_refunded(seller, one, None)
    assert await seller.settled([one, *others]) == [0, 15_00, 5_01]
    assert (await seller.credit(), await seller.findings()) == (0, [])


async def test_a_line_of_another_rule_is_no_more_in_the_month(shop: Shop) -> None:
    organization = await shop.organization(timezone="Asia/Kuala_Lumpur", platform_fee_bps=0)
    store = await shop.store(organization, settlement="seller_collected")
    product = await shop.product(store)
    creator = await shop.creator()
    await shop.rule(organization, scope="product", target_id=product["id"], rate_bps=1000, cap_per_month=myr(25_00))
    await shop.rule(organization, rate_bps=0)
    link = await shop.link(creator, campaign_id=(await shop.campaign(organization))["id"])
    finance = await shop.key("finance")
    seller = Seller(shop=shop, finance=finance, organization=organization, store=store, creator=creator, link=link)
    theirs = await seller.with_another_creator()
    shop.clock.time = MARCH - timedelta(minutes=1)
    orders = [await seller.order(number, items=sarong("200.00"), shipping="0.00") for number in (1, 2)]
    await seller.pay(40_00, "MBB-1")
    await seller.settle()
    shop.clock.time = MARCH_ENDS + timedelta(hours=1)
    await true_up(seller)
    orders += [await theirs.order(number, items=sarong("175.00"), shipping="0.00") for number in (3, 4)]
    swapped = [Item(line_id=1, title="Mug", price="200.00", product_id=99, variant_id=98)]
    shop.clock.time += DAY
    await shop.order(store, order_id=1, placed_at=MARCH, updated_at=shop.clock.time, items=swapped, shipping="0.00")
    await seller.settle()
    assert await seller.settled(orders) == [0, 20_00, 17_50, 2_50]
    shop.clock.time += timedelta(days=31) + HOLD
    await work_for(seller, *orders)
    assert (await seller.earned(), await seller.cash()) == ({"available": 20_00}, 40_00)
    assert await theirs.earned() == {"available": 17_50, "pending": 17_50}
    assert await seller.findings() == []


async def test_what_is_charged_by_hand_leaves_orders_settled(shop: Shop) -> None:
    seller = await commission_only(shop)
    order = await seller.order(1, items=sarong("200.00"), shipping="0.00")
    await seller.pay(20_00, "MBB-1")
    await seller.settle()
    await seller.book(-5_00)
    assert (await seller.settle(), await seller.settled([order])) == (0, [20_00])
    assert await seller.findings() == []


async def test_a_return_leaves_what_paid_for_what_has_cleared(shop: Shop) -> None:
    """10.00 have cleared and 0.05 not: 0.05 are taken back of the order, and 10.00 are owed before anything else."""
    seller = await commission_only(shop, cap_per_month=None)
    theirs = await seller.with_another_creator()
    one = await seller.order(1, items=sarong("100.00"), shipping="0.00")
    two = await theirs.order(2, items=sarong("100.00"), shipping="0.00")
    shop.clock.time = MARCH + HOLD + DAY
    paid = await seller.pay(10_05, "MBB-1", order_ids=[one])
    await clear(seller, one)
    await edited(seller, 1, "100.50")
    await seller.settle()
    assert await seller.settled([one]) == [10_05]
    await seller.bounce(paid)
    assert (await seller.settled([one]), await seller.credit()) == ([10_00], -10_00)
    await seller.pay(10_00, "MBB-2", order_ids=[two])
    shop.clock.time += HOLD
    await work_for(seller, one, two)
    assert (await seller.settled([one, two]), await seller.credit()) == ([10_00, 0], 0)
    assert await seller.earned() == {"available": 10_00, "pending": 5}
    assert (await theirs.earned(), await seller.cash()) == ({"pending": 10_00}, 10_00)
    assert await seller.findings() == []


async def test_what_older_programs_recorded_verifies(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    seller = await commission_only(shop)
    with monkeypatch.context() as patch:
        patch.setattr(Order, "settle", partialmethod(Order.settle, as_before=True))
        patch.setattr(Order, "take_back", partialmethod(Order.take_back, as_before=True))
        patch.setattr(seller_accounts, "uncovered_by", lambda *_, **__: None)
        patch.setattr(
            seller_accounts, "booked", lambda *known, uncovered, **more: _booked(*known, uncovered=0, **more)
        )
        orders = [await seller.order(number, items=sarong("200.00"), shipping="0.00") for number in (1, 2)]
        first = await seller.pay(20_00, "MBB-1", order_ids=orders[:1])
        await seller.pay(20_00, "MBB-2", order_ids=orders[1:])
        shop.clock.time = MARCH_ENDS + HOLD
        await work_for(seller, *orders)
        await edited(seller, 1, "0.00")
        await work_for(seller, *orders)
        await edited(seller, 1, "200.00")
        await seller.bounce(first)
        await work_for(seller, *orders)
    assert await seller.findings() == []
    await seller.pay(max(await seller.owed(), 0) + 1, "MBB-9")
    await work_for(seller, *orders)
    assert await seller.findings() == []


_booked = seller_accounts.booked


async def test_who_says_that_something_waits_is_found(shop: Shop, database: Any) -> None:
    seller = await commission_only(shop)
    orders = [await seller.order(number, items=sarong("200.00"), shipping="0.00") for number in (1, 2)]
    await seller.pay(40_00, "MBB-1")
    await seller.settle()
    shop.clock.time = MARCH_ENDS
    await true_up(seller)
    await one_goes_to_nobody(seller, orders[0], None)
    await true_up(seller)
    assert await seller.findings() == []
    position = change(database, "seller_account.booked", '"uncovered":1500', '"uncovered":0')
    assert (Pass.RECEIVABLES, position) in {
        (finding.audit_pass, finding.position) for finding in (await seller.report()).findings
    }


def test_what_nothing_waits_for() -> None:
    assert uncovered_by("tru_1", -15, held=0) == 15
    assert uncovered_by("tru_1", -15, held=10) == 5
    assert uncovered_by("tru_1", -15, held=-10) == 15
    assert uncovered_by("tru_1", 15, held=0) == 0
    assert uncovered_by("bkg_1", -15, held=0) == 0


async def test_sellers_are_apart(shop: Shop) -> None:
    """What is charged again to one takes nothing back of another's orders."""
    seller = await commission_only(shop)
    other = await make_seller(shop, domain="toko.example", platform_fee_bps=0)
    theirs = await other.order(9, items=sarong("200.00"), shipping="0.00")
    await other.pay(20_00, "CIMB-1")
    orders = [await seller.order(number, items=sarong("200.00"), shipping="0.00") for number in (1, 2)]
    await seller.pay(40_00, "MBB-1")
    await seller.settle()
    shop.clock.time = MARCH_ENDS
    await true_up(seller)
    more = await seller.order(3, items=sarong("150.00"), shipping="0.00")
    await seller.settle()
    await one_goes_to_nobody(seller, orders[0], None)
    await true_up(seller)
    await seller.settle()
    assert await seller.settled([*orders, more]) == [0, 20_00, 15_00]
    assert await other.settled([theirs]) == [20_00]
    assert await seller.findings() == []


async def test_an_order_does_not_clear_by_the_count_that_takes_back(shop: Shop) -> None:
    """The worker has not noticed yet that the month comes to less: the order that clears counts it, and waits."""
    seller = await commission_only(shop)
    one, two = [await seller.order(number, items=sarong("200.00"), shipping="0.00") for number in (1, 2)]
    await seller.pay(40_00, "MBB-1")
    await seller.settle()
    shop.clock.time = MARCH_ENDS + timedelta(hours=1)
    await true_up(seller)
    theirs = await seller.with_another_creator()
    three = await theirs.order(3, items=sarong("150.00"), shipping="0.00")
    await seller.settle()
    await one_goes_to_nobody(seller, one, None)
    shop.clock.time += timedelta(days=31) + HOLD
    await clear(seller, two)
    assert await seller.earned() == {"pending": 20_00}
    await clear(seller, three)
    assert await theirs.earned() == {"pending": 15_00}, "something is to be taken back"
    await work_for(seller, two, three)
    assert (await seller.earned(), await theirs.earned()) == ({"available": 20_00}, {"available": 15_00})
    assert await seller.findings() == []


async def test_a_month_that_an_order_has_left_is_counted_before_its_money_settles_others(shop: Shop) -> None:
    """They are due: what they were settled with by mistake would clear before it is taken back."""
    seller = await commission_only(shop)
    one, two = [await seller.order(number, items=sarong("200.00"), shipping="0.00") for number in (1, 2)]
    theirs = await seller.with_another_creator()
    three, four = [await theirs.order(number, items=sarong("175.00"), shipping="0.00") for number in (3, 4)]
    await seller.pay(40_00, "MBB-1", order_ids=[one, two])
    shop.clock.time = MARCH_ENDS + HOLD
    await true_up(seller)
    await seller.settle()
    assert await seller.settled([three, four]) == [15_00, 0]
    await one_goes_to_nobody(seller, one, None)
    await seller.settle()
    assert await seller.settled([three, four]) == [17_50, 2_50]
    await work_for(seller, two, three, four)
    assert (await seller.earned(), await seller.cash()) == ({"available": 20_00}, 40_00)
    assert await theirs.earned() == {"available": 17_50, "pending": 17_50}
    assert await seller.findings() == []
