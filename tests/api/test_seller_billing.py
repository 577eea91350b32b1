"""Sellers who collect the money themselves owe fees and commissions, are billed and pay; only then are commissions of
their creators cleared, unless the organisation advances. Over HTTP and on a real database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from tests.api.sale import MUG, myr
from tests.api.seller import OWED, Seller, make_seller
from tests.api.shop import Shop
from tests.api.test_books import booked, legs

from colink.cli.shopify_traffic import RefundedItem
from colink.domain.audit.report import Kind, Pass
from colink.projections import seller_billing

pytestmark = pytest.mark.anyio


@pytest.fixture
async def seller(shop: Shop) -> Seller:
    return await make_seller(shop)


async def test_commission_clears_when_the_hold_ended_and_the_seller_has_paid(seller: Seller) -> None:
    shop, order = seller.shop, await seller.order(1)
    assert await seller.owed() == OWED
    await shop.hold_ends(order)
    assert await seller.earned() == {"pending": 1423}
    shown = (await shop.get(f"/v1/orders/{order}"))["receivable"]
    assert shown == {"owed": myr(OWED), "settled": myr(0)}

    paid = await seller.pay(OWED, "MBB-1")
    assert paid["amount"] == myr(OWED)
    assert await seller.owed() == 0
    assert await seller.settle() == 1
    assert await seller.settled([order]) == [OWED]
    await shop.hold_ends(order, after=timedelta(0))
    assert await seller.earned() == {"available": 1423}
    entries = (await shop.get("/v1/ledger/entries", order_id=order, payee_id=seller.creator["id"]))["items"]
    cleared = {entry["effective_at"] for entry in entries if entry["kind"] == "clearing"}
    assert cleared == {paid["received_at"]}, "when it was settled, not when it was due"
    assert await seller.findings() == []


async def test_a_payment_before_the_hold_ends_clears_nothing_yet(seller: Seller) -> None:
    order = await seller.order(1)
    await seller.pay(OWED, "MBB-1", order_ids=[order])
    assert await seller.settled([order]) == [OWED], "an order that is named is settled at once"
    assert await seller.earned() == {"pending": 1423}
    await seller.shop.hold_ends(order)
    assert await seller.earned() == {"available": 1423}
    assert await seller.findings() == []


async def test_an_organization_that_advances_pays_creators_before_it_is_paid(shop: Shop) -> None:
    seller = await make_seller(shop, advance=True)
    order = await seller.order(1)
    await shop.hold_ends(order)
    assert await seller.earned() == {"available": 1423}
    assert await seller.owed() == OWED
    await seller.pay(OWED, "MBB-1")
    await seller.settle()
    assert await seller.settled([order]) == [OWED]
    assert await seller.findings() == []


async def test_the_oldest_orders_are_settled_first_and_the_last_in_part(seller: Seller) -> None:
    orders = [await seller.order(number) for number in (3, 1, 2)]
    await seller.pay(2 * OWED - 100, "MBB-1")
    await seller.settle()
    assert await seller.settled(orders) == [OWED, OWED - 100, 0]
    for order in orders:
        await seller.shop.hold_ends(order)
    assert await seller.earned() == {"available": 1423, "pending": 2 * 1423}
    await seller.pay(100 + OWED + 40, "MBB-2")
    await seller.settle()
    assert await seller.settled(orders) == [OWED, OWED, OWED]
    assert await seller.credit() == 40, "what was paid too much stays the seller's credit"
    assert await seller.owed() == -40
    assert await seller.findings() == []


async def test_a_credit_settles_what_is_sold_later(seller: Seller) -> None:
    await seller.pay(OWED + 1, "MBB-1")
    assert await seller.settle() == 0
    order = await seller.order(1)
    await seller.settle()
    assert await seller.settled([order]) == [OWED]
    assert await seller.credit() == 1
    assert await seller.settle() == 0, "nothing is left to do, and nothing is done for ever"
    assert await seller.findings() == []


async def test_a_refund_after_the_settlement_is_credit_for_the_next_order(seller: Seller) -> None:
    shop, first = seller.shop, await seller.order(1)
    await seller.pay(OWED, "MBB-1")
    await seller.settle()
    await shop.hold_ends(first)
    await shop.refund(seller.store, order_id=1, items=[RefundedItem(item=MUG)])
    of_mug = 113 + 225
    assert await seller.owed() == -of_mug
    await seller.settle()
    assert await seller.settled([first]) == [OWED - of_mug]
    assert await seller.credit() == of_mug
    assert await seller.earned() == {"available": 1423 - 225}

    second = await seller.order(2)
    await seller.settle()
    assert await seller.settled([second]) == [of_mug]
    await seller.pay(OWED - of_mug, "MBB-2")
    await seller.settle()
    assert await seller.settled([second]) == [OWED]
    assert (await seller.credit(), await seller.owed()) == (0, 0)
    assert await seller.findings() == []


async def test_a_refund_that_leaves_nothing_owed_opens_the_gate_itself(seller: Seller) -> None:
    """Half was paid; then the other half is refunded. What remains is settled without another payment."""
    shop, order = seller.shop, await seller.order(1)
    await seller.pay(OWED - (113 + 225), "MBB-1")
    await seller.settle()
    await shop.hold_ends(order)
    assert await seller.earned() == {"pending": 1423}
    await shop.refund(seller.store, order_id=1, items=[RefundedItem(item=MUG)])
    await shop.hold_ends(order, after=timedelta(0))
    assert await seller.earned() == {"available": 1198}
    entries = (await shop.get("/v1/ledger/entries", order_id=order, payee_id=seller.creator["id"]))["items"]
    times = {kind: max(e["effective_at"] for e in entries if e["kind"] == kind) for kind in ("refund", "clearing")}
    assert times["clearing"] == times["refund"]
    assert await seller.findings() == []


async def test_a_payment_is_recorded_once_per_reference(seller: Seller) -> None:
    paid = await seller.pay(500, "MBB-1")
    assert await seller.pay(500, "MBB-1") == paid
    assert await seller.owed() == -500
    problem = await seller.pay(501, "MBB-1", status=409)
    assert (problem["type"].rpartition(":")[2], problem["field"]) == ("payment-reference-used", "reference")
    assert (await seller.shop.get(f"/v1/seller-payments/{paid['id']}")) == paid
    assert (await seller.shop.get("/v1/seller-payments"))["items"] == [paid]


async def test_payments_that_are_none_are_refused_and_name_the_field(seller: Seller) -> None:
    shop, order = seller.shop, await seller.order(1)
    other = await shop.organization(name="Another")
    foreign = await shop.order(await shop.store(other, settlement="seller_collected"), order_id=9, items=[MUG])
    later = (shop.clock.now() + timedelta(seconds=1)).isoformat()
    for changed, field in (
        ({"organization_id": "org_none"}, "organization_id"),
        ({"amount": myr(0)}, "amount.amount"),
        ({"received_at": later}, "received_at"),
        ({"invoice_id": "inv_none"}, "invoice_id"),
        ({"order_ids": [order, "ord_none.1"]}, "order_ids[1]"),
        ({"order_ids": [foreign["order_id"]]}, "order_ids[0]"),
        ({"order_ids": [order], "amount": {"amount": 5, "currency": "SGD"}}, "amount.currency"),
        ({"amount": {"amount": 5, "currency": "SGD"}}, "amount.currency"),
        ({"order_ids": [order], "invoice_id": "inv_none"}, "order_ids"),
    ):
        problem = await seller.pay(100, "MBB-1", **{"status": 422} | changed)
        assert problem["field"] == field
    assert await seller.owed() == OWED, "nothing was recorded"


async def test_an_organization_that_collects_nothing_itself_has_nothing_to_pay(shop: Shop) -> None:
    """Unless somebody charged it by hand."""
    made = await shop.organization()
    await shop.store(made)
    finance = await shop.key("finance")
    body = {
        "organization_id": made["id"],
        "amount": myr(500),
        "reference": "MBB-1",
        "received_at": shop.clock.now().isoformat(),
    }
    problem = await shop.refused("POST", "/v1/seller-payments", body, status=422, key=finance)
    assert (problem["field"], "collects no money itself" in problem["detail"]) == ("organization_id", True)
    assert (await shop.get("/v1/seller-accounts"))["items"] == []
    account = f"seller:{made['id']}:receivable"
    await booked(shop, "/v1/journals", {"postings": legs((account, -500), ("platform:revenue", 500))})
    await shop.refused(
        "POST", "/v1/seller-payments", body | {"amount": {"amount": 5, "currency": "SGD"}}, status=422, key=finance
    )
    paid = await shop.post("/v1/seller-payments", body, key=finance)
    assert await shop.post("/v1/seller-payments", body, key=finance) == paid, "told again, though it owes nothing now"
    problem = await shop.refused(
        "POST", "/v1/seller-payments", body | {"reference": "MBB-2"}, status=422, key=finance
    )
    assert problem["field"] == "organization_id"


async def test_a_first_payment_may_be_in_any_currency_and_later_ones_only_in_one_that_is_owed(seller: Seller) -> None:
    sgd = {"amount": 900, "currency": "SGD"}
    await seller.pay(0, "DBS-1", amount=sgd)
    await seller.pay(0, "DBS-2", amount=sgd)
    problem = await seller.pay(100, "MBB-1", status=422)
    assert (problem["field"], "billed in SGD" in problem["detail"]) == ("amount.currency", True)
    await seller.order(1)
    await seller.pay(100, "MBB-1")
    assert await seller.findings() == []


async def test_payments_at_once_never_settle_an_order_twice(seller: Seller) -> None:
    orders = [await seller.order(number) for number in range(1, 6)]
    await asyncio.gather(
        *(seller.pay(OWED, f"MBB-{number}", order_ids=orders[:3]) for number in range(4)),
        seller.settle(),
        seller.settle(),
    )
    await asyncio.gather(seller.settle(), seller.settle(), seller.settle())
    assert await seller.settled(orders) == [OWED, OWED, OWED, OWED, 0]
    assert (await seller.credit(), await seller.owed()) == (0, OWED)
    assert await seller.findings() == []


async def test_a_payment_for_more_orders_than_one_step_takes(seller: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seller_billing, "MOST_ORDERS", 2)
    orders = [await seller.order(number, items=[MUG]) for number in range(1, 6)]
    await seller.pay(5 * 337, "MBB-1")
    assert await seller.settle() == 3
    assert await seller.settled(orders) == [337] * 5
    assert await seller.findings() == []


async def test_an_invoice_bills_what_is_open_and_a_payment_of_it_settles_its_orders(seller: Seller) -> None:
    shop, first = seller.shop, await seller.order(1)
    shop.clock.time = datetime(2026, 4, 1, 1, tzinfo=UTC)
    second = await seller.order(2)
    invoice = await seller.invoice()
    assert invoice["period"] == "2026-03"
    assert invoice["lines"] == [{"order_id": first, "amount": myr(OWED)}]
    assert (invoice["opening"], invoice["charged"], invoice["due"]) == (myr(0), myr(OWED), myr(OWED))
    assert await seller.invoice(period="2026-03") == invoice, "asked again, the same one"
    for period in ("2026-04", "9999-12", "0000-01", "\u0662\u0660\u0662\u0665-01"):
        problem = await seller.invoice(period=period, status=422)
        assert problem["field"] == "period", period

    # April's order is the seller's choice to pay first; then March's invoice settles March's order.
    await seller.pay(OWED, "MBB-1", order_ids=[second])
    await seller.pay(OWED, "MBB-2", invoice_id=invoice["id"])
    assert await seller.settled([first, second]) == [OWED, OWED]
    await shop.refund(seller.store, order_id=1, items=[RefundedItem(item=MUG)])
    shop.clock.time = datetime(2026, 5, 1, 1, tzinfo=UTC)
    april = await seller.invoice()
    assert [(line["order_id"], line["amount"]) for line in april["lines"]] == [
        (second, myr(OWED)),
        (first, myr(-338)),
    ]
    assert (april["opening"], april["paid"], april["due"]) == (myr(OWED), myr(2 * OWED), myr(-338))
    # The credit lowers the next one.
    await seller.order(3)
    shop.clock.time = datetime(2026, 6, 1, 1, tzinfo=UTC)
    assert (await seller.invoice())["due"] == myr(OWED - 338)
    listed = (await shop.get("/v1/seller-invoices", organization_id=seller.organization["id"]))["items"]
    assert [item["period"] for item in listed] == ["2026-03", "2026-04", "2026-05"]
    assert await seller.findings() == []


async def test_nothing_is_billed_where_nothing_is_owed(seller: Seller) -> None:
    problem = await seller.invoice(status=409)
    assert problem["type"].endswith("nothing-to-invoice")


async def test_who_sees_invoices_and_payments(seller: Seller) -> None:
    shop = seller.shop
    await seller.order(1)
    paid = await seller.pay(5, "MBB-1")
    shop.clock.time = datetime(2026, 4, 1, 1, tzinfo=UTC)
    invoice = await seller.invoice()
    own = await shop.key("seller", organization_id=seller.organization["id"])
    other = await shop.key("seller", organization_id=(await shop.organization(name="Another"))["id"])
    creator = await shop.key("creator", payee_id=seller.creator["id"])
    for path in (f"/v1/seller-invoices/{invoice['id']}", f"/v1/seller-payments/{paid['id']}"):
        assert (await shop.get(path, key=own))["organization_id"] == seller.organization["id"]
        await shop.refused("GET", path, key=other, status=404)
        await shop.refused("GET", path, key=creator, status=403)
    for listed in ("/v1/seller-invoices", "/v1/seller-payments", "/v1/seller-accounts"):
        assert len((await shop.get(listed, key=own))["items"]) == 1
        assert (await shop.get(listed, key=other))["items"] == []
    for key in (own, await shop.key("operator"), await shop.key("auditor")):
        await shop.refused("POST", "/v1/seller-payments", {}, key=key, status=403)


async def test_tampering_with_settlements_is_found(seller: Seller, database: Any) -> None:
    shop = seller.shop
    orders = [await seller.order(1), await seller.order(2)]
    await seller.pay(2 * OWED + 7, "MBB-1")
    await seller.settle()
    shop.clock.time = datetime(2026, 4, 1, 1, tzinfo=UTC)
    invoice = await seller.invoice()
    assert await seller.findings() == []
    async with shop.colink.pool.connection() as conn:
        cursor = await conn.execute("SELECT topic, min(position) FROM colink.events GROUP BY topic")
        positions = dict(await cursor.fetchall())

    def change(topic: str, old: str, new: str) -> int:
        with psycopg.connect(database.superuser_dsn) as conn:
            conn.execute("ALTER TABLE colink.events DISABLE TRIGGER append_only")
            changed = conn.execute(
                "UPDATE colink.events SET payload = replace(payload, %s, %s) WHERE position = %s",
                (old, new, positions[topic]),
            )
            conn.execute("ALTER TABLE colink.events ENABLE ALWAYS TRIGGER append_only")
            return changed.rowcount

    for topic, old, new, found in (
        ("seller_payment.received", f'"amount":{2 * OWED + 7}', f'"amount":{2 * OWED + 6}', Pass.RECEIVABLES),
        ("seller_account.credited", f'"credit":{2 * OWED + 7}', f'"credit":{2 * OWED + 9}', Pass.RECEIVABLES),
        ("seller_account.allocated", f'"amount":{OWED}', f'"amount":{OWED - 1}', Pass.RECEIVABLES),
        ("seller_account.allocated", orders[0], orders[0] + "1", Pass.RECEIVABLES),
        ("seller_invoice.issued", '"opening":0', '"opening":10', Pass.RECEIVABLES),
        ("seller_invoice.issued", orders[0], orders[0] + "1", Pass.RECEIVABLES),
        ("order.settled", f'"amount":{OWED}', f'"amount":{OWED - 1}', Pass.CLEARING),
        ("order.settled", '"clears_at":"2', '"clears_at":"3', Pass.CLEARING),
    ):
        assert change(topic, old, new) == 1
        findings = await seller.findings()
        assert (found, Kind.DERIVED_DIFFERENTLY, positions[topic]) in {
            (finding.audit_pass, finding.kind, finding.position) for finding in findings
        }, (topic, old)
        change(topic, new, old)
    assert await seller.findings() == []
    assert invoice["due"] == myr(-7)
