"""The promise: after each answer the order, its entries and balances can be read at once, with the exact numbers, and
an entry tells what became of its money, from pending to paid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from tests.api.shop import Shop

from colink.application.payout_rails import PayoutInstruction
from colink.cli.shopify_traffic import Item, RefundedItem
from colink.domain.payout_accounts import Rail
from colink.domain.payouts import ProviderOutcome, ProviderReport

pytestmark = pytest.mark.anyio

TSHIRT = Item(line_id=11, title="T-shirt", price="59.90", quantity=2, product_id=71, variant_id=81, sku="TS-M")
MUG = Item(line_id=12, title="Mug", price="22.50", product_id=72, variant_id=82, sku="MUG")


def myr(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": "MYR"}


@dataclass
class Sale:
    """An order of 119.80 and 22.50 with 8.00 shipping, by a creator's link; fee 5 %, commission 10 %."""

    shop: Shop
    organization: Any
    store: Any
    product: Any
    creator: Any
    campaign: Any
    rule: Any
    link: Any
    click_id: str
    order_id: str

    @property
    def line_product(self) -> str:
        return str(self.product["id"])

    async def order(self, **asked: Any) -> Any:
        (order,) = (await self.shop.get("/v1/orders", store_id=self.store["id"], external_id="4507", **asked))[
            "items"
        ]
        return order

    async def entries(self, **asked: Any) -> list[Any]:
        return list((await self.shop.get("/v1/ledger/entries", order_id=self.order_id, **asked))["items"])

    async def statuses(self, payee: Any) -> dict[str | None, str]:
        """Of a payee's entries in this order, by line. All entries of a line say the same."""
        found: dict[str | None, set[str]] = {}
        for entry in await self.entries(payee_id=payee["id"]):
            if not entry["account"].endswith(":in_transit"):
                found.setdefault(entry["line_id"], set()).add(entry["status"])
        assert all(len(statuses) == 1 for statuses in found.values())
        return {line: statuses.pop() for line, statuses in found.items()}

    async def balances(self, **asked: Any) -> dict[str, int]:
        items = (await self.shop.get("/v1/balances", **asked))["items"]
        return {item["account"]: item["amount"] for item in items if item["amount"]}


@pytest.fixture
async def sale(shop: Shop) -> Sale:
    organization = await shop.organization()
    store = await shop.store(organization)
    product = await shop.product(store)
    creator = await shop.creator()
    campaign = await shop.campaign(organization)
    rule = await shop.rule(organization)
    link = await shop.link(creator, campaign_id=campaign["id"])
    click_id = await shop.follow(link)
    shop.clock.time += timedelta(hours=1)
    told = await shop.order(store, items=[TSHIRT, MUG], click_id=click_id)
    assert told["status"] == "accepted"
    return Sale(
        shop=shop,
        organization=organization,
        store=store,
        product=product,
        creator=creator,
        campaign=campaign,
        rule=rule,
        link=link,
        click_id=click_id,
        order_id=told["order_id"],
    )


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
    assert payout == {"id": payout["id"], "payee_id": creator["id"], "status": "requested", "amount": myr(1300)}
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
    assert await payout(sale, creator) == 600
    assert await sale.statuses(creator) == {"11": "reversed", "12": "reversed"}
    (entry,) = await entries_of_pending(shop, second, creator)
    assert entry["status"] == "paid"


async def test_money_taken_back_after_its_payout_stays_paid(sale: Sale) -> None:
    shop, creator = sale.shop, sale.creator
    await pay_by(shop, ProviderOutcome.PAID)
    await shop.hold_ends(sale.order_id)
    assert await payout(sale, creator) == 1423
    await refund_all(sale)
    assert await sale.statuses(creator) == {"11": "paid", "12": "paid"}
    assert await sale.balances(payee_id=creator["id"]) == {f"payee:{creator['id']}:available": -1423}
    await another_order(sale, cleared=2000)
    assert await payout(sale, creator) == 577
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


async def refund_all(sale: Sale) -> None:
    everything = [RefundedItem(item=TSHIRT, quantity=2), RefundedItem(item=MUG)]
    await sale.shop.refund(sale.store, items=everything)
    assert (await sale.order())["split"]["creator_commission"] == myr(0)


async def another_order(sale: Sale, *, cleared: int) -> str:
    """The id of an order by the same link that earned the creator `cleared`, its hold at an end."""
    shop = sale.shop
    item = Item(line_id=21, title="Sarong", price=str(cleared // 10), product_id=73, variant_id=83)
    click_id = await shop.follow(sale.link)
    shop.clock.time += timedelta(hours=1)
    told = await shop.order(sale.store, order_id=4508, items=[item], click_id=click_id)
    await shop.hold_ends(told["order_id"])
    return str(told["order_id"])


async def entries_of_pending(shop: Shop, order_id: str, payee: Any) -> list[Any]:
    """What an order earned a payee, as first posted."""
    entries = (await shop.get("/v1/ledger/entries", order_id=order_id, payee_id=payee["id"]))["items"]
    return [entry for entry in entries if entry["kind"] == "sale"]


async def request_payout(sale: Sale, payee: Any) -> Any:
    shop = sale.shop
    account = {"payee_id": payee["id"], "rail": "sandbox", "currency": "MYR", "details": {}}
    await shop.post("/v1/payout-accounts", account)
    return await shop.post("/v1/payouts", {"payee_id": payee["id"], "currency": "MYR"})


async def finish_payout(sale: Sale, requested: Any) -> None:
    shop = sale.shop
    finance = await shop.key("finance")
    await shop.post(f"/v1/payouts/{requested['id']}/approve", key=finance, status=200)
    await shop.colink.payout_desk().run()
    assert (await shop.get(f"/v1/payouts/{requested['id']}"))["status"] == "paid"


async def payout(sale: Sale, payee: Any) -> int:
    """The amount of a payout of all that is available, paid."""
    requested = await request_payout(sale, payee)
    await finish_payout(sale, requested)
    return int(requested["amount"]["amount"])


class CertainRail:
    """A provider that says the same of every payout."""

    def __init__(self, outcome: ProviderOutcome) -> None:
        self._outcome = outcome
        self._known: dict[str, ProviderReport] = {}

    async def submit(self, instruction: PayoutInstruction) -> ProviderReport:
        report = ProviderReport(
            reference=instruction.reference,
            outcome=self._outcome,
            amount=instruction.amount,
            currency=instruction.currency,
            provider_id=f"po_{instruction.reference}",
        )
        self._known[instruction.reference] = report
        return report

    async def find(self, reference: str) -> ProviderReport | None:
        return self._known.get(reference)

    def callback_reference(self, headers: Mapping[str, str], body: bytes) -> str | None:
        return None


async def pay_by(shop: Shop, outcome: ProviderOutcome) -> None:
    shop.colink.rails[Rail.SANDBOX] = CertainRail(outcome)
