"""The promise: a seller sees its organisation, a creator what is their own, and what is another's is not there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from tests.api.shop import Shop

from colink.cli.shopify_traffic import Item, order_body

pytestmark = pytest.mark.anyio

TSHIRT = Item(line_id=11, title="T-shirt", price="100.00", product_id=71, variant_id=81, sku="TS-M")


@dataclass
class Party:
    """A seller with one creator of its own, who sold one T-shirt."""

    organization: Any
    store: Any
    product: Any
    creator: Any
    campaign: Any
    rule: Any
    link: Any
    coupon: Any
    order_id: str
    payout: Any
    seller_key: str
    creator_key: str


async def party(shop: Shop, name: str) -> Party:
    organization = await shop.organization(name=name)
    store = await shop.store(organization, domain=f"{name}.example")
    creator = await shop.creator()
    campaign = await shop.campaign(organization)
    link = await shop.link(creator, campaign_id=campaign["id"])
    product, rule, coupon = (
        await shop.product(store),
        await shop.rule(organization),
        await shop.coupon(creator, store),
    )
    told = await shop.order(store, items=[TSHIRT], click_id=await shop.follow(link))
    await shop.hold_ends(told["order_id"])
    for payee in (organization, creator):
        account = {"payee_id": payee["id"], "rail": "sandbox", "currency": "MYR", "details": {}}
        await shop.post("/v1/payout-accounts", account)
    return Party(
        organization=organization,
        store=store,
        product=product,
        creator=creator,
        campaign=campaign,
        rule=rule,
        link=link,
        coupon=coupon,
        order_id=told["order_id"],
        payout=await shop.post("/v1/payouts", {"payee_id": creator["id"], "currency": "MYR"}),
        seller_key=await shop.key("seller", organization_id=organization["id"]),
        creator_key=await shop.key("creator", payee_id=creator["id"]),
    )


@pytest.fixture(scope="module")
async def ours(shared_shop: Shop) -> Party:
    return await party(shared_shop, "ours")


@pytest.fixture(scope="module")
async def theirs(shared_shop: Shop) -> Party:
    return await party(shared_shop, "theirs")


def addresses(owner: Party) -> list[str]:
    return [
        f"/v1/organizations/{owner.organization['id']}",
        f"/v1/stores/{owner.store['id']}",
        f"/v1/products/{owner.product['id']}",
        f"/v1/campaigns/{owner.campaign['id']}",
        f"/v1/commission-rules/{owner.rule['id']}",
        f"/v1/links/{owner.link['id']}",
        f"/v1/links/{owner.link['id']}/qr.svg",
        f"/v1/coupons/{owner.coupon['id']}",
        f"/v1/orders/{owner.order_id}",
        f"/v1/ledger/entries?order_id={owner.order_id}",
        f"/v1/ledger/entries?payee_id={owner.organization['id']}",
        f"/v1/ledger/entries?account=store:{owner.store['id']}:clearing",
        f"/v1/balances?payee_id={owner.organization['id']}",
        f"/v1/balances?account=store:{owner.store['id']}:clearing",
        f"/v1/balances?account=seller:{owner.organization['id']}:receivable",
        f"/v1/balances?account=payee:{owner.organization['id']}:available",
        f"/v1/payouts?payee_id={owner.organization['id']}",
        f"/v1/payout-accounts?payee_id={owner.organization['id']}",
        f"/v1/reports/attribution?organization_id={owner.organization['id']}",
        f"/v1/leaderboards?organization_id={owner.organization['id']}",
        f"/v1/leaderboards?campaign_id={owner.campaign['id']}",
        f"/v1/inbox?store_id={owner.store['id']}",
        f"/v1/stores?organization_id={owner.organization['id']}",
        f"/v1/orders?organization_id={owner.organization['id']}",
    ]


async def test_a_seller_sees_all_of_its_own_and_nothing_of_another(
    shared_shop: Shop, ours: Party, theirs: Party
) -> None:
    for address in addresses(ours):
        answer = await shared_shop.send("GET", address, key=ours.seller_key)
        assert answer.status_code == 200, address
    for address in addresses(theirs):
        answer = await shared_shop.send("GET", address, key=ours.seller_key)
        assert answer.status_code == 404, address
        assert answer.json()["type"] == "urn:colink:problem:not-found"
    for address in ("/v1/balances?account=platform:revenue", f"/v1/payouts/{theirs.payout['id']}"):
        await shared_shop.refused("GET", address, status=404, key=ours.seller_key)


async def test_a_sellers_lists_hold_its_own_only(shared_shop: Shop, ours: Party, theirs: Party) -> None:
    for path, own in (
        ("organizations", ours.organization),
        ("stores", ours.store),
        ("products", ours.product),
        ("campaigns", ours.campaign),
        ("commission-rules", ours.rule),
        ("links", ours.link),
        ("coupons", ours.coupon),
    ):
        assert (await shared_shop.get(f"/v1/{path}", key=ours.seller_key))["items"] == [own]
    orders = (await shared_shop.get("/v1/orders", key=ours.seller_key))["items"]
    assert [order["id"] for order in orders] == [ours.order_id]
    entries = (await shared_shop.get("/v1/ledger/entries", key=ours.seller_key))["items"]
    assert {entry["order_id"] for entry in entries} == {ours.order_id}
    balances = (await shared_shop.get("/v1/balances", key=ours.seller_key))["items"]
    assert {balance["account"]: balance["amount"] for balance in balances} == {
        f"payee:{ours.organization['id']}:pending": 0,
        f"payee:{ours.organization['id']}:available": 9300,
        f"store:{ours.store['id']}:clearing": -10800,
    }
    assert (await shared_shop.get("/v1/payouts", key=ours.seller_key))["items"] == []
    accounts = (await shared_shop.get("/v1/payout-accounts", key=ours.seller_key))["items"]
    assert [account["payee_id"] for account in accounts] == [ours.organization["id"]]


async def test_a_seller_configures_its_own_organization_only(shared_shop: Shop, ours: Party, theirs: Party) -> None:
    org, creator = theirs.organization["id"], ours.creator["id"]
    foreign: list[tuple[str, dict[str, Any]]] = [
        ("stores", {"organization_id": org, "platform": "shopify", "name": "x", "settlement": "platform_collected",
                    "credentials": {"webhook_secrets": ["s"]}}),
        ("products", {"organization_id": org, "store_id": theirs.store["id"], "external_id": "9", "title": "x",
                      "skus": []}),
        ("campaigns", {"organization_id": org, "name": "x", "slug": "x"}),
        ("commission-rules", {"organization_id": org, "scope": "default", "rate_bps": 1}),
        (f"commission-rules/{theirs.rule['id']}/versions", {"rate_bps": 1}),
        ("links", {"creator_id": creator, "campaign_id": theirs.campaign["id"], "destination": "https://x.example"}),
        ("coupons", {"creator_id": creator, "store_id": theirs.store["id"], "code": "x"}),
        ("payout-accounts", {"payee_id": org, "rail": "sandbox", "currency": "MYR", "details": {}}),
        ("payouts", {"payee_id": org, "currency": "MYR"}),
        ("payouts", {"payee_id": creator, "currency": "MYR"}),
        (f"payouts/{theirs.payout['id']}/cancel", {}),
    ]  # fmt: skip
    for path, body in foreign:
        problem = await shared_shop.refused("POST", f"/v1/{path}", body, status=404, key=ours.seller_key)
        assert problem["type"] == "urn:colink:problem:not-found", path
    body = {"organization_id": ours.organization["id"], "name": "x", "slug": "of-the-seller"}
    made = await shared_shop.post("/v1/campaigns", body, key=ours.seller_key)
    assert await shared_shop.get(f"/v1/campaigns/{made['id']}", key=ours.seller_key) == made


async def test_a_creator_sees_what_is_their_own(shared_shop: Shop, ours: Party, theirs: Party) -> None:
    me = ours.creator["id"]
    key = ours.creator_key
    for path, own in (("creators", ours.creator), ("links", ours.link), ("coupons", ours.coupon)):
        assert (await shared_shop.get(f"/v1/{path}", key=key))["items"] == [own]
        assert await shared_shop.get(f"/v1/{path}/{own['id']}", key=key) == own
        other = {"creators": theirs.creator, "links": theirs.link, "coupons": theirs.coupon}[path]
        await shared_shop.refused("GET", f"/v1/{path}/{other['id']}", status=404, key=key)
    entries = (await shared_shop.get("/v1/ledger/entries", key=key))["items"]
    assert {entry["account"].rpartition(":")[0] for entry in entries} == {f"payee:{me}"}
    assert (await shared_shop.get("/v1/ledger/entries", order_id=ours.order_id, key=key))["items"]
    balances = (await shared_shop.get("/v1/balances", key=key))["items"]
    assert {balance["account"]: balance["amount"] for balance in balances} == {
        f"payee:{me}:pending": 0,
        f"payee:{me}:available": 0,
        f"payee:{me}:in_transit": 1000,
    }
    assert (await shared_shop.get("/v1/payouts", key=key))["items"] == [ours.payout]
    assert (await shared_shop.get(f"/v1/payouts/{ours.payout['id']}/entries", key=key))["items"]
    await shared_shop.get("/v1/leaderboards", campaign_id=ours.campaign["id"], key=key)
    for address in (
        f"/v1/orders/{theirs.order_id}",
        f"/v1/ledger/entries?order_id={theirs.order_id}",
        f"/v1/ledger/entries?payee_id={ours.organization['id']}",
        f"/v1/balances?payee_id={ours.organization['id']}",
        f"/v1/balances?account=store:{ours.store['id']}:clearing",
        "/v1/balances?account=platform:revenue",
        f"/v1/payouts/{theirs.payout['id']}",
        f"/v1/payouts/{theirs.payout['id']}/entries",
        f"/v1/links?creator_id={theirs.creator['id']}",
        f"/v1/leaderboards?campaign_id={theirs.campaign['id']}",
    ):
        await shared_shop.refused("GET", address, status=404, key=key)


async def test_a_creator_sees_their_commission_and_no_number_of_the_sellers(shared_shop: Shop, ours: Party) -> None:
    (order,) = (await shared_shop.get("/v1/orders", key=ours.creator_key))["items"]
    assert order == await shared_shop.get(f"/v1/orders/{ours.order_id}", key=ours.creator_key)
    money = {"amount": 1000, "currency": "MYR"}
    assert order["split"] == {"creator_commission": money}
    (line,) = order["lines"]
    assert line["creator_commission"] == money
    assert line.keys() == {"line_id", "product_id", "sku_id", "quantity", "rule", "creator_commission"}
    hidden = {"subtotal", "refunded", "collected", "cash_refunded", "discrepancies"}
    assert order.keys() & hidden == set()
    assert [candidate["creator_id"] for candidate in order["attribution"]["candidates"]] == [ours.creator["id"]]


async def test_a_creator_acts_for_nobody_else(shared_shop: Shop, ours: Party, theirs: Party) -> None:
    key, other = ours.creator_key, theirs.creator["id"]
    for path, body in (
        ("links", {"creator_id": other, "destination": "https://x.example"}),
        ("payouts", {"payee_id": other, "currency": "MYR"}),
        ("payout-accounts", {"payee_id": other, "rail": "sandbox", "currency": "MYR", "details": {}}),
        (f"payouts/{theirs.payout['id']}/cancel", {}),
    ):
        await shared_shop.refused("POST", f"/v1/{path}", body, status=404, key=key)
    link = await shared_shop.post(
        "/v1/links", {"creator_id": ours.creator["id"], "destination": "https://x.example"}, key=key
    )
    assert await shared_shop.get(f"/v1/links/{link['id']}", key=key) == link
    await shared_shop.refused("GET", f"/v1/links/{link['id']}", status=404, key=ours.seller_key)


async def test_finance_and_auditors_see_everything(shared_shop: Shop, ours: Party, theirs: Party) -> None:
    for role in ("finance", "auditor"):
        key = await shared_shop.key(role)
        for owner in (ours, theirs):
            for address in addresses(owner):
                answer = await shared_shop.send("GET", address, key=key)
                assert answer.status_code == 200, address


async def test_a_seller_key_makes_no_money_that_can_be_paid_out(shop: Shop) -> None:
    """Who holds the webhook secret can tell of sales that never were, and a short hold pays before anybody looks."""
    organization = await shop.organization()
    org = organization["id"]
    key = await shop.key("seller", organization_id=org)
    store = {
        "organization_id": org,
        "platform": "shopify",
        "name": "Own",
        "settlement": "platform_collected",
        "credentials": {"webhook_secrets": ["s"]},
    }
    problem = await shop.refused("POST", "/v1/stores", store, status=403, key=key)
    assert (problem["type"], problem["field"]) == ("urn:colink:problem:forbidden", "settlement")
    assert "ask the operator" in problem["detail"]
    assert (await shop.get("/v1/stores", organization_id=org))["items"] == []
    own = await shop.post("/v1/stores", store | {"settlement": "seller_collected"}, key=key)
    assert own["settlement"] == "seller_collected"

    campaign = {"organization_id": org, "name": "Fast"}
    assert organization["hold_days"] == 14
    for days in (0, 13):
        body = campaign | {"slug": f"hold-{days}", "hold_days": days}
        problem = await shop.refused("POST", "/v1/campaigns", body, status=403, key=key)
        assert (problem["type"], problem["field"]) == ("urn:colink:problem:forbidden", "hold_days")
        assert (await shop.post("/v1/campaigns", body))["hold_days"] == days  # the operator may
    for days in (14, 30):
        made = await shop.post("/v1/campaigns", campaign | {"slug": f"h{days}", "hold_days": days}, key=key)
        assert made["hold_days"] == days
    body = campaign | {"slug": "hold-366", "hold_days": 366}
    assert (await shop.refused("POST", "/v1/campaigns", body, status=422, key=key))["field"] == "hold_days"


async def test_a_seller_connects_no_store_whose_creators_are_paid_in_advance(shop: Shop) -> None:
    organization = await shop.organization(advance=True)
    key = await shop.key("seller", organization_id=organization["id"])
    store = {
        "organization_id": organization["id"],
        "platform": "shopify",
        "name": "x",
        "settlement": "seller_collected",
        "credentials": {"webhook_secrets": ["s"]},
    }
    problem = await shop.refused("POST", "/v1/stores", store, key=key, status=403)
    assert problem["field"] == "organization_id"
    await shop.post("/v1/stores", store)


async def test_a_seller_does_not_learn_of_touches_on_other_sellers_links(shop: Shop) -> None:
    """An order carries the click ids of all links its buyer followed. Also where something else bars the touch first:
    crawlers are set aside before anybody asks whose link they followed."""
    ours, theirs = await party(shop, "ours"), await party(shop, "theirs")
    foreign = await shop.follow(theirs.link)
    crawled = await shop.follow(theirs.link, agent="Googlebot/2.1 (+http://www.google.com/bot.html)")
    elsewhere = await shop.link(theirs.creator, destination="https://elsewhere.example/")
    other = await shop.follow(elsewhere)
    own = await shop.follow(ours.link)
    shop.clock.time += timedelta(minutes=1)
    body = order_body(order_id=4600, number=1100, currency="MYR", placed_at=shop.clock.now(), items=[TSHIRT])
    clicks = [{"name": "colink_ref", "value": click} for click in (foreign, crawled, other, own)]
    told = await shop.deliver(ours.store, "orders/paid", body | {"note_attributes": clicks})

    order = await shop.get(f"/v1/orders/{told['order_id']}")
    reasons = {each["touch_id"]: each["reason"] for each in order["attribution"]["candidates"]}
    expected = {foreign: "other_organization", crawled: "bot", other: "other_store", own: "winner"}
    assert {click: reasons[click] for click in expected} == expected
    seen = await shop.get(f"/v1/orders/{told['order_id']}", key=ours.seller_key)
    assert {each["creator_id"] for each in seen["attribution"]["candidates"]} == {ours.creator["id"]}
    assert own in {each["touch_id"] for each in seen["attribution"]["candidates"]}
    logged = (await shop.get("/v1/events", key=ours.seller_key, limit=200))["items"]
    (decided,) = [
        event["payload"]["attribution"]
        for event in logged
        if event["stream_id"] == told["order_id"] and event["type"] == "order.attributed"
    ]
    assert [each["touch_id"] for each in decided["candidates"]] == [
        each["touch_id"] for each in seen["attribution"]["candidates"]
    ]
    assert theirs.creator["id"] not in str(decided)
