"""Finance decides about orders over HTTP: what is held is not paid out, what is released is, and who is credited can
be set by hand until something has cleared."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from tests.api.sale import MUG, TSHIRT, Sale, another_order, finish_payout, myr, pay_by, pay_out, refund_all
from tests.api.shop import Shop
from tests.conftest import TestDatabase

from colink.cli.shopify_traffic import RefundedItem
from colink.domain.audit.report import Pass
from colink.domain.payouts import ProviderOutcome
from colink.projections.audit import verify

pytestmark = pytest.mark.anyio

REVIEW = {"reason": "the same card paid for nine orders"}


async def verified(shop: Shop) -> None:
    await shop.colink.engine.run_until_caught_up()
    async with shop.colink.pool.connection() as conn:
        report = await verify(conn, shop.colink.decode)
    assert report.findings == []


async def decide(sale: Sale, what: str, *, status: int = 200, **body: Any) -> Any:
    key = await sale.shop.key("finance")
    return await sale.shop.post(f"/v1/orders/{sale.order_id}/{what}", REVIEW | body, key=key, status=status)


async def test_a_held_order_does_not_clear_and_clears_when_it_is_released(sale: Sale) -> None:
    shop, creator = sale.shop, sale.creator["id"]
    held = await decide(sale, "hold")
    [hold] = held["holds"]
    assert (hold["kind"], hold["payee_id"], hold["line_id"], hold["reason"]) == (
        "review",
        None,
        None,
        REVIEW["reason"],
    )
    assert (await sale.order())["holds"] == [hold]
    assert set((await sale.statuses(sale.creator)).values()) == {"held"}
    assert set((await sale.statuses(sale.organization)).values()) == {"held"}
    await shop.hold_ends(sale.order_id)
    assert await sale.balances(payee_id=creator) == {f"payee:{creator}:pending": 1423}

    released = await decide(sale, "release", reason="the bank says it is fine")
    assert released["holds"] == []
    await shop.hold_ends(sale.order_id, after=timedelta(0))
    assert await sale.balances(payee_id=creator) == {f"payee:{creator}:available": 1423}
    clearing = [entry for entry in await sale.entries(payee_id=creator) if entry["kind"] == "clearing"]
    assert {entry["effective_at"] for entry in clearing} == {"2026-03-16T13:00:00Z"}, "not before it was released"
    await verified(shop)


async def test_what_had_cleared_is_pending_while_it_is_held_and_available_at_once_again(sale: Sale) -> None:
    shop, creator, org = sale.shop, sale.creator["id"], sale.organization["id"]
    await shop.hold_ends(sale.order_id)
    await decide(sale, "hold", payee_id=creator)
    assert await sale.balances(payee_id=creator) == {f"payee:{creator}:pending": 1423}
    assert await sale.balances(payee_id=org) == {f"payee:{org}:available": 12895}
    assert set((await sale.statuses(sale.creator)).values()) == {"held"}
    assert set((await sale.statuses(sale.organization)).values()) == {"cleared"}
    account = {"payee_id": creator, "rail": "sandbox", "currency": "MYR", "details": {}}
    await shop.post("/v1/payout-accounts", account)
    refused = await shop.refused("POST", "/v1/payouts", {"payee_id": creator, "currency": "MYR"}, status=409)
    assert refused["type"].endswith("insufficient-funds")

    await decide(sale, "release", payee_id=creator)
    assert await sale.balances(payee_id=creator) == {f"payee:{creator}:available": 1423}
    kinds = [entry["kind"] for entry in await sale.entries(payee_id=creator)]
    assert kinds.count("hold") == 2 * 2 * 2, "two lines, out and back, two legs each"
    await verified(shop)


async def test_one_line_is_held_and_the_others_clear(sale: Sale) -> None:
    await decide(sale, "hold", line_id="11")
    await sale.shop.hold_ends(sale.order_id)
    assert await sale.statuses(sale.creator) == {"11": "held", "12": "cleared"}
    assert await sale.statuses(sale.organization) == {"11": "held", "12": "cleared", None: "cleared"}
    creator = sale.creator["id"]
    assert await sale.balances(payee_id=creator) == {
        f"payee:{creator}:pending": 1198,
        f"payee:{creator}:available": 225,
    }
    await verified(sale.shop)


async def test_a_refund_of_a_held_order_leaves_what_remains_held(sale: Sale) -> None:
    shop, creator = sale.shop, sale.creator["id"]
    await shop.hold_ends(sale.order_id)
    await decide(sale, "hold")
    await shop.refund(sale.store, items=[RefundedItem(item=MUG)])
    assert await sale.balances(payee_id=creator) == {f"payee:{creator}:pending": 1198}
    assert await sale.statuses(sale.creator) == {"11": "held", "12": "reversed"}
    await decide(sale, "release")
    assert await sale.balances(payee_id=creator) == {f"payee:{creator}:available": 1198}
    await verified(shop)


async def test_holding_twice_is_holding_once_and_releasing_nothing_is_refused(sale: Sale) -> None:
    shop = sale.shop
    assert await decide(sale, "hold") == await decide(sale, "hold")
    events = await shop.colink.orders([sale.order_id])
    version = events[sale.order_id].version
    await decide(sale, "hold")
    assert (await shop.colink.orders([sale.order_id]))[sale.order_id].version == version
    problem = await decide(sale, "release", status=409, line_id="11")
    assert problem["type"].endswith("nothing-held")
    await decide(sale, "release")
    assert (await decide(sale, "release", status=409))["type"].endswith("nothing-held")


async def test_who_may_decide_and_about_what(sale: Sale) -> None:
    shop = sale.shop
    finance = await shop.key("finance")
    path = f"/v1/orders/{sale.order_id}/hold"
    for role, bound in (("operator", {}), ("auditor", {}), ("seller", {"organization_id": sale.organization["id"]})):
        key = await shop.key(role, **bound)
        await shop.refused("POST", path, REVIEW, key=key, status=403)
    await shop.refused("POST", "/v1/orders/ord_none.1/hold", REVIEW, key=finance, status=404)
    unknown = await shop.refused("POST", path, REVIEW | {"payee_id": "cre_none"}, key=finance, status=422)
    assert unknown["field"] == "payee_id"
    unknown = await shop.refused("POST", path, REVIEW | {"line_id": "99"}, key=finance, status=422)
    assert unknown["field"] == "line_id"
    assert (await shop.refused("POST", path, {}, key=finance, status=422))["field"] == "reason"


async def test_a_creators_own_purchase_is_released(shop: Shop) -> None:
    organization = await shop.organization()
    store, creator = await shop.store(organization), await shop.creator(email="aina@example.com")
    await shop.rule(organization)
    click_id = await shop.follow(await shop.link(creator))
    told = await shop.order(store, items=[MUG], click_id=click_id, email="aina@example.com")
    await shop.hold_ends(told["order_id"])
    path, finance = f"/v1/orders/{told['order_id']}", await shop.key("finance")
    assert [hold["kind"] for hold in (await shop.get(path))["holds"]] == ["own_link"]
    released = await shop.post(f"{path}/release", REVIEW | {"kind": "own_link"}, key=finance, status=200)
    assert released["holds"] == []
    await shop.hold_ends(told["order_id"], after=timedelta(0))
    balances = (await shop.get("/v1/balances", payee_id=creator["id"]))["items"]
    assert {item["account"]: item["amount"] for item in balances if item["amount"]} == {
        f"payee:{creator['id']}:available": 225
    }
    await shop.refused("POST", f"{path}/release", REVIEW | {"kind": "own_link"}, key=finance, status=409)
    await verified(shop)


async def test_what_the_buyer_did_not_get_back_is_released_to_the_seller(sale: Sale) -> None:
    """All lines were returned and the money was not: it is held until finance says whose it is."""
    shop, org = sale.shop, sale.organization["id"]
    await shop.hold_ends(sale.order_id)
    everything = [RefundedItem(item=TSHIRT, quantity=2), RefundedItem(item=MUG)]
    await shop.refund(sale.store, items=everything, transaction_status="pending")
    assert (await sale.order())["cash_refunded"] == myr(0)
    # The commission and fee of 2135 that are reversed come to the seller: what he took is reversed with them.
    assert await sale.balances(payee_id=org) == {
        f"payee:{org}:pending": 14230,
        f"payee:{org}:available": 800,
    }
    released = await decide(sale, "release", kind="owed_to_buyer")
    assert released["holds"] == []
    assert (await sale.statuses(sale.organization))[None] == "pending"
    await shop.hold_ends(sale.order_id)
    assert await sale.balances(payee_id=org) == {f"payee:{org}:available": 15030}
    assert (await decide(sale, "release", status=409, kind="owed_to_buyer"))["type"].endswith("nothing-held")
    await verified(shop)


async def test_what_goes_back_after_a_release_frees_nothing_for_a_later_debt(sale: Sale) -> None:
    """The mug was returned and its money released to the seller; then the buyer got it after all, and a T-shirt is
    returned whose money he has not got: it is held, however the two are told."""
    shop, org = sale.shop, sale.organization["id"]
    await shop.refund(sale.store, items=[RefundedItem(item=MUG)], transaction_status="pending")
    await decide(sale, "release", kind="owed_to_buyer")
    assert (await sale.statuses(sale.organization))[None] == "pending"
    await shop.refund(sale.store, refund_id=901, items=[RefundedItem(item=TSHIRT)], transaction_status="pending")
    assert [hold["kind"] for hold in (await sale.order())["holds"]] == ["owed_to_buyer"]
    await shop.refund(sale.store, items=[RefundedItem(item=MUG)])
    order = await sale.order()
    assert order["cash_refunded"] == myr(2250)
    assert [hold["kind"] for hold in order["holds"]] == ["owed_to_buyer"]
    assert (await sale.statuses(sale.organization))[None] == "held"
    for _ in range(2):
        await shop.hold_ends(sale.order_id)
    # Of the other T-shirt 59.90 less 2.99 fee and 5.99 commission, and 8.00 shipping; 59.90 more wait.
    balances = await sale.balances(payee_id=org)
    assert balances == {f"payee:{org}:pending": 5990, f"payee:{org}:available": 800 + 5990 - 299 - 599}
    await decide(sale, "release", kind="owed_to_buyer")
    assert (await sale.order())["holds"] == []
    await verified(shop)


async def test_an_order_is_credited_to_another_creator_by_hand(sale: Sale) -> None:
    shop, former = sale.shop, sale.creator["id"]
    other = await shop.creator()
    await shop.rule(sale.organization, creator_id=other["id"], rate_bps=2000)
    answer = await decide(sale, "reattribute", creator_id=other["id"], campaign_id=sale.campaign["id"])
    assert (answer["creator_id"], answer["set_by_hand"]) == (other["id"], True)
    # The rule for the other creator came after the order's terms were pinned: the general one serves.
    order = await sale.order()
    assert order["split"]["creator_commission"] == myr(1423)
    assert order["attribution"]["creator_id"] == other["id"]
    assert order["set_by_hand"]["former"] == {
        "outcome": "click",
        "creator_id": former,
        "campaign_id": sale.campaign["id"],
        "link_id": sale.link["id"],
    }
    assert order["set_by_hand"]["reason"] == REVIEW["reason"]
    assert await sale.balances(payee_id=former) == {}
    assert await sale.balances(payee_id=other["id"]) == {f"payee:{other['id']}:pending": 1423}

    # A later delivery brings a new key: the hand stays.
    click_id = await shop.follow(sale.link)
    await shop.order(
        sale.store, items=[TSHIRT, MUG], click_id=click_id, updated_at=shop.clock.now() + timedelta(hours=1)
    )
    assert (await sale.order())["attribution"]["creator_id"] == other["id"]
    await shop.colink.engine.run_until_caught_up()
    report = await shop.get("/v1/reports/attribution", organization_id=sale.organization["id"], group_by="creator")
    assert [(row["creator_id"], row["orders"], row["commission"]) for row in report["items"] if row["orders"]] == [
        (other["id"], 1, myr(1423))
    ]
    await shop.hold_ends(sale.order_id)
    assert await sale.balances(payee_id=other["id"]) == {f"payee:{other['id']}:available": 1423}
    await verified(shop)


async def test_an_order_is_credited_to_nobody_by_hand(sale: Sale) -> None:
    org = sale.organization["id"]
    await decide(sale, "reattribute", creator_id=None)
    order = await sale.order()
    assert (order["split"]["creator_commission"], order["split"]["seller_take"]) == (myr(0), myr(13518))
    assert await sale.balances(payee_id=sale.creator["id"]) == {}
    assert await sale.balances(payee_id=org) == {f"payee:{org}:pending": 14318}
    await verified(sale.shop)


async def test_who_is_credited_stays_once_something_has_cleared(sale: Sale) -> None:
    other = await sale.shop.creator()
    await sale.shop.hold_ends(sale.order_id)
    before = await sale.balances()
    problem = await decide(sale, "reattribute", creator_id=other["id"], status=409)
    assert problem["type"].endswith("order-has-cleared")
    assert await sale.balances() == before
    unknown = await decide(sale, "reattribute", creator_id="cre_none", status=422)
    assert unknown["field"] == "creator_id"
    unknown = await decide(sale, "reattribute", creator_id=other["id"], campaign_id="cmp_none", status=422)
    assert unknown["field"] == "campaign_id"


async def test_a_refund_after_the_payout_is_netted_from_the_next(sale: Sale) -> None:
    """Paid out, refunded, earned again: the next payout is the net."""
    shop, creator = sale.shop, sale.creator
    await pay_by(shop, ProviderOutcome.PAID)
    await shop.hold_ends(sale.order_id)
    assert await pay_out(sale, creator) == 1423
    await refund_all(sale)
    assert await sale.balances(payee_id=creator["id"]) == {f"payee:{creator['id']}:available": -1423}
    body = {"payee_id": creator["id"], "currency": "MYR"}
    refused = await shop.refused("POST", "/v1/payouts", body, status=409)
    assert refused["type"].endswith("insufficient-funds")
    refunded_at = shop.clock.now()
    shop.clock.time += timedelta(days=3, hours=5)
    [debt] = (await shop.get("/v1/payouts/debts"))["items"]
    assert (debt["payee_id"], debt["owed"], debt["days"]) == (creator["id"], myr(1423), 3)
    assert debt["since"] == refunded_at.isoformat().replace("+00:00", "Z")
    own = await shop.key("seller", organization_id=sale.organization["id"])
    assert (await shop.get("/v1/payouts/debts", key=own))["items"] == []
    await shop.refused("GET", f"/v1/payouts/debts?payee_id={creator['id']}", status=404, key=own)

    await another_order(sale, cleared=1000)
    assert await sale.balances(payee_id=creator["id"]) == {f"payee:{creator['id']}:available": -423}
    await shop.refused("POST", "/v1/payouts", body, status=409)
    click_id = await shop.follow(sale.link)
    shop.clock.time += timedelta(hours=1)
    told = await shop.order(sale.store, order_id=4509, items=[TSHIRT], click_id=click_id)
    await shop.hold_ends(told["order_id"])
    requested = await shop.post("/v1/payouts", body)
    assert requested["amount"] == myr(1198 - 423)
    await finish_payout(sale, requested)
    assert await sale.balances(payee_id=creator["id"]) == {}
    assert (await shop.get("/v1/payouts/debts"))["items"] == []
    # Everything ever cleared is used up: 1423 + 1000 + 1198 in, 1423 + 775 paid out, 1423 taken back.
    assert await sale.balances(account="processor:sandbox:cash") == {"processor:sandbox:cash": 1423 + 775}
    await verified(shop)


async def test_tampering_with_decisions_is_found(sale: Sale, database: TestDatabase) -> None:
    shop = sale.shop
    other = await shop.creator()
    await decide(sale, "reattribute", creator_id=other["id"])
    await shop.hold_ends(sale.order_id)
    await decide(sale, "hold", line_id="11")
    await decide(sale, "release", line_id="11")
    await shop.refund(sale.store, items=[RefundedItem(item=MUG)], transaction_status="pending")
    await decide(sale, "release", kind="owed_to_buyer")
    await verified(shop)
    async with shop.colink.pool.connection() as conn:
        cursor = await conn.execute("SELECT topic, max(position) FROM colink.events GROUP BY topic")
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
        ("order.held", '"line_id":"11"', '"line_id":"12"', Pass.CLEARING),
        ("order.released", '"amount":2250', '"amount":2249', Pass.CLEARING),
        ("order.released", '"kind":"owed_to_buyer"', '"kind":"own_link"', Pass.CLEARING),
        ("order.reattributed", f'"creator_id":"{other["id"]}"', '"creator_id":null', Pass.COMMISSION),
        (
            "order.reattributed",
            f'"former_creator_id":"{sale.creator["id"]}"',
            '"former_creator_id":null',
            Pass.ATTRIBUTION,
        ),
    ):
        assert change(topic, old, new) == 1
        async with shop.colink.pool.connection() as conn:
            report = await verify(conn, shop.colink.decode)
        where = [finding.position for finding in report.findings if finding.audit_pass is found]
        # Where it was changed, or where it is recorded what had to follow from it; never before.
        assert min(where) >= positions[topic], (topic, old)
        change(topic, new, old)
    await verified(shop)
