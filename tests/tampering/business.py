"""A business that has been through much: every kind of row and seal is there, and all of it verifies.

Set up and lived over HTTP, as the outside does it. A new table that stays empty here fails the test that walks over
all columns: what fills it belongs in here. Not every kind of event is there: those are changed one by one in
test_events.py, in a log of examples.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tests.api.sale import MUG, TSHIRT, CertainRail, myr
from tests.api.shop import Shop

from colink.cli.shopify_traffic import Item, RefundedItem, order_body
from colink.domain.payout_accounts import Rail
from colink.domain.payouts import ProviderOutcome

DAY = timedelta(days=1)
BULK = 60
"""Orders told at once: enough events for a whole subtree of the seal's tree (2^8 leaves)."""


@dataclass
class Business:
    shop: Shop
    organization: Any
    store: Any
    creators: tuple[Any, Any]
    link: Any
    finance: str


async def a_business(shop: Shop) -> Business:
    business = await _set_up(shop)
    await _sell(business)
    await _many_orders(business)
    await _deliveries_of_all_kinds(business)
    await _clear(business)
    await _pay_out(business)
    await _after_the_payouts(business)
    await shop.colink.engine.run_until_caught_up()
    while await shop.colink.seal():
        pass
    return business


async def _set_up(shop: Shop) -> Business:
    organization = await shop.organization(timezone="Asia/Kuala_Lumpur")
    other = await shop.organization(name="Toko", hold_days=0)
    store = await shop.store(organization, payment_fee={"rate_bps": 290, "fixed": myr(30)})
    await shop.store(other, name="Toko online", domain="toko.example", settlement="seller_collected")
    for title in ("T-shirt", "T-shirt, washed"):  # recorded, then changed
        await shop.product(store, title=title)
    creators = (await shop.creator(email="aina@people.example"), await shop.creator())
    campaign = await shop.campaign(organization)
    rule = await shop.rule(organization)
    await shop.post(f"/v1/commission-rules/{rule['id']}/versions", {"rate_bps": 1_200})
    await shop.rule(organization, scope="product", target_id=(await shop.product(store))["id"], fixed=myr(300))
    link = await shop.link(creators[0], campaign_id=campaign["id"])
    for creator, code in zip(creators, ("AINA", "BUDI"), strict=True):
        await shop.coupon(creator, store, code=code)
        account = {"payee_id": creator["id"], "rail": "sandbox", "currency": "MYR", "details": {}}
        await shop.post("/v1/payout-accounts", account)
        await shop.post("/v1/payout-accounts", account | {"details": {"delay_ms": 1}, "minimum": myr(100)})
    await shop.send(
        "POST", "/v1/organizations", {"name": "Once", "platform_fee_bps": 1}, headers={"Idempotency-Key": "once"}
    )
    return Business(
        shop=shop,
        organization=organization,
        store=store,
        creators=creators,
        link=link,
        finance=await shop.key("finance"),
    )


async def _sell(business: Business) -> None:
    """By click and by coupon, with refunds before and after their order, an update, and a cancellation."""
    shop, store = business.shop, business.store
    click = await shop.follow(business.link)
    await shop.follow(business.link, agent="Googlebot/2.1")
    await shop.http.get(f"/v1/views/raya-{3}.gif?creator={business.creators[0]['handle']}")
    shop.clock.time += timedelta(hours=1)
    await shop.order(store, order_id=1, items=[TSHIRT, MUG], click_id=click)
    await shop.order(store, order_id=2, items=[TSHIRT], code="BUDI", email="shopper@people.example")
    await shop.refund(store, order_id=3, refund_id=30, items=[RefundedItem(item=MUG)])  # parked
    await shop.order(store, order_id=3, items=[TSHIRT, MUG], code="AINA")
    shop.clock.time += DAY
    await shop.refund(store, order_id=1, refund_id=10, items=[RefundedItem(item=MUG)])
    placed = shop.clock.time - DAY
    fields: dict[str, Any] = {"number": 1042, "currency": "MYR", "placed_at": placed, "updated_at": shop.clock.time}
    edited = order_body(order_id=2, items=[TSHIRT, MUG], code="BUDI", **fields)
    await shop.deliver(store, "orders/updated", edited)
    cancelled = order_body(order_id=3, items=[TSHIRT, MUG], code="AINA", cancelled_at=shop.clock.time, **fields)
    await shop.deliver(store, "orders/cancelled", cancelled)


async def _many_orders(business: Business) -> None:
    shop = business.shop
    at = shop.clock.time.isoformat()
    orders = [
        {
            "external_id": f"9{number:03}",
            "number": f"#{number}",
            "currency": "MYR",
            "placed_at": at,
            "updated_at": at,
            "status": "paid",
            "lines": [{"line_id": "1", "quantity": 1, "base": myr(1_000 + number), "product_external_id": "7"}],
            "total_price": myr(1_000 + number),
            "keys": {"coupons": [{"code": ("AINA", "BUDI")[number % 2], "discount": myr(10)}]},
        }
        for number in range(BULK)
    ]
    body = json.dumps({"store_id": business.store["id"], "orders": orders}).encode()
    answer = await shop.send("POST", "/v1/orders/bulk", content=body)
    assert answer.status_code == 200, answer.text


async def _deliveries_of_all_kinds(business: Business) -> None:
    """The same news again, news of no interest, and what cannot be used."""
    shop, store = business.shop, business.store
    await shop.order(store, order_id=5, items=[MUG])
    await shop.order(store, order_id=5, items=[MUG])
    await shop.deliver(store, "carts/update", {})
    assert (await shop.deliver(store, "orders/paid", {"id": 6}))["status"] == "rejected"


async def _clear(business: Business) -> None:
    shop = business.shop
    async with shop.colink.pool.connection() as connection:
        cursor = await connection.execute("select order_id from colink.orders where clears_at is not null order by 1")
        orders = [str(order_id) for (order_id,) in await cursor.fetchall()]
    shop.clock.time += 24 * DAY
    for order_id in orders:
        await shop.hold_ends(order_id, after=timedelta(seconds=1))


async def _pay_out(business: Business) -> None:
    """One payout for every way it may end, and one that is under way."""
    shop = business.shop
    for number, (outcome, creator) in enumerate(
        (outcome, creator)
        for outcome in (ProviderOutcome.PAID, ProviderOutcome.RETURNED, ProviderOutcome.FAILED)
        for creator in business.creators
    ):
        shop.colink.rails[Rail.SANDBOX] = CertainRail(outcome)
        payout = await _request(business, creator, 100 + number)
        await _step(business, payout, "approve")
        await shop.colink.payout_desk().advance()
    first = business.creators[0]
    held = await _request(business, first, 110)
    await _step(business, held, "hold", reason="who is this")
    await _step(business, held, "release")
    await _step(business, held, "reject", reason="nobody")
    cancelled = await _request(business, first, 120)
    await _step(business, cancelled, "cancel")
    await _request(business, first, 130)


async def _request(business: Business, payee: Any, amount: int) -> Any:
    body = {"payee_id": payee["id"], "currency": "MYR", "amount": myr(amount)}
    return await business.shop.post("/v1/payouts", body)


async def _step(business: Business, payout: Any, step: str, **body: Any) -> None:
    path = f"/v1/payouts/{payout['id']}/{step}"
    await business.shop.post(path, body or None, key=business.finance, status=200)


async def _after_the_payouts(business: Business) -> None:
    """Money taken back that was paid out already."""
    shop = business.shop
    await shop.refund(business.store, order_id=1, refund_id=11, items=[RefundedItem(item=TSHIRT, quantity=2)])
    await shop.order(business.store, order_id=7, items=[Item(line_id=1, title="Sarong", price="40.00")])
