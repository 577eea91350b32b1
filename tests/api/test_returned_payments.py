"""Promise: a payment that the bank takes back is taken back once, whatever runs at once: the books, the account, and
the settlements of what has not cleared, so that nothing clears unpaid. What has cleared stays and is owed. Over HTTP
and on a real database."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from tests.api.sale import MUG, myr
from tests.api.seller import (
    HOLD,
    MARCH_ENDS,
    OWED,
    Seller,
    capped,
    change,
    clear,
    make_seller,
    sarong,
    tiered,
    true_up,
)
from tests.api.shop import Shop

from colink.cli.shopify_traffic import RefundedItem
from colink.domain.audit.report import Kind, Pass
from colink.domain.seller_billing import payment_journal_id, return_journal_id
from colink.projections import seller_billing

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
EARNED = 1423  # of what is OWED, the creator's


@pytest.fixture
async def seller(shop: Shop) -> Seller:
    return await make_seller(shop)


async def test_a_returned_payment_is_reversed_and_its_order_does_not_clear(seller: Seller) -> None:
    shop, order = seller.shop, await seller.order(1)
    paid = await seller.pay(OWED, "MBB-1")
    await seller.settle()
    shop.clock.time += DAY
    back = await seller.bounce(paid, reason="refer to drawer")
    returned_at = shop.clock.now().isoformat().replace("+00:00", "Z")
    assert back == paid | {"returned": {"returned_at": returned_at, "reason": "refer to drawer"}}
    assert await shop.get(f"/v1/seller-payments/{paid['id']}") == back
    assert (await seller.owed(), await seller.credit()) == (OWED, 0)
    assert await seller.settled([order]) == [0]
    entries = (await shop.get("/v1/ledger/entries", account="processor:bank:cash"))["items"]
    assert [entry["amount"] for entry in entries] == [-OWED, OWED]
    assert [entry["journal_id"] for entry in entries] == [
        payment_journal_id(paid["id"]),
        return_journal_id(paid["id"]),
    ]
    await shop.hold_ends(order)
    assert await seller.earned() == {"pending": EARNED}
    await seller.pay(OWED, "MBB-2")
    await seller.settle()
    await clear(seller, order)
    assert await seller.earned() == {"available": EARNED}
    assert await seller.findings() == []


async def test_a_return_names_what_it_corrects_and_when_it_took_effect(seller: Seller) -> None:
    shop = seller.shop
    paid = await seller.pay(500, "MBB-1")
    shop.clock.time += 2 * DAY
    await seller.bounce(paid, returned_at=(shop.clock.now() - DAY).isoformat())
    [(corrects, reason, effective_at)] = await seller.rows(
        "SELECT payload::jsonb ->> 'corrects', payload::jsonb ->> 'reason', payload::jsonb ->> 'effective_at'"
        " FROM colink.events WHERE stream_id = %s",
        return_journal_id(paid["id"]),
    )
    assert (corrects, reason) == (payment_journal_id(paid["id"]), "bounced")
    assert datetime.fromisoformat(effective_at) == shop.clock.now() - DAY
    assert (await seller.owed(), await seller.credit()) == (0, 0)
    assert await seller.findings() == []


async def test_it_is_returned_once(seller: Seller) -> None:
    shop = seller.shop
    paid = await seller.pay(500, "MBB-1")
    at = shop.clock.now().isoformat()
    answers = await asyncio.gather(*(seller.bounce(paid, returned_at=at) for _ in range(4)))
    assert answers == [answers[0]] * 4
    assert (await seller.owed(), await seller.credit()) == (0, 0)
    problem = await seller.bounce(paid, reason="another", returned_at=at, status=409)
    assert problem["type"].endswith("payment-returned")
    again = await seller.pay(500, "MBB-1", received_at=paid["received_at"])
    assert again["returned"] is not None, "recorded once per reference, also when it was returned"
    assert await seller.findings() == []


async def test_returns_that_are_none_are_refused_and_name_the_field(seller: Seller) -> None:
    shop = seller.shop
    shop.clock.time += DAY
    paid = await seller.pay(500, "MBB-1")
    for changed, field in (
        ({"returned_at": (shop.clock.now() + timedelta(seconds=1)).isoformat()}, "returned_at"),
        ({"returned_at": (shop.clock.now() - timedelta(seconds=1)).isoformat()}, "returned_at"),
        ({"reason": ""}, "reason"),
        ({"reason": "  "}, "reason"),
        ({"returned_at": None}, "returned_at"),
    ):
        problem = await seller.bounce(paid, **({"status": 422} | changed))
        assert problem["field"] == field, changed
    path = f"/v1/seller-payments/{paid['id']}/return"
    body = {"reason": "bounced", "returned_at": shop.clock.now().isoformat()}
    other = await shop.key("seller", organization_id=seller.organization["id"])
    for key in (other, await shop.key("operator"), await shop.key("auditor")):
        await shop.refused("POST", path, body, key=key, status=403)
    await shop.refused("POST", "/v1/seller-payments/spm_none/return", body, key=seller.finance, status=404)
    assert await seller.credit() == 500


async def test_the_newest_orders_are_taken_back_first_and_the_last_in_part(seller: Seller) -> None:
    orders = [await seller.order(number) for number in (3, 1, 2)]
    await seller.pay(OWED, "MBB-1")
    paid = await seller.pay(OWED + 100, "MBB-2")
    await seller.pay(OWED - 100, "MBB-3")
    await seller.settle()
    assert await seller.settled(orders) == [OWED] * 3
    await seller.bounce(paid)
    assert await seller.settled(orders) == [OWED, OWED - 100, 0]
    assert (await seller.credit(), await seller.owed()) == (0, OWED + 100)
    assert await seller.settle() == 0
    await seller.pay(50, "MBB-4")
    await seller.settle()
    assert await seller.settled(orders) == [OWED, OWED - 50, 0], "the oldest is settled first again"
    assert await seller.findings() == []


async def test_what_has_cleared_stays_and_is_owed_before_anything_is_settled(seller: Seller) -> None:
    shop = seller.shop
    cleared = await seller.order(1)
    paid = await seller.pay(2 * OWED, "MBB-1")
    await seller.settle()
    await shop.hold_ends(cleared)
    waiting = await seller.order(2)
    await seller.settle()
    assert await seller.settled([cleared, waiting]) == [OWED, OWED]
    await seller.bounce(paid)
    assert await seller.earned() == {"available": EARNED, "pending": EARNED}
    assert await seller.settled([cleared, waiting]) == [OWED, 0]
    assert (await seller.credit(), await seller.owed()) == (-OWED, 2 * OWED)
    await shop.hold_ends(waiting)
    await seller.pay(OWED + 1, "MBB-2", order_ids=[waiting])
    await seller.settle()
    assert await seller.settled([cleared, waiting]) == [OWED, 1], "what is missing comes first"
    await seller.pay(OWED - 1, "MBB-3")
    await seller.settle()
    await clear(seller, waiting)
    assert await seller.earned() == {"available": 2 * EARNED}
    assert await seller.findings() == []


async def test_credit_that_settled_nothing_yet_is_enough(seller: Seller) -> None:
    order = await seller.order(1)
    paid = await seller.pay(OWED, "MBB-1")
    await seller.pay(OWED + 5, "MBB-2")
    await seller.settle()
    await seller.bounce(paid)
    assert await seller.settled([order]) == [OWED]
    assert await seller.credit() == 5
    assert await seller.findings() == []


async def test_the_orders_that_a_payment_named_are_taken_back_first(seller: Seller) -> None:
    orders = [await seller.order(number) for number in (1, 2, 3)]
    paid = await seller.pay(OWED, "MBB-1", order_ids=[orders[0]])
    await seller.pay(2 * OWED, "MBB-2")
    await seller.settle()
    await seller.bounce(paid)
    assert await seller.settled(orders) == [0, OWED, OWED]
    assert await seller.findings() == []


async def test_the_orders_of_an_invoice_that_a_payment_named_are_taken_back_first(seller: Seller) -> None:
    shop, first = seller.shop, await seller.order(1)
    shop.clock.time = datetime.fromisoformat("2026-04-01T01:00:00+00:00")
    second = await seller.order(2)
    invoice = await seller.invoice()
    paid = await seller.pay(OWED, "MBB-1", invoice_id=invoice["id"])
    await seller.pay(OWED, "MBB-2")
    await seller.settle()
    await seller.bounce(paid)
    assert await seller.settled([first, second]) == [0, OWED]
    shop.clock.time = datetime.fromisoformat("2026-05-01T01:00:00+00:00")
    bill = await seller.invoice()
    assert (bill["paid"], bill["due"]) == (myr(OWED), myr(OWED))
    assert await seller.findings() == []


async def test_an_organization_that_advances_has_its_orders_unsettled_too(shop: Shop) -> None:
    seller = await make_seller(shop, advance=True)
    cleared = await seller.order(1)
    await shop.hold_ends(cleared)
    waiting = await seller.order(2)
    paid = await seller.pay(2 * OWED, "MBB-1")
    await seller.settle()
    await seller.bounce(paid)
    assert await seller.settled([cleared, waiting]) == [OWED, 0]
    assert (await seller.credit(), await seller.owed()) == (-OWED, 2 * OWED)
    await shop.hold_ends(waiting)
    assert await seller.earned() == {"available": 2 * EARNED}, "paid in advance all the same"
    assert await seller.findings() == []


async def test_of_an_order_that_cleared_in_part_the_rest_waits(seller: Seller) -> None:
    """An edit made it dearer after it cleared: what came on top has still to clear."""
    shop, order = seller.shop, await seller.order(1, items=[MUG])
    paid = await seller.pay(337, "MBB-1")
    await seller.settle()
    await shop.hold_ends(order)
    assert await seller.earned() == {"available": 225}
    await seller.edit(1, items=[MUG, *sarong("100.00")])
    await seller.pay(15_00, "MBB-2")
    await seller.settle()
    assert await seller.settled([order]) == [337 + 15_00]
    await seller.bounce(paid)
    assert await seller.settled([order]) == [15_00]
    await shop.hold_ends(order)
    assert await seller.earned() == {"available": 225, "pending": 10_00}
    await seller.pay(337, "MBB-3")
    await seller.settle()
    await clear(seller, order)
    assert await seller.earned() == {"available": 225 + 10_00}
    assert await seller.findings() == []


async def test_a_held_order_is_taken_back_too(seller: Seller) -> None:
    shop, order = seller.shop, await seller.order(1)
    paid = await seller.pay(OWED, "MBB-1")
    await seller.settle()
    await shop.post(f"/v1/orders/{order}/hold", {"reason": "odd"}, key=seller.finance, status=200)
    await seller.bounce(paid)
    assert await seller.settled([order]) == [0]
    await shop.post(f"/v1/orders/{order}/release", {"reason": "fine"}, key=seller.finance, status=200)
    await shop.hold_ends(order)
    assert await seller.earned() == {"pending": EARNED}
    assert await seller.findings() == []


@pytest.mark.parametrize("advance", [False, True])
async def test_what_is_held_when_a_payment_returns_waits_for_the_next_one(shop: Shop, advance: bool) -> None:
    """It had cleared, and nobody had been paid of it: the end of the hold does not give back what is not paid for. An
    organisation that advances has its creator wait for nothing but the hold."""
    seller = await make_seller(shop, advance=advance)
    order, kept = await seller.order(1), await seller.order(2)
    paid = await seller.pay(OWED, "MBB-1", order_ids=[order])
    await seller.pay(OWED, "MBB-2", order_ids=[kept])
    await shop.hold_ends(order)
    await clear(seller, kept)
    await shop.post(f"/v1/orders/{order}/hold", {"reason": "odd"}, key=seller.finance, status=200)
    assert await seller.earned() == {"pending": EARNED, "available": EARNED}
    await seller.bounce(paid)
    assert await seller.settled([order, kept]) == [0, OWED]
    await shop.post(f"/v1/orders/{order}/release", {"reason": "fine"}, key=seller.finance, status=200)
    await clear(seller, order)
    assert await seller.earned() == (
        {"available": 2 * EARNED} if advance else {"pending": EARNED, "available": EARNED}
    )
    await seller.pay(OWED, "MBB-3")
    await seller.settle()
    await clear(seller, order)
    assert await seller.earned() == {"available": 2 * EARNED}
    assert await seller.findings() == []


async def test_a_refund_beside_a_return(seller: Seller) -> None:
    """What a refund gave back is credit; what the bank took is missing; both at once come to the same."""
    shop, order = seller.shop, await seller.order(1)
    paid = await seller.pay(OWED, "MBB-1")
    await seller.settle()
    refund = {"order_id": 1, "items": [RefundedItem(item=MUG)]}
    await asyncio.gather(shop.refund(seller.store, **refund), seller.bounce(paid), seller.settle())
    while await seller.settle():
        pass
    of_mug = 113 + 225
    assert (await seller.owed(), await seller.credit()) == (OWED - of_mug, 0)
    assert await seller.settled([order]) == [0]
    assert await seller.findings() == []


async def test_more_orders_than_one_append_takes_back(seller: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker goes on, and nothing of the seller clears until it has."""
    monkeypatch.setattr(seller_billing, "MOST_ORDERS", 2)
    shop, orders = seller.shop, [await seller.order(number, items=[MUG]) for number in range(1, 6)]
    paid = await seller.pay(5 * 337 - 37, "MBB-1")
    await seller.settle()
    shop.clock.time += HOLD + DAY
    await seller.bounce(paid)
    assert await seller.settled(orders) == [337, 337, 337, 0, 0]
    for order in orders:
        await clear(seller, order)
    assert await seller.earned() == {"pending": 5 * 225}
    assert await seller.settle() == 2
    assert await seller.settled(orders) == [0] * 5
    for order in orders:
        await clear(seller, order)
    assert await seller.earned() == {"pending": 5 * 225}
    assert (await seller.credit(), await seller.owed()) == (0, 5 * 337)
    await seller.pay(5 * 337, "MBB-2")
    await seller.settle()
    for order in orders:
        await clear(seller, order)
    assert await seller.earned() == {"available": 5 * 225}
    assert await seller.findings() == []


async def test_what_is_paid_meanwhile_keeps_the_rest_settled(seller: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seller_billing, "MOST_ORDERS", 1)
    shop, orders = seller.shop, [await seller.order(number, items=[MUG]) for number in range(1, 4)]
    paid = await seller.pay(3 * 337, "MBB-1")
    await seller.settle()
    await seller.bounce(paid)
    assert await seller.credit() == -2 * 337
    await seller.pay(337, "MBB-2")
    await seller.settle()
    assert await seller.settled(orders) == [337, 0, 0]
    assert await seller.credit() == 0
    for order in orders:
        await shop.hold_ends(order, after=HOLD)
    assert await seller.earned() == {"available": 225, "pending": 2 * 225}
    assert await seller.findings() == []


async def test_a_true_up_is_uncovered_by_a_return_until_it_clears(shop: Shop) -> None:
    seller = await tiered(shop)
    order = await seller.order(1, items=sarong("200.00"), shipping="0.00")
    shop.clock.time = MARCH_ENDS
    await true_up(seller)
    paid = await seller.pay(25_00, "MBB-1")
    await seller.settle()
    await seller.bounce(paid)
    shop.clock.time = MARCH_ENDS + HOLD
    await true_up(seller)
    await clear(seller, order)
    assert await seller.earned() == {"pending": 15_00}
    paid = await seller.pay(25_00, "MBB-2")
    await seller.settle()
    await true_up(seller)
    await clear(seller, order)
    assert await seller.earned() == {"available": 15_00}
    await seller.bounce(paid)
    assert (await seller.credit(), await seller.settled([order])) == (-25_00, [20_00])
    assert await seller.findings() == []


@pytest.mark.parametrize("advance", [False, True])
async def test_payments_returns_allocations_clearings_and_refunds_at_once(shop: Shop, advance: bool) -> None:
    seller = await make_seller(shop, advance=advance)
    orders = [await seller.order(number) for number in range(1, 7)]
    payments = [await seller.pay(OWED, f"MBB-{number}", order_ids=orders[number : number + 1]) for number in range(4)]
    shop.clock.time += HOLD + DAY
    at = shop.clock.now().isoformat()
    await asyncio.gather(
        *(seller.bounce(paid, returned_at=at) for paid in payments[:3] * 2),
        *(seller.pay(OWED, f"CIMB-{number}") for number in range(2)),
        *(seller.settle() for _ in range(4)),
        *(clear(seller, order) for order in orders),
        seller.write_off(100),
        shop.refund(seller.store, order_id=1, items=[RefundedItem(item=MUG)]),
    )
    for _ in range(3):
        await seller.settle()
        await clear(seller, *orders)
    assert await seller.owed() == 6 * OWED - (113 + 225) - 3 * OWED - 100
    settled, credit = await seller.settled(orders), await seller.credit()
    assert sum(settled) + credit == 3 * OWED + 100, "what was paid and not returned"
    if not advance:
        available = (await seller.earned()).get("available", 0)
        whole = [number for number, amount in enumerate(settled) if amount == (OWED - 338 if number == 0 else OWED)]
        assert available == sum(EARNED - (225 if number == 0 else 0) for number in whole), "exactly what is settled"
    assert await seller.findings() == []


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_comes_at_once(shop: Shop, seed: int) -> None:
    """Sales, refunds, payments, returns, write-offs, journals, true-ups of a cap or of tiers, allocations, clearings
    and counts, some at once, in any order; odd seeds advance. `findings` looks at the invariant first."""
    random = Random(seed)
    seller = await (capped if seed < 2 else tiered)(shop, advance=bool(seed % 2))
    orders: list[str] = []
    payments: list[Any] = []
    refunds = itertools.count(900)

    async def sell() -> None:
        number = len(orders) + 1
        orders.append("")
        orders[number - 1] = await seller.order(number, items=sarong(f"{random.randint(50, 300)}.00"))

    async def refund() -> None:
        number = random.randint(1, len(orders))
        part = RefundedItem(item=sarong("40.00")[0])
        await shop.refund(seller.store, order_id=number, refund_id=next(refunds), items=[part])

    async def pay() -> None:
        named = {"order_ids": random.sample(orders, 1)} if random.random() < 0.3 else {}
        payments.append(await seller.pay(random.randint(1, 40_00), f"MBB-{next(refunds)}", **named))

    async def bounce() -> None:
        if payments:
            paid = random.choice(payments)
            await seller.bounce(paid, returned_at=paid["received_at"])

    async def book() -> None:
        await seller.book(random.choice((-1, 1)) * random.randint(1, 10_00))

    async def give_up() -> None:
        """A part of what he owes; refused where he has paid it meanwhile."""
        account = f"seller:{seller.organization['id']}:receivable"
        body = {"reason": "given up", "account": account, "amount": myr(random.randint(1, 10_00))}
        proposed = await shop.post("/v1/write-offs", body, key=seller.finance)
        approve = f"/v1/journals/{proposed['id']}/approve"
        answer = await shop.send("POST", approve, key=await shop.key("finance"))
        assert answer.status_code in {200, 409}, answer.text

    async def clear_all() -> None:
        await clear(seller, *orders)

    for _ in range(4):
        await sell()
    for month_is_over in (False, True):
        if month_is_over:
            shop.clock.time = MARCH_ENDS + random.choice((timedelta(0), HOLD, 2 * HOLD))
        happenings: list[Callable[[], Awaitable[Any]]] = [
            refund,
            pay,
            pay,
            pay,
            bounce,
            bounce,
            book,
            give_up,
            clear_all,
            clear_all,
        ]
        happenings += [seller.settle, lambda: true_up(seller)] * 3
        for _ in range(3):
            chosen = random.sample(happenings, 8)
            await asyncio.gather(*(happen() for happen in chosen), return_exceptions=False)
            assert await seller.findings() == []
    shop.clock.time += 3 * HOLD
    for _ in range(3):
        await true_up(seller)
        await seller.settle()
        await clear_all()
    assert await seller.findings() == []
    settled = await seller.settled(orders)
    known = await shop.colink.orders(orders)
    if not seed % 2:
        for order_id, amount in zip(orders, settled, strict=True):
            order = known[order_id]
            assert order.split is not None
            if amount >= order.receivable:
                assert all(claim.pending == 0 for claim in order.split.claims), "all that is paid has cleared"
    owed = await seller.owed()
    await seller.pay(max(owed, 0) + 1, "ALL")
    for _ in range(3):
        await seller.settle()
        await true_up(seller)
        await clear_all()
    # What a cap takes off is credit once the orders are paid.
    assert await seller.credit() == -await seller.owed() >= max(1, 1 - owed)
    assert seed or await seller.credit() > max(1, 1 - owed)
    assert "pending" not in await seller.earned(), "the seller has paid everything: nothing waits"
    assert await seller.findings() == []
    assert await seller.findings_in_pieces() == []


async def test_tampering_with_returns_is_found(seller: Seller, database: Any) -> None:
    shop = seller.shop
    cleared = await seller.order(1)
    paid = await seller.pay(2 * OWED, "MBB-1")
    await seller.settle()
    await shop.hold_ends(cleared)
    await seller.order(2)
    await seller.settle()
    await seller.bounce(paid)
    assert await seller.findings() == []
    for topic, old, new, found in (
        ("seller_payment.returned", f'"amount":{2 * OWED}', f'"amount":{2 * OWED - 1}', Pass.RECEIVABLES),
        ("seller_payment.returned", '"reference":"MBB-1"', '"reference":"MBB-2"', Pass.RECEIVABLES),
        ("seller_payment.returned", '"returned_at":"2026-03', '"returned_at":"2026-02', Pass.RECEIVABLES),
        ("seller_account.returned", f'"amount":{2 * OWED}', f'"amount":{2 * OWED - 1}', Pass.RECEIVABLES),
        ("seller_account.returned", f'"returned":{2 * OWED}', f'"returned":{OWED}', Pass.RECEIVABLES),
        ("seller_account.taken_back", f'"amount":-{OWED}', f'"amount":-{OWED - 1}', Pass.RECEIVABLES),
        ("seller_account.taken_back", '"exhausted":true', '"exhausted":false', Pass.RECEIVABLES),
        ("order.settlement_taken_back", f'"amount":{OWED}', f'"amount":{OWED - 1}', Pass.CLEARING),
        ("order.settlement_taken_back", '"clears_at":null', '"clears_at":"2026-03-20T00:00:00Z"', Pass.CLEARING),
    ):
        position = change(database, topic, old, new)
        findings = {(each.audit_pass, each.kind, each.position) for each in (await seller.report()).findings}
        assert (found, Kind.DERIVED_DIFFERENTLY, position) in findings, (topic, old, findings)
        change(database, topic, new, old)
    assert await seller.findings() == []
