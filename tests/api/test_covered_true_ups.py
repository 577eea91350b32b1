"""Promise: what a true-up owes a creator where the seller collects the money waits for the seller's money, and for no
more: it clears when it is due and his account has covered it, to the minor unit. Over HTTP and on a real database."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from tests.api.sale import myr
from tests.api.seller import (
    HOLD,
    MARCH,
    MARCH_ENDS,
    Seller,
    as_before,
    capped,
    change,
    clear,
    commission_only,
    make_seller,
    sarong,
    tiered,
    true_up,
    work_for,
)
from tests.api.shop import Shop
from tests.api.test_tiers import steps

from colink.cli.shopify_traffic import Item, RefundedItem
from colink.domain import true_ups as domain_true_ups
from colink.domain.audit.report import Kind, Pass
from colink.domain.seller_account_events import SellerAccountDetails
from colink.domain.true_up_counts import Ageing, counted_again

pytestmark = pytest.mark.anyio

OF_ORDER, OF_TRUE_UP = 20_00, 5_00  # of 200.00: 5 % and 5 %, and 5 % more of what is above 100.00


async def sold(shop: Shop) -> tuple[Seller, str]:
    """One order, and its month trued up."""
    seller = await tiered(shop)
    order = await seller.order(1, items=sarong("200.00"), shipping="0.00")
    shop.clock.time = MARCH_ENDS
    await true_up(seller)
    assert await seller.owed() == OF_ORDER + OF_TRUE_UP
    return seller, order


async def releases(shop: Shop) -> list[tuple[str, str]]:
    async with shop.colink.pool.connection() as conn:
        cursor = await conn.execute(
            "SELECT payload::jsonb ->> 'by', payload::jsonb ->> 'reason' FROM colink.events"
            " WHERE topic = 'true_up.released' ORDER BY position"
        )
        return [(by, reason) for by, reason in await cursor.fetchall()]


async def account_of(seller: Seller) -> tuple[int, int]:
    """Its credit, and what waits."""
    [account] = (await seller.shop.get("/v1/seller-accounts", organization_id=seller.organization["id"]))["items"]
    return account["credit"]["amount"], account["held"]["amount"]


async def test_it_clears_when_it_is_due_and_the_seller_has_paid(shop: Shop) -> None:
    seller, order = await sold(shop)
    assert await account_of(seller) == (-OF_TRUE_UP, OF_TRUE_UP)
    await seller.pay(OF_ORDER + OF_TRUE_UP, "MBB-1")
    await seller.settle()
    await true_up(seller)
    assert await seller.earned() == {"pending": 15_00}, "it is paid, and not due"
    shop.clock.time = MARCH_ENDS + HOLD
    assert await true_up(seller) == 1
    await clear(seller, order)
    assert await seller.earned() == {"available": 15_00}
    assert await account_of(seller) == (0, 0)
    assert await releases(shop) == [("worker", "the seller's account has covered it")]
    assert await true_up(seller) == 0
    assert await seller.findings() == []


async def test_what_is_paid_late_clears_when_it_is_paid(shop: Shop) -> None:
    seller, order = await sold(shop)
    shop.clock.time = MARCH_ENDS + HOLD + timedelta(days=3)
    await true_up(seller)
    await clear(seller, order)
    assert await seller.earned() == {"pending": 15_00}
    await seller.pay(OF_TRUE_UP, "MBB-1")
    await true_up(seller)
    assert await seller.earned() == {"available": 5_00, "pending": 10_00}, "the order's own part waits on"
    entries = (await shop.get("/v1/ledger/entries", payee_id=seller.creator["id"]))["items"]
    cleared = {entry["effective_at"] for entry in entries if entry["kind"] == "clearing"}
    assert [time.replace("Z", "+00:00") for time in cleared] == [shop.clock.time.isoformat()]
    assert await seller.findings() == []


async def test_a_part_that_is_covered_clears_alone(shop: Shop) -> None:
    seller, _ = await sold(shop)
    shop.clock.time = MARCH_ENDS + HOLD
    for number, (paid, available) in enumerate([(1_00, 1_00), (1, 1_01), (3_98, 4_99), (1, 5_00), (7, 5_00)]):
        await seller.pay(paid, f"MBB-{number}")
        await true_up(seller)
        assert (await seller.earned()).get("available", 0) == available
    assert await account_of(seller) == (7, 0)
    assert await seller.findings() == []


async def test_two_creators_wait_for_one_account(shop: Shop) -> None:
    """Due at once: the true-up whose id comes first is covered first, the other with what is left."""
    seller = await tiered(shop)
    await seller.order(1, items=sarong("200.00"), shipping="0.00")
    other = await shop.creator()
    click = await shop.follow(await shop.link(other, campaign_id=seller.link["campaign_id"]))
    shop.clock.time += timedelta(days=1)
    await shop.order(seller.store, order_id=2, items=sarong("300.00"), shipping="0.00", click_id=click)
    shop.clock.time = MARCH_ENDS + HOLD
    await true_up(seller)
    assert await account_of(seller) == (-15_00, 15_00)
    await seller.pay(6_00, "MBB-1")
    await true_up(seller)
    assert await account_of(seller) == (-9_00, 9_00)
    paid = [
        sum(each["amount"] for each in items if each["account"].endswith(":available"))
        for payee in (seller.creator, other)
        for items in [(await shop.get("/v1/balances", payee_id=payee["id"]))["items"]]
    ]
    assert sorted(paid) in ([0, 6_00], [1_00, 5_00])
    await seller.pay(9_00, "MBB-2")
    await true_up(seller)
    assert await account_of(seller) == (0, 0)
    assert await seller.findings() == []


async def test_what_is_owed_otherwise_is_covered_first(shop: Shop) -> None:
    seller, _ = await sold(shop)
    await seller.book(-2_00)
    shop.clock.time = MARCH_ENDS + HOLD
    await seller.pay(2_00, "MBB-1")
    assert await true_up(seller) == 0
    await seller.write_off(1_50)
    await true_up(seller)
    assert (await seller.earned())["available"] == 1_50, "a debt that was given up is covered too"
    assert await account_of(seller) == (-3_50, 3_50)
    assert await seller.findings() == []


async def test_an_organization_that_advances_waits_for_nothing(shop: Shop) -> None:
    rule = {"rate_bps": 500, "tiers": {"mode": "marginal", "steps": steps((100_00, 1000))}}
    seller = await make_seller(shop, rule=rule, timezone="Asia/Kuala_Lumpur", advance=True)
    order = await seller.order(1, items=sarong("200.00"), shipping="0.00")
    shop.clock.time = MARCH_ENDS + HOLD
    await true_up(seller)
    await clear(seller, order)
    assert await seller.earned() == {"available": 15_00}
    assert await account_of(seller) == (-5_00, 0)
    await seller.pay(10_00, "MBB-1", order_ids=[order])
    assert await seller.settled([order]) == [5_00]
    assert await seller.findings() == []


async def test_a_refund_takes_what_waits_back_first(shop: Shop) -> None:
    seller, _ = await sold(shop)
    await shop.refund(
        seller.store, order_id=1, items=[RefundedItem(item=sarong("200.00")[0])], processed_at=shop.clock.time
    )
    await true_up(seller)
    assert await account_of(seller) == (0, 0)
    assert (await seller.owed(), await seller.earned()) == (0, {})
    assert await seller.findings() == []


async def test_what_is_counted_later_waits_and_what_was_paid_clears(shop: Shop) -> None:
    """A late order adds to a true-up that is paid, and due earlier."""
    seller, _ = await sold(shop)
    await seller.pay(OF_TRUE_UP, "MBB-1")
    shop.clock.time = MARCH_ENDS - timedelta(days=1)
    click = await shop.follow(seller.link)
    placed = shop.clock.time = MARCH_ENDS - timedelta(hours=1)
    shop.clock.time = MARCH_ENDS + timedelta(days=4)
    late = {"placed_at": placed, "items": sarong("100.00"), "shipping": "0.00", "click_id": click}
    await shop.order(seller.store, order_id=2, **late)
    await true_up(seller)
    assert await account_of(seller) == (-5_00, 10_00)
    shop.clock.time = MARCH_ENDS + HOLD
    await true_up(seller)
    assert (await seller.earned())["available"] == 5_00
    await seller.pay(5_00, "MBB-2")
    assert await true_up(seller) == 0, "due a holding period after it was counted"
    shop.clock.time += timedelta(days=4)
    await true_up(seller)
    assert (await seller.earned())["available"] == 10_00
    assert await account_of(seller) == (0, 0)
    assert await seller.findings() == []


async def release_path(seller: Seller) -> str:
    entries = (await seller.shop.get("/v1/ledger/entries", payee_id=seller.creator["id"]))["items"]
    [journal] = {entry["journal_id"] for entry in entries if entry["purpose"] == "true_up"}
    return f"/v1/true-ups/{journal.removeprefix('jrn_').rpartition('.')[0].rpartition('.')[0]}/release"


async def test_what_finance_releases_late_clears_then_and_is_not_counted_again(shop: Shop) -> None:
    seller, _ = await sold(shop)
    shop.clock.time = MARCH_ENDS + HOLD + timedelta(days=2)
    await shop.post(await release_path(seller), {"reason": "they always pay"}, key=seller.finance, status=200)
    released_at = shop.clock.time
    shop.clock.time += timedelta(days=1)
    assert await true_up(seller) == 1
    entries = (await shop.get("/v1/ledger/entries", payee_id=seller.creator["id"]))["items"]
    kinds = {entry["kind"]: entry["effective_at"] for entry in entries if entry["purpose"] == "true_up"}
    assert kinds["clearing"].replace("Z", "+00:00") == released_at.isoformat()
    async with shop.colink.pool.connection() as conn:
        cursor = await conn.execute("SELECT count(*) FROM colink.events WHERE topic = 'true_up.recounted'")
        assert await cursor.fetchone() == (0,)
    assert await seller.findings() == []


async def test_finance_may_release_what_is_not_paid(shop: Shop) -> None:
    seller, _ = await sold(shop)
    path = await release_path(seller)
    await shop.post(path, {"reason": "they always pay"}, key=seller.finance, status=200)
    assert await account_of(seller) == (-5_00, 0)
    shop.clock.time = MARCH_ENDS + HOLD
    await true_up(seller)
    assert (await seller.earned())["available"] == 5_00
    await seller.pay(5_00, "MBB-1")
    assert await true_up(seller) == 0
    assert await shop.refused("POST", path, {"reason": "again"}, key=seller.finance, status=409)
    assert await seller.findings() == []


async def test_a_true_up_of_before_is_released_too(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted when accounts knew of payments only; a later one waits behind it."""
    seller = await tiered(shop)
    with monkeypatch.context() as before:
        as_before(before)
        await seller.order(1, items=sarong("200.00"), shipping="0.00")
        shop.clock.time = MARCH_ENDS
        await true_up(seller)
    await seller.order(2, items=sarong("180.00"), shipping="0.00")
    await seller.adopt()
    assert await account_of(seller) == (-5_00, 0)
    shop.clock.time = MARCH_ENDS + timedelta(days=30) + HOLD
    await true_up(seller)
    assert await account_of(seller) == (-9_00, 4_00)
    await seller.pay(3_00, "MBB-1")
    await true_up(seller)
    assert (await seller.earned())["available"] == 3_00
    await seller.pay(3_00, "MBB-2")
    await true_up(seller)
    assert (await seller.earned())["available"] == 6_00
    await seller.pay(3_00, "MBB-3")
    await true_up(seller)
    assert (await seller.earned())["available"] == 9_00
    assert await account_of(seller) == (0, 0)
    assert await seller.findings() == []


async def test_payments_releases_counts_and_clearings_at_once(shop: Shop) -> None:
    seller, order = await sold(shop)
    shop.clock.time = MARCH_ENDS + HOLD
    click = await shop.follow(seller.link)
    late = {"placed_at": MARCH_ENDS - timedelta(hours=1), "items": sarong("100.00"), "shipping": "0.00"}
    await asyncio.gather(
        *(seller.pay(1_00, f"MBB-{number}") for number in range(4)),
        *(true_up(seller) for _ in range(4)),
        *(seller.settle() for _ in range(2)),
        shop.order(seller.store, order_id=2, click_id=click, **late),
        clear(seller, order),
    )
    await true_up(seller)
    available = (await seller.earned())["available"]
    credit, held = await account_of(seller)
    assert available == 4_00
    assert held == -credit, "all that is owed beside orders waits"
    assert await seller.findings() == []


async def test_tampering_with_what_is_covered_is_found(shop: Shop, database: Any) -> None:
    seller, _ = await sold(shop)
    shop.clock.time = MARCH_ENDS + HOLD
    await seller.pay(2_00, "MBB-1")
    await true_up(seller)
    assert await seller.findings() == []
    for topic, old, new in (
        ("seller_account.covered", '"amount":200', '"amount":201'),
        ("seller_account.covered", '"held":300', '"held":299'),
        ("seller_account.covered", '"uncounted":0', '"uncounted":500'),
        ("seller_account.covered", '"true_up_id":"tru', '"true_up_id":"tru_x'),
    ):
        position = change(database, topic, old, new)
        assert (Pass.RECEIVABLES, Kind.DERIVED_DIFFERENTLY, position) in {
            (finding.audit_pass, finding.kind, finding.position) for finding in (await seller.report()).findings
        }, (topic, old)
        change(database, topic, new, old)
    change(database, "true_up.released", '"by":"worker"', '"by":"key:1"')
    assert [finding.audit_pass for finding in (await seller.report()).findings].count(Pass.RECEIVABLES) == 1
    change(database, "true_up.released", '"by":"key:1"', '"by":"worker"')
    assert await seller.findings() == []


async def test_what_is_released_without_being_covered_is_found(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    seller, _ = await sold(shop)
    shop.clock.time = MARCH_ENDS + HOLD
    await seller.pay(1, "MBB-1")
    with monkeypatch.context() as generous:
        generous.setattr(SellerAccountDetails, "coverable", lambda *_, **__: 10_000)
        await true_up(seller)
    assert (await seller.earned())["available"] == 5_00
    assert "had not covered 500" in " ".join(finding.message for finding in (await seller.report()).findings)


@pytest.mark.parametrize("settled_first", [False, True])
async def test_an_order_that_cleared_and_waits_again_is_capped_all_the_same(shop: Shop, settled_first: bool) -> None:
    """It gets dearer by a sen of commission, which its seller has not paid yet."""
    seller = await commission_only(shop)
    orders = [await seller.order(number, items=sarong("200.00"), shipping="0.00") for number in (1, 2)]
    await seller.pay(40_00, "MBB-1")
    await seller.settle()
    shop.clock.time = MARCH_ENDS
    await true_up(seller)
    theirs = await seller.with_another_creator()
    other = await theirs.order(3, items=sarong("150.00"), shipping="0.00")
    shop.clock.time = MARCH_ENDS + timedelta(days=31) + HOLD
    await work_for(seller, *orders, other)
    assert (await seller.earned(), await theirs.earned()) == ({"available": 25_00}, {"available": 15_00})
    edited = {"placed_at": MARCH + timedelta(minutes=1), "updated_at": shop.clock.time, "shipping": "0.00"}
    await shop.order(seller.store, order_id=2, items=sarong("200.10"), **edited)
    if settled_first:
        await seller.settle()
    await work_for(seller, *orders, other)
    assert await seller.earned() == {"available": 25_00, "pending": 1}
    assert await theirs.earned() == {"available": 15_00}
    assert (await seller.owed(), await seller.credit()) == (1, 0)
    await seller.pay(1, "MBB-2")
    shop.clock.time += HOLD
    await work_for(seller, *orders, other)
    assert (await seller.earned(), await seller.credit()) == ({"available": 25_00}, 1), "the cap takes the sen too"
    assert await seller.findings() == []


async def test_a_line_that_cleared_is_capped_when_the_payment_of_its_order_is_returned(shop: Shop) -> None:
    """The other line is under review, so the payment is taken back from the order: what has cleared stays."""
    seller = await commission_only(shop)
    mug = Item(line_id=2, title="Mug", price="60.00", product_id=72, variant_id=82)
    one = await seller.order(1, items=[*sarong("140.00"), mug], shipping="0.00")
    two = await seller.order(2, items=sarong("200.00"), shipping="0.00")
    await shop.post(f"/v1/orders/{one}/hold", {"reason": "x", "line_id": "2"}, key=seller.finance, status=200)
    paid = await seller.pay(20_00, "MBB-1", order_ids=[one])
    await seller.pay(20_00, "MBB-2", order_ids=[two])
    await seller.settle()
    shop.clock.time = MARCH_ENDS + HOLD
    await work_for(seller, one, two)
    assert await seller.earned() == {"available": 25_00, "pending": 6_00}
    assert await seller.credit() == 9_00
    shop.clock.time += timedelta(days=60)
    await seller.bounce(paid)
    await work_for(seller, one, two)
    assert await seller.earned() == {"available": 25_00, "pending": 6_00}
    assert await seller.findings() == []


async def paid_late_by_a_rate_of_zero(shop: Shop) -> tuple[Seller, datetime]:
    """An order of March that is paid a month after it, and counted and covered then."""
    tiers = {"mode": "marginal", "steps": steps((100_00, 1000))}
    seller = await commission_only(shop, rate_bps=0, cap_per_month=None, tiers=tiers)
    click_id, paid_at = await shop.follow(seller.link), MARCH_ENDS + timedelta(days=30)
    shop.clock.time = paid_at
    late = {"placed_at": MARCH, "updated_at": paid_at, "shipping": "0.00", "click_id": click_id}
    await shop.order(seller.store, order_id=1, items=sarong("200.00"), **late)
    await true_up(seller)
    await seller.pay(10_00, "MBB-1")
    await true_up(seller)
    return seller, paid_at


async def test_what_is_paid_late_by_a_rate_of_zero_waits_for_its_holding_period(shop: Shop) -> None:
    """Nobody is owed anything of the order itself: nothing but the count says when it was paid."""
    seller, paid_at = await paid_late_by_a_rate_of_zero(shop)
    for later, earned in ((timedelta(0), "pending"), (HOLD - timedelta(seconds=1), "pending"), (HOLD, "available")):
        shop.clock.time = paid_at + later
        await true_up(seller)
        assert await seller.earned() == {earned: 10_00}, later
    assert await seller.findings() == []


def count_as_before(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(domain_true_ups, "counted_again", partial(counted_again, ageing=Ageing.WITH_ORDERS))


async def test_a_cap_that_was_lifted_by_the_rule_of_before_verifies_and_is_counted_anew(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    seller = await commission_only(shop)
    orders = [await seller.order(number, items=sarong("200.00"), shipping="0.00") for number in (1, 2)]
    await seller.pay(40_00, "MBB-1")
    await seller.settle()
    shop.clock.time = MARCH_ENDS + HOLD
    await work_for(seller, *orders)
    edited = {"placed_at": MARCH + timedelta(minutes=1), "shipping": "0.00"}
    await shop.order(seller.store, order_id=2, items=sarong("200.10"), updated_at=shop.clock.time, **edited)
    with monkeypatch.context() as patch:
        count_as_before(patch)
        await true_up(seller)
    assert (await seller.earned(), await seller.findings()) == ({"available": 40_00, "pending": 1}, [])
    await shop.order(seller.store, order_id=2, items=sarong("200.20"), updated_at=shop.clock.time + HOLD, **edited)
    await true_up(seller)
    assert (await seller.earned(), await seller.findings()) == ({"available": 25_00, "pending": 2}, [])


async def test_what_was_paid_late_by_the_rule_of_before_verifies(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    count_as_before(monkeypatch)
    seller, _ = await paid_late_by_a_rate_of_zero(shop)
    assert (await seller.earned(), await seller.findings()) == ({"available": 10_00}, [])


async def test_held_is_shown_in_the_sellers_currency(shop: Shop) -> None:
    seller = await capped(shop)
    await seller.pay(1, "MBB-1")
    [account] = (await shop.get("/v1/seller-accounts"))["items"]
    assert (account["credit"], account["held"]) == (myr(1), myr(0))
