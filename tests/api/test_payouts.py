"""The promise: an entry tells what became of its money, from pending to paid; payouts pay what is there, once, when
somebody else approved them and nobody holds them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.api.sale import (
    MUG,
    Sale,
    another_order,
    entries_of_pending,
    finish_payout,
    make_sale,
    myr,
    pay_by,
    pay_out,
    refund_all,
    request_payout,
)
from tests.api.shop import open_shop
from tests.conftest import TestDatabase

from colink.adapters.postgres.provision import Database
from colink.cli.shopify_traffic import RefundedItem
from colink.domain.payouts import ProviderOutcome

pytestmark = pytest.mark.anyio


async def test_statuses_follow_the_money_from_pending_to_paid(sale: Sale) -> None:
    shop, creator = sale.shop, sale.creator
    await pay_by(shop, ProviderOutcome.PAID)
    assert await sale.statuses(creator) == {"11": "pending", "12": "pending"}
    assert await sale.statuses(sale.organization) == {"11": "pending", "12": "pending", None: "pending"}
    await shop.hold_ends(sale.order_id)
    assert await sale.statuses(creator) == {"11": "cleared", "12": "cleared"}
    await shop.post(
        "/v1/payout-accounts", {"payee_id": creator["id"], "rail": "sandbox", "currency": "MYR", "details": {}}
    )
    body = {"payee_id": creator["id"], "currency": "MYR", "amount": myr(1300)}
    payout = await shop.post("/v1/payouts", body)
    assert payout == {
        "id": payout["id"],
        "payee_id": creator["id"],
        "status": "requested",
        "amount": myr(1300),
        "tax": myr(0),
        "net": myr(1300),
    }
    assert await shop.get(f"/v1/payouts/{payout['id']}") == payout
    # 1300 takes all of line 11's 1198 and a part of line 12's 225: both are spoken for.
    assert await sale.statuses(creator) == {"11": "reserved", "12": "reserved"}
    assert await sale.statuses(sale.organization) == {"11": "cleared", "12": "cleared", None: "cleared"}
    finance = await shop.key("finance")
    approved = await shop.post(f"/v1/payouts/{payout['id']}/approve", key=finance, status=200)
    assert approved["status"] == "approved"
    await shop.colink.payout_desk().run()
    assert (await shop.get(f"/v1/payouts/{payout['id']}"))["status"] == "paid"
    assert await sale.statuses(creator) == {"11": "paid", "12": "cleared"}
    assert await sale.balances(payee_id=creator["id"]) == {f"payee:{creator['id']}:available": 123}


async def test_a_refund_reverses_and_a_rejected_payout_frees_again(sale: Sale) -> None:
    shop, creator = sale.shop, sale.creator
    shop.clock.time += timedelta(days=1)
    await shop.refund(sale.store, items=[RefundedItem(item=MUG)])
    assert await sale.statuses(creator) == {"11": "pending", "12": "reversed"}
    order = await sale.order()
    assert (order["refunded"], order["cash_refunded"]) == (myr(2250), myr(2250))
    assert order["split"]["creator_commission"] == myr(1198)
    await shop.hold_ends(sale.order_id)
    await shop.post(
        "/v1/payout-accounts", {"payee_id": creator["id"], "rail": "sandbox", "currency": "MYR", "details": {}}
    )
    payout = await shop.post("/v1/payouts", {"payee_id": creator["id"], "currency": "MYR"})
    assert payout["amount"] == myr(1198)
    assert await sale.statuses(creator) == {"11": "reserved", "12": "reversed"}
    finance = await shop.key("finance")
    rejected = await shop.post(
        f"/v1/payouts/{payout['id']}/reject", {"reason": "name mismatch"}, key=finance, status=200
    )
    assert rejected["status"] == "rejected"
    assert await sale.statuses(creator) == {"11": "cleared", "12": "reversed"}
    again = await shop.post("/v1/payouts", {"payee_id": creator["id"], "currency": "MYR"})
    cancelled = await shop.post(f"/v1/payouts/{again['id']}/cancel", status=200)
    assert cancelled["status"] == "cancelled"
    problem = await shop.refused("POST", f"/v1/payouts/{again['id']}/cancel", status=409)
    assert problem["type"] == "urn:colink:problem:payout-state"


async def test_money_taken_back_before_a_payout_is_not_paid_by_netting_it(sale: Sale) -> None:
    """A payout first takes the oldest credits to net the debits with: here those of the refunded order itself."""
    shop, creator = sale.shop, sale.creator
    await pay_by(shop, ProviderOutcome.PAID)
    await shop.hold_ends(sale.order_id)
    await refund_all(sale)
    assert await sale.statuses(creator) == {"11": "reversed", "12": "reversed"}
    assert await sale.balances(payee_id=creator["id"]) == {}
    second = await another_order(sale, cleared=600)
    assert await pay_out(sale, creator) == 600
    assert await sale.statuses(creator) == {"11": "reversed", "12": "reversed"}
    (entry,) = await entries_of_pending(shop, second, creator)
    assert entry["status"] == "paid"


async def test_money_taken_back_after_its_payout_stays_paid(sale: Sale) -> None:
    shop, creator = sale.shop, sale.creator
    await pay_by(shop, ProviderOutcome.PAID)
    await shop.hold_ends(sale.order_id)
    assert await pay_out(sale, creator) == 1423
    await refund_all(sale)
    assert await sale.statuses(creator) == {"11": "paid", "12": "paid"}
    assert await sale.balances(payee_id=creator["id"]) == {f"payee:{creator['id']}:available": -1423}
    await another_order(sale, cleared=2000)
    assert await pay_out(sale, creator) == 577
    assert await sale.statuses(creator) == {"11": "paid", "12": "paid"}


async def test_money_taken_back_while_it_is_reserved_is_paid_once_the_payout_is(sale: Sale) -> None:
    shop, creator = sale.shop, sale.creator
    await pay_by(shop, ProviderOutcome.PAID)
    await shop.hold_ends(sale.order_id)
    requested = await request_payout(sale, creator)
    await refund_all(sale)
    assert await sale.statuses(creator) == {"11": "reversed", "12": "reversed"}
    await finish_payout(sale, requested)
    assert await sale.statuses(creator) == {"11": "paid", "12": "paid"}


async def test_a_payouts_entries_are_paged_and_add_up(sale: Sale) -> None:
    shop, organization = sale.shop, sale.organization
    await shop.hold_ends(sale.order_id)
    await shop.post(
        "/v1/payout-accounts", {"payee_id": organization["id"], "rail": "sandbox", "currency": "MYR", "details": {}}
    )
    body = {"payee_id": organization["id"], "currency": "MYR"}
    first = await shop.post("/v1/payouts", body | {"amount": myr(10_500)})
    second = await shop.post("/v1/payouts", body)
    assert second["amount"] == myr(12_895 - 10_500)
    for payout in (first, second):
        seen, cursor = [], None
        while True:
            page = await shop.get(
                f"/v1/payouts/{payout['id']}/entries", limit=1, **({"cursor": cursor} if cursor else {})
            )
            seen += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert len({entry["id"] for entry in seen}) == len(seen)
        assert sum(entry["reserved"] for entry in seen) == payout["amount"]["amount"]
    listed = (await shop.get("/v1/payouts", payee_id=organization["id"]))["items"]
    assert listed == [first, second]
    assert (await shop.get("/v1/payouts", status="paid"))["items"] == []


async def test_what_payouts_refuse(sale: Sale) -> None:
    shop, creator = sale.shop, sale.creator
    body = {"payee_id": creator["id"], "currency": "MYR"}
    problem = await shop.refused("POST", "/v1/payouts", body, status=409)
    assert problem["type"] == "urn:colink:problem:no-payout-account"
    account = body | {"rail": "sandbox", "details": {}, "minimum": myr(2000)}
    made = await shop.post("/v1/payout-accounts", account)
    assert await shop.get(f"/v1/payout-accounts/{made['id']}") == made
    assert (await shop.get("/v1/payout-accounts", payee_id=creator["id"]))["items"] == [made]
    problem = await shop.refused("POST", "/v1/payouts", body, status=409)
    assert problem["type"] == "urn:colink:problem:insufficient-funds"
    await shop.hold_ends(sale.order_id)
    problem = await shop.refused("POST", "/v1/payouts", body, status=409)
    assert problem["type"] == "urn:colink:problem:below-minimum"
    await shop.post("/v1/payout-accounts", account | {"minimum": None})
    for amount, field in ((myr(0), "amount.amount"), ({"amount": 1, "currency": "JPY"}, "amount.currency")):
        problem = await shop.refused("POST", "/v1/payouts", body | {"amount": amount}, status=422)
        assert problem["field"] == field
    problem = await shop.refused("POST", "/v1/payout-accounts", account | {"payee_id": "cre_none"}, status=422)
    assert problem["field"] == "payee_id"
    finance = await shop.key("finance")
    payout = await shop.post("/v1/payouts", body, key=finance)
    problem = await shop.refused("POST", f"/v1/payouts/{payout['id']}/approve", status=403, key=finance)
    assert problem["type"] == "urn:colink:problem:self-approval"
    other = await shop.key("finance")
    await shop.post(f"/v1/payouts/{payout['id']}/approve", key=other, status=200)
    for step in ("approve", "cancel", "reject"):
        await shop.refused("POST", f"/v1/payouts/{sale.order_id}/{step}", status=404, key=other)


async def test_who_set_the_account_sends_no_money_there(sale: Sale) -> None:
    """One clerk alone could pay a creator's money to himself: change the account, approve what the creator asked for,
    and change it back."""
    shop, creator = sale.shop, sale.creator
    clerk, other = await shop.key("finance"), await shop.key("finance")
    account = {"payee_id": creator["id"], "rail": "sandbox", "currency": "MYR", "details": {"account_number": "1"}}
    await shop.post("/v1/payout-accounts", account)
    await shop.hold_ends(sale.order_id)
    body = {"payee_id": creator["id"], "currency": "MYR", "amount": myr(100)}
    payout = await shop.post("/v1/payouts", body)
    # Saying again what is known sets nothing: who set the account is still the operator.
    await shop.post("/v1/payout-accounts", account, key=other)
    await shop.post("/v1/payout-accounts", account | {"details": {"account_number": "2"}}, key=clerk)
    problem = await shop.refused("POST", f"/v1/payouts/{payout['id']}/approve", key=clerk, status=403)
    assert problem["type"] == "urn:colink:problem:own-account"
    assert (await shop.get(f"/v1/payouts/{payout['id']}"))["status"] == "requested"
    await shop.post(f"/v1/payouts/{payout['id']}/approve", key=other, status=200)
    # Set by another, it is the clerk's to approve.
    await shop.post("/v1/payout-accounts", account | {"details": {"account_number": "3"}}, key=other)
    second = await shop.post("/v1/payouts", body)
    await shop.refused("POST", f"/v1/payouts/{second['id']}/approve", key=other, status=403)
    await shop.post(f"/v1/payouts/{second['id']}/approve", key=clerk, status=200)


async def test_a_held_payout_is_not_submitted_until_it_is_released_and_approved_again(sale: Sale) -> None:
    shop, creator = sale.shop, sale.creator
    await pay_by(shop, ProviderOutcome.PAID)
    await shop.hold_ends(sale.order_id)
    requested = await request_payout(sale, creator)
    path, finance = f"/v1/payouts/{requested['id']}", await shop.key("finance")
    await shop.post(f"{path}/approve", key=finance, status=200)
    for body in ({}, {"reason": ""}):
        assert (await shop.refused("POST", f"{path}/hold", body, status=422, key=finance))["field"] == "reason"
    held = await shop.post(f"{path}/hold", {"reason": "the bank asks who this is"}, key=finance, status=200)
    assert held == requested | {"status": "held"}
    assert await shop.colink.payout_desk().run() == 0
    assert await shop.get(path) == held
    assert await sale.balances(payee_id=creator["id"]) == {f"payee:{creator['id']}:in_transit": 1423}
    for step in ("approve", "hold"):
        body = {"reason": "again"} if step == "hold" else None
        problem = await shop.refused("POST", f"{path}/{step}", body, status=409, key=finance)
        assert problem["type"] == "urn:colink:problem:payout-state"
    released = await shop.post(f"{path}/release", key=finance, status=200)
    assert released == requested
    assert await shop.colink.payout_desk().run() == 0
    assert await shop.get(path) == requested
    problem = await shop.refused("POST", f"{path}/release", status=409, key=finance)
    assert problem["type"] == "urn:colink:problem:payout-state"
    await finish_payout(sale, requested)
    assert await sale.balances(payee_id=creator["id"]) == {}
    (event,) = [item for item in (await shop.get("/v1/events"))["items"] if item["type"] == "payout.held"]
    assert event["payload"]["reason"] == "the bank asks who this is"


@pytest.mark.parametrize("approval", ["manual", "auto"])
async def test_a_payee_does_not_end_the_hold_of_finance(
    anyio_backend: str, database: TestDatabase, approval: str
) -> None:
    databases = Database(owner_dsn=database.owner_dsn, app_dsn=database.app_dsn)
    async with open_shop(databases, payout_approval=approval) as shop:
        sale = await make_sale(shop)
        await pay_by(shop, ProviderOutcome.PAID)
        await shop.hold_ends(sale.order_id)
        for payee, role in ((sale.creator, "creator"), (sale.organization, "seller")):
            bound = {"organization_id": payee["id"]} if role == "seller" else {"payee_id": payee["id"]}
            mine, finance = await shop.key(role, **bound), await shop.key("finance")
            path = f"/v1/payouts/{(await request_payout(sale, payee))['id']}"
            held = await shop.post(f"{path}/hold", {"reason": "stolen account?"}, key=finance, status=200)
            problem = await shop.refused("POST", f"{path}/cancel", status=409, key=mine)
            assert problem["type"] == "urn:colink:problem:payout-held"
            assert problem["detail"].startswith("finance holds pyt_")
            ask = {"payee_id": payee["id"], "currency": "MYR"}
            problem = await shop.refused("POST", "/v1/payouts", ask, status=409, key=mine)
            assert problem["type"] == "urn:colink:problem:insufficient-funds"
            assert await shop.colink.payout_desk().run() == 0
            assert await shop.get(path) == held
            cancelled = await shop.post(f"{path}/cancel", key=finance, status=200)
            assert cancelled["status"] == "cancelled"
            # What nobody holds its payee may call off.
            again = await shop.post("/v1/payouts", ask, key=mine)
            await shop.post(f"/v1/payouts/{again['id']}/cancel", key=mine, status=200)


async def test_only_finance_holds_and_only_what_was_not_sent(sale: Sale) -> None:
    shop, creator = sale.shop, sale.creator
    await pay_by(shop, ProviderOutcome.PAID)
    await shop.hold_ends(sale.order_id)
    requested = await request_payout(sale, creator)
    path, finance = f"/v1/payouts/{requested['id']}", await shop.key("finance")
    body = {"reason": "mine"}
    for key in (await shop.key("creator", payee_id=creator["id"]), await shop.key("auditor")):
        await shop.refused("POST", f"{path}/hold", body, status=403, key=key)
        await shop.refused("POST", f"{path}/release", status=403, key=key)
    await shop.refused("POST", "/v1/payouts/pyt_none/hold", body, status=404, key=finance)
    await shop.refused("POST", "/v1/payouts/pyt_none/release", status=404, key=finance)
    await finish_payout(sale, requested)
    problem = await shop.refused("POST", f"{path}/hold", body, status=409, key=finance)
    assert problem["type"] == "urn:colink:problem:payout-state"
