"""Promise: what a seller owes in the books is what his account and his orders say, whatever is posted beside orders:
true-ups, write-offs, journals by hand and their reversals, at once and in any order (seller_accounts.py). Over HTTP
and on a real database; `Seller.findings` looks at the invariant itself before the verification does."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.api.sale import MUG, myr
from tests.api.seller import (
    HOLD,
    MARCH_ENDS,
    OWED,
    Seller,
    as_before,
    capped,
    change,
    clear,
    make_seller,
    sarong,
    tiered,
    true_up,
    write_as_before,
)
from tests.api.shop import Shop

from colink.application import seller_accounts
from colink.cli.shopify_traffic import RefundedItem
from colink.domain.audit.report import Kind, Pass, Status

pytestmark = pytest.mark.anyio


@pytest.fixture
async def seller(shop: Shop) -> Seller:
    return await make_seller(shop)


async def test_what_a_cap_takes_off_paid_orders_is_credit_for_others(shop: Shop) -> None:
    """Nobody books anything by hand."""
    seller = await capped(shop)
    order = await seller.order(1, items=sarong("400.00"), shipping="0.00")
    shop.clock.time = MARCH_ENDS + HOLD
    await true_up(seller)
    assert await seller.owed() == 20_00 + 40_00, "nothing is taken off what he has not paid"
    assert await seller.settle() == 0
    await seller.pay(20_00 + 40_00, "MBB-1")
    await seller.settle()
    assert await seller.settled([order]) == [60_00]
    await true_up(seller)
    assert await seller.credit() == 15_00
    await clear(seller, order)
    assert await seller.earned() == {"available": 25_00}
    other = await seller.order(2, items=sarong("100.00"), shipping="0.00")
    await seller.settle()
    assert await seller.settled([order, other]) == [60_00, 15_00]
    assert (await seller.owed(), await seller.credit()) == (0, 0)
    assert await seller.findings() == []


async def test_what_is_paid_clears_no_earlier_than_the_cap_bites(shop: Shop) -> None:
    """The worker had counted the month before the seller paid, and not since: who clears counts first."""
    seller = await capped(shop)
    order = await seller.order(1, items=sarong("400.00"), shipping="0.00")
    shop.clock.time = MARCH_ENDS + HOLD
    await true_up(seller)
    await seller.pay(20_00 + 40_00, "MBB-1")
    await seller.settle()
    await clear(seller, order)
    assert await seller.earned() == {"available": 25_00}
    assert await seller.credit() == 15_00
    assert await seller.findings() == []


async def test_a_cap_gives_no_credit_to_a_seller_who_never_pays(shop: Shop) -> None:
    """He would have it pay for the orders of a friend, and money would leave that never came."""
    seller = await capped(shop, cap_per_month=myr(1_00))
    friend = await shop.creator(handle="friend")
    await shop.rule(seller.organization, creator_id=friend["id"], rate_bps=1000)
    campaign = await shop.campaign(seller.organization, slug="friend")
    theirs = replace(seller, creator=friend, link=await shop.link(friend, campaign_id=campaign["id"]))
    sold = await theirs.order(1, items=sarong("6000.00"), shipping="0.00")
    await seller.order(2, items=sarong("10000.00"), shipping="0.00")
    shop.clock.time = MARCH_ENDS + HOLD
    await true_up(seller)
    assert await seller.settle() == 0
    await clear(seller, sold)
    assert (await theirs.earned(), await seller.earned()) == ({"pending": 600_00}, {"pending": 1_000_00})
    assert await seller.findings() == []


async def test_a_cap_of_what_is_not_paid_takes_nothing_of_what_another_seller_paid(shop: Shop) -> None:
    seller = await capped(shop)
    await seller.order(1, items=sarong("1000.00"), shipping="0.00")
    paid = await shop.store(seller.organization, domain="paid.example")
    click_id = await shop.follow(seller.link)
    shop.clock.time += timedelta(minutes=1)
    order = await shop.order(paid, order_id=2, items=sarong("100.00"), click_id=click_id, shipping="0.00")
    shop.clock.time = MARCH_ENDS + HOLD
    await true_up(seller)
    await clear(seller, str(order["order_id"]))
    assert await seller.earned() == {"available": 10_00, "pending": 100_00}
    assert await seller.findings() == []


async def test_a_refund_that_releases_a_cap_takes_the_credit_back(shop: Shop) -> None:
    seller = await capped(shop)
    first, second = [await seller.order(number, items=sarong("200.00"), shipping="0.00") for number in (1, 2)]
    shop.clock.time = MARCH_ENDS + HOLD
    await seller.pay(60_00, "MBB-1")
    await seller.settle()
    await true_up(seller)
    assert await seller.settled([first, second]) == [30_00, 30_00]
    assert await seller.credit() == 15_00
    await shop.refund(seller.store, order_id=1, items=[RefundedItem(item=sarong("200.00")[0])])
    await true_up(seller)
    # 30.00 back for the order, 15.00 charged again: the cap takes nothing any more.
    await seller.settle()
    assert (await seller.owed(), await seller.credit()) == (-30_00, 30_00)
    assert await seller.settled([first, second]) == [0, 30_00]
    assert await seller.findings() == []


async def test_what_a_cap_took_off_a_refunded_order_settles_no_other_before_it_is_owed_again(shop: Shop) -> None:
    """He paid 60.00, the cap gave 15.00 of it back, and all of the order is refunded: that is 60.00 and not 75.00."""
    seller = await capped(shop)
    first = await seller.order(1, items=sarong("400.00"), shipping="0.00")
    shop.clock.time = MARCH_ENDS + HOLD
    await seller.pay(60_00, "MBB-1")
    await seller.settle()
    await true_up(seller)
    assert await seller.credit() == 15_00
    await shop.refund(seller.store, order_id=1, items=[RefundedItem(item=sarong("400.00")[0])])
    second = await seller.order(2, items=sarong("500.00"), shipping="0.00")
    await seller.settle()  # the worker has not counted again
    assert await seller.settled([first, second]) == [0, 60_00]
    assert await seller.credit() == 0
    await true_up(seller)
    assert (await seller.credit(), await seller.owed()) == (0, 15_00)
    assert await seller.findings() == []


async def test_a_payment_for_a_true_up_settles_no_later_order(shop: Shop) -> None:
    seller = await tiered(shop)
    first = await seller.order(1, items=sarong("200.00"), shipping="0.00")
    await seller.pay(20_00, "MBB-1")
    await seller.settle()
    shop.clock.time = MARCH_ENDS + HOLD
    await true_up(seller)
    assert (await seller.owed(), await seller.credit()) == (5_00, -5_00)
    second = await seller.order(2, items=[MUG])
    await seller.pay(5_00, "MBB-2")
    await seller.settle()
    assert await seller.settled([first, second]) == [20_00, 0]
    assert await seller.credit() == 0
    assert await seller.findings() == []


async def test_what_was_charged_is_covered_before_orders_that_a_payment_names(seller: Seller) -> None:
    order = await seller.order(1)
    await seller.book(-500)
    assert (await seller.owed(), await seller.credit()) == (OWED + 500, -500)
    await seller.pay(100, "MBB-0", order_ids=[order])
    assert (await seller.settled([order]), await seller.credit()) == ([0], -400)
    await seller.pay(OWED - 100, "MBB-1", order_ids=[order])
    assert await seller.settled([order]) == [OWED - 500]
    assert await seller.credit() == 0
    await seller.pay(300, "MBB-2")
    await seller.settle()
    assert await seller.settled([order]) == [OWED - 200]
    assert await seller.findings() == []


async def test_a_write_off_settles_orders_and_its_reversal_is_charged(seller: Seller) -> None:
    shop, first = seller.shop, await seller.order(1)
    off = await seller.write_off(OWED)
    await seller.settle()
    assert await seller.settled([first]) == [OWED]
    await shop.hold_ends(first)
    assert await seller.earned() == {"available": 1423}
    await seller.book(-OWED, against="platform:loss", corrects=f"jrn_{off['id']}.posted")
    assert (await seller.owed(), await seller.credit()) == (OWED, -OWED)
    second = await seller.order(2)
    await seller.pay(OWED + 1, "MBB-1")
    await seller.settle()
    assert await seller.settled([first, second]) == [OWED, 1]
    assert await seller.findings() == []


async def test_a_journal_by_hand_may_touch_several_sellers_and_currencies(shop: Shop) -> None:
    sellers = [await make_seller(shop), await make_seller(shop, domain="toko.example")]
    accounts = [f"seller:{seller.organization['id']}:receivable" for seller in sellers]
    legs = [
        (accounts[0], 300, "MYR"),
        (accounts[0], -100, "MYR"),
        (accounts[1], -200, "MYR"),
        (accounts[1], 7, "SGD"),
        ("platform:revenue", -7, "SGD"),
    ]
    postings = [{"account": account, "amount": amount, "currency": currency} for account, amount, currency in legs]
    body = {"reason": "mixed up", "postings": postings}
    proposed = await shop.post("/v1/journals", body, key=sellers[0].finance)
    await shop.post(f"/v1/journals/{proposed['id']}/approve", key=await shop.key("finance"), status=200)
    listed = (await shop.get("/v1/seller-accounts"))["items"]
    credited = {(each["organization_id"], each["credit"]["currency"]): each["credit"]["amount"] for each in listed}
    one, other = (seller.organization["id"] for seller in sellers)
    assert credited == {(one, "MYR"): 200, (other, "MYR"): -200, (other, "SGD"): 7}
    assert (await sellers[0].report()).findings == []


async def test_what_takes_itself_back_in_one_journal_is_nothing_to_an_account(seller: Seller) -> None:
    account = f"seller:{seller.organization['id']}:receivable"
    legs = [{"account": account, "amount": amount, "currency": "MYR"} for amount in (5, -5)]
    await seller._approved("/v1/journals", {"postings": legs})
    listed = await seller.shop.get("/v1/seller-accounts", organization_id=seller.organization["id"])
    assert listed["items"] == []
    assert await seller.findings() == []


async def test_all_that_moves_an_account_at_once(shop: Shop) -> None:
    """Payments, write-offs, journals, allocations, counts and clearings race: nothing is lost, nothing is twice."""
    seller = await capped(shop)
    orders = [await seller.order(number, items=sarong("100.00"), shipping="0.00") for number in range(1, 7)]
    shop.clock.time = MARCH_ENDS + HOLD
    await shop.colink.engine.catch_up("true_ups")
    await asyncio.gather(
        *(seller.pay(20_00, f"MBB-{number}", order_ids=orders[:2]) for number in range(3)),
        *(seller.write_off(3_00) for _ in range(3)),
        *(seller.book(amount) for amount in (-2_00, 1_00, -4_00)),
        *(true_up(seller) for _ in range(3)),
        *(clear(seller, order) for order in orders),
        *(seller.settle() for _ in range(3)),
    )
    while any(await asyncio.gather(true_up(seller), *(seller.settle() for _ in range(3)))):
        pass  # what is counted pays for orders, and what is paid is counted
    await clear(seller, *orders)
    # 6 orders of 5.00 and 10.00, capped at 25.00; paid 60.00, written off 9.00, charged 5.00. That is 4 orders and
    # 4.00; they are capped, which gives 15.00: an order more, which gives 10.00.
    assert await seller.owed() == 30_00 + 60_00 - 25_00 - 60_00 - 9_00 + 5_00
    assert await seller.settled(orders) == [15_00, 15_00, 15_00, 15_00, 15_00, 14_00]
    assert await seller.credit() == 0
    assert await seller.earned() == {"available": 25_00, "pending": 10_00}
    assert await seller.findings() == []


async def test_an_account_of_before_adopts_what_was_charged(
    shop: Shop, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the worker, though nobody touches it: its seller has paid all he owes, and his creator waits."""
    seller = await capped(shop)
    with monkeypatch.context() as before:
        as_before(before)
        order = await seller.order(1, items=sarong("400.00"), shipping="0.00")
        shop.clock.time = MARCH_ENDS + HOLD
        await true_up(seller)
        await seller.pay(20_00 + 25_00, "MBB-1")
        await seller.settle()
    write_as_before(database)
    assert await seller.settled([order]) == [45_00]
    report = await seller.report()
    assert report.findings == []
    result = report.result(Pass.RECEIVABLES)
    assert (result.status, result.reason) == (
        Status.PARTIAL,
        "1 journals wait for the accounts of their sellers to be brought up to date",
    )

    assert [await seller.adopt() for _ in range(2)] == [1, 0]
    await seller.settle()
    await clear(seller, order)
    assert await seller.settled([order]) == [60_00]
    assert await seller.earned() == {"available": 25_00}
    assert await seller.findings() == []
    assert (await seller.report()).result(Pass.RECEIVABLES).status is Status.PASSED


async def test_who_touches_an_account_of_before_adopts_first(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    seller = await make_seller(shop)
    order = await seller.order(1)
    with monkeypatch.context() as before:
        before.setattr(seller_accounts.SellerAccounts, "book", lambda *_: None)
        await seller.write_off(1_000)  # no account was opened
    await asyncio.gather(seller.pay(100, "MBB-1"), seller.book(-40), seller.adopt(), seller.adopt())
    assert await seller.credit() == 1_060
    await seller.settle()
    assert await seller.settled([order]) == [1_060]
    assert await seller.findings() == []


async def test_tampering_with_charges_is_found(shop: Shop, database: Any) -> None:
    seller = await tiered(shop)
    await seller.order(1, items=sarong("200.00"), shipping="0.00")
    shop.clock.time = MARCH_ENDS
    await true_up(seller)
    await seller.write_off(3_00)
    assert await seller.findings() == []
    for topic, old, new, found in (
        ("seller_account.opened", '"since":0', '"since":1', Pass.RECEIVABLES),
        ("seller_account.booked", '"amount":-500', '"amount":-400', Pass.RECEIVABLES),
        ("seller_account.booked", '"credit":-500', '"credit":-400', Pass.RECEIVABLES),
        ("seller_account.booked", '"held":500,', '"held":400,', Pass.RECEIVABLES),
        ("seller_account.booked", '"journal_id":"jrn_', '"journal_id":"jrn_x', Pass.RECEIVABLES),
        ("seller_account.booked", '"cause_id":"tru_', '"cause_id":"tru_x', Pass.RECEIVABLES),
    ):
        position = change(database, topic, old, new)
        report = await seller.report()
        assert (found, Kind.DERIVED_DIFFERENTLY, position) in {
            (finding.audit_pass, finding.kind, finding.position) for finding in report.findings
        }, (topic, old)
        change(database, topic, new, old)
    assert await seller.findings() == []


async def test_a_charge_that_no_account_tells_of_is_found(seller: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
    await seller.order(1)
    await seller.pay(100, "MBB-1")
    monkeypatch.setattr(seller_accounts.SellerAccounts, "book", lambda *_: None)
    off = await seller.write_off(1_000)
    [finding] = (await seller.report()).findings
    assert (finding.audit_pass, finding.subject) == (Pass.RECEIVABLES, f"jrn_{off['id']}.posted")
