"""The promise: after each answer the order, its entries and balances can be read at once, with the exact numbers, and
so can the reports and the deliveries it came from."""

from __future__ import annotations

import pytest
from tests.api.sale import MUG, TSHIRT, Sale, myr
from tests.api.shop import Shop

from colink.cli.shopify_traffic import RefundedItem

pytestmark = pytest.mark.anyio


async def test_an_order_is_shown_as_the_contract_says(sale: Sale) -> None:
    order = await sale.order()
    assert order == await sale.shop.get(f"/v1/orders/{sale.order_id}")
    rule = {"id": sale.rule["id"], "version": 1, "scope": "default"}
    assert order["lines"] == [
        {
            "line_id": "11",
            "product_id": sale.line_product,
            "sku_id": sale.product["skus"][0]["id"],
            "quantity": 2,
            "subtotal": myr(11980),
            "refunded": myr(0),
            "rule": rule,
            "platform_fee": myr(599),
            "creator_commission": myr(1198),
            "payment_fee": myr(0),
            "seller_take": myr(10183),
        },
        {
            "line_id": "12",
            "product_id": f"prd_{sale.store['id']}.72",
            "sku_id": f"sku_{sale.store['id']}.82",
            "quantity": 1,
            "subtotal": myr(2250),
            "refunded": myr(0),
            "rule": rule,
            "platform_fee": myr(113),
            "creator_commission": myr(225),
            "payment_fee": myr(0),
            "seller_take": myr(1912),
        },
    ]
    assert order["split"] == {
        "platform_fee": myr(712),
        "creator_commission": myr(1423),
        "payment_fee": myr(0),
        "seller_take": myr(12095),
    }
    attribution = order["attribution"]
    assert {key: attribution[key] for key in ("outcome", "creator_id", "campaign_id", "link_id", "touch_id")} == {
        "outcome": "click",
        "creator_id": sale.creator["id"],
        "campaign_id": sale.campaign["id"],
        "link_id": sale.link["id"],
        "touch_id": sale.click_id,
    }
    (candidate,) = attribution["candidates"]
    assert (candidate["kind"], candidate["accepted"]) == ("click", True)
    shown = {key: order[key] for key in ("external_id", "status", "cancelled", "currency", "placed_at", "paid_at")}
    assert shown == {
        "external_id": "4507",
        "status": "paid",
        "cancelled": False,
        "currency": "MYR",
        "placed_at": "2026-03-01T13:00:00Z",
        "paid_at": "2026-03-01T13:00:00Z",
    }
    amounts = {key: order[key] for key in ("subtotal", "refunded", "collected", "cash_refunded")}
    assert amounts == {
        "subtotal": myr(14230),
        "refunded": myr(0),
        "collected": myr(15030),
        "cash_refunded": myr(0),
    }


async def test_an_order_that_is_not_paid_shows_its_lines_and_no_money(shop: Shop) -> None:
    store = await shop.store(await shop.organization())
    await shop.order(store, items=[TSHIRT], status="pending", total_outstanding="127.80")
    (order,) = (await shop.get("/v1/orders"))["items"]
    assert (order["status"], order["paid_at"]) == ("pending", None)
    assert set(order["split"]) == {"platform_fee", "creator_commission", "payment_fee", "seller_take"}
    assert all(part == myr(0) for part in order["split"].values())
    assert (order["subtotal"], order["collected"]) == (myr(11980), myr(0))
    assert [(line["line_id"], line["subtotal"], line["seller_take"]) for line in order["lines"]] == [
        ("11", myr(11980), myr(0))
    ]
    assert (await shop.get("/v1/ledger/entries"))["items"] == []


async def test_an_order_nobody_told_of_is_not_listed_until_it_comes(shop: Shop) -> None:
    store = await shop.store(await shop.organization())
    told = await shop.refund(store, items=[RefundedItem(item=MUG)])
    assert (await shop.get("/v1/orders"))["items"] == []
    await shop.refused("GET", f"/v1/orders/{told['order_id']}", status=404)
    await shop.order(store, items=[TSHIRT, MUG])
    (order,) = (await shop.get("/v1/orders"))["items"]
    assert (order["refunded"], order["cash_refunded"]) == (myr(2250), myr(2250))


async def test_entries_and_balances_are_there_at_once(sale: Sale) -> None:
    org, creator = sale.organization["id"], sale.creator["id"]
    entries = await sale.entries()
    assert sum(entry["amount"] for entry in entries) == 0
    assert {(entry["account"], entry["purpose"], entry["line_id"]): entry["amount"] for entry in entries} == {
        (f"store:{sale.store['id']}:clearing", "collected", None): -15030,
        ("platform:revenue", "platform_fee", "11"): 599,
        ("platform:revenue", "platform_fee", "12"): 113,
        (f"payee:{creator}:pending", "commission", "11"): 1198,
        (f"payee:{creator}:pending", "commission", "12"): 225,
        (f"payee:{org}:pending", "seller_take", "11"): 10183,
        (f"payee:{org}:pending", "seller_take", "12"): 1912,
        (f"payee:{org}:pending", "pass_through", None): 800,
    }
    entry = next(entry for entry in entries if entry["account"] == "platform:revenue")
    assert (entry["status"], entry["kind"], entry["order_id"]) == ("posted", "sale", sale.order_id)
    assert entry["effective_at"] == "2026-03-01T13:00:00Z"
    assert len({entry["id"] for entry in entries}) == len(entries)
    assert await sale.balances() == {
        f"store:{sale.store['id']}:clearing": -15030,
        "platform:revenue": 712,
        f"payee:{creator}:pending": 1423,
        f"payee:{org}:pending": 12895,
    }
    assert await sale.balances(payee_id=creator) == {f"payee:{creator}:pending": 1423}
    assert await sale.balances(account="platform:revenue") == {"platform:revenue": 712}


async def test_balances_are_exact_at_any_point(sale: Sale) -> None:
    creator = sale.creator["id"]
    recorded = max(entry["position"] for entry in await sale.entries())
    await sale.shop.hold_ends(sale.order_id)
    cleared = {f"payee:{creator}:available": 1423}
    assert await sale.balances(payee_id=creator) == cleared
    assert await sale.balances(payee_id=creator, at_position=recorded) == {f"payee:{creator}:pending": 1423}
    assert await sale.balances(payee_id=creator, at_position=recorded - 1) == {}
    due = "2026-03-15T13:00:00Z"
    assert await sale.balances(payee_id=creator, as_of=due) == cleared
    before = "2026-03-15T20:59:59+08:00"
    assert await sale.balances(payee_id=creator, as_of=before) == {f"payee:{creator}:pending": 1423}


async def test_entries_are_paged_in_log_order(sale: Sale) -> None:
    everything = await sale.entries()
    paged, cursor = [], None
    while True:
        page = await sale.shop.get("/v1/ledger/entries", limit=3, **({"cursor": cursor} if cursor else {}))
        paged += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert paged == everything


async def test_a_creators_own_purchase_is_held(shop: Shop) -> None:
    organization = await shop.organization()
    store, creator = await shop.store(organization), await shop.creator(email="Aina@example.com")
    await shop.rule(organization)
    link = await shop.link(creator)
    click_id = await shop.follow(link)
    told = await shop.order(store, items=[MUG], click_id=click_id, email=" aina@EXAMPLE.com ")
    entries = (await shop.get("/v1/ledger/entries", order_id=told["order_id"], payee_id=creator["id"]))["items"]
    assert [(entry["amount"], entry["status"]) for entry in entries] == [(225, "held")]
    assert (await shop.get(f"/v1/orders/{told['order_id']}"))["attribution"]["own_link"] is True
    await shop.hold_ends(told["order_id"])
    entries = (await shop.get("/v1/ledger/entries", order_id=told["order_id"], payee_id=creator["id"]))["items"]
    assert {entry["status"] for entry in entries} == {"held"}


async def test_the_reports_show_the_sale(sale: Sale) -> None:
    shop, org = sale.shop, sale.organization["id"]
    await shop.colink.engine.run_until_caught_up()
    row = {"clicks": 1, "views": 0, "orders": 1, "currency": "MYR", "revenue": myr(14230), "commission": myr(1423)}
    for group, key, value in (
        ("creator", "creator_id", sale.creator["id"]),
        ("campaign", "campaign_id", sale.campaign["id"]),
        ("link", "link_id", sale.link["id"]),
        ("day", "day", "2026-03-01"),
    ):
        report = await shop.get("/v1/reports/attribution", organization_id=org, group_by=group)
        assert report["items"] == [row | {key: value}]
    empty = await shop.get("/v1/reports/attribution", organization_id=org, **{"from": "2026-03-02"})
    assert empty["items"] == []
    board = await shop.get("/v1/leaderboards", campaign_id=sale.campaign["id"])
    handle = sale.creator["handle"]
    assert board["items"] == [
        {"rank": 1, "creator_id": sale.creator["id"], "handle": handle, "value": 14230, "currency": "MYR"}
    ]
    board = await shop.get("/v1/leaderboards", organization_id=org, metric="clicks", period="daily")
    assert [(row["rank"], row["value"], row["currency"]) for row in board["items"]] == [(1, 1, None)]


async def test_the_inbox_lists_deliveries_and_reads_one_again(sale: Sale) -> None:
    shop, store = sale.shop, sale.store
    rejected = await shop.deliver(store, "orders/paid", {"id": 1})
    assert rejected["status"] == "rejected"
    listed = (await shop.get("/v1/inbox", store_id=store["id"]))["items"]
    assert [delivery["status"] for delivery in listed] == ["accepted", "rejected"]
    assert listed[0]["order_id"] == sale.order_id
    assert listed[1]["problem"]["field"]
    only = (await shop.get("/v1/inbox", status="rejected"))["items"]
    assert only == [listed[1]]
    before = await sale.balances()
    again = await shop.post(f"/v1/inbox/{listed[0]['id']}/replay", status=200)
    assert again == {"status": "accepted", "order_id": sale.order_id}
    assert await sale.balances() == before
    still = await shop.post(f"/v1/inbox/{listed[1]['id']}/replay", status=200)
    assert still["status"] == "rejected"
    for unknown in ("dlv_none", "dlv_none.none", "x"):
        await shop.refused("POST", f"/v1/inbox/{unknown}/replay", status=404)
