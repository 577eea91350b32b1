"""Orders of the business: by click and by coupon, edited, refunded, disputed, held, released, credited by hand."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from tests.api.sale import MUG, TSHIRT, myr
from tests.tampering.business import DAY, Business

from colink.cli.shopify_traffic import Item, RefundedItem, order_body
from colink.domain.ids import order_id

BULK = 8
"""Orders told at once."""


async def sell(business: Business) -> None:
    """By click and by coupon, with refunds before and after their order, an update, and a cancellation."""
    shop, store = business.shop, business.store
    click = await shop.follow(business.link)
    await shop.follow(business.link, agent="Googlebot/2.1")
    await shop.http.get(f"/v1/views/{business.campaign['slug']}.gif?creator={business.creators[0]['handle']}")
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


async def tell_many_orders(business: Business) -> None:
    shop = business.shop
    at = shop.clock.time.isoformat()
    orders = [
        {
            "external_id": f"90{number}",
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


async def deliver_all_kinds(business: Business) -> None:
    """The same news again, news of no interest, and what cannot be used."""
    shop, store = business.shop, business.store
    await shop.order(store, order_id=5, items=[MUG])
    await shop.order(store, order_id=5, items=[MUG])
    await shop.deliver(store, "carts/update", {})
    assert (await shop.deliver(store, "orders/paid", {"id": 6}))["status"] == "rejected"


async def dispute(business: Business) -> None:
    """A chargeback before its order, one that is lost with a fee, an inquiry, one that is won, and a gift card."""
    shop, store = business.shop, business.store
    opened = shop.clock.now()

    async def tell(topic: str, number: int, **changes: Any) -> None:
        told = {
            "id": 70_000 + number,
            "order_id": number,
            "type": "chargeback",
            "amount": "12.50",
            "currency": "MYR",
            "status": "needs_response",
            "finalized_on": None,
            "initiated_at": opened.isoformat(),
        }
        await shop.deliver(store, f"disputes/{topic}", told | changes)

    await tell("create", 20)  # parked
    for number in (20, 21, 22, 23):
        await shop.order(store, order_id=number, items=[MUG], code="AINA")
    shop.clock.time += DAY
    finalized = shop.clock.now().date().isoformat()
    await tell("create", 21)
    await tell("update", 21, status="lost", finalized_on=finalized)
    await tell("create", 22, type="inquiry")
    await tell("create", 23)
    await tell("update", 23, status="won", finalized_on=finalized)
    paid_by_card = {
        "id": 80_005,
        "order_id": 5,
        "kind": "sale",
        "gateway": "gift_card",
        "status": "success",
        "amount": "10.00",
        "currency": "MYR",
        "processed_at": opened.isoformat(),
        "test": False,
    }
    await shop.deliver(store, "order_transactions/create", paid_by_card)


async def decide(business: Business) -> None:
    """What finance decides about orders: a review that goes on, one that ended, another creator, and what a buyer
    who sent everything back was never paid."""
    shop, store = business.shop, business.store
    told = [await shop.order(store, order_id=number, items=[MUG], code="AINA") for number in range(30, 34)]
    held, released, credited, returned = (str(each["order_id"]) for each in told)
    await business.decide(held, "hold", payee_id=business.creators[0]["id"])
    await business.decide(released, "hold")
    await business.decide(released, "release")
    await business.decide(credited, "reattribute", creator_id=business.creators[1]["id"])
    shop.clock.time += timedelta(hours=1)
    everything = [RefundedItem(item=MUG)]
    await shop.refund(store, order_id=33, refund_id=330, items=everything, transaction_status="pending")
    await business.decide(returned, "release", kind="owed_to_buyer")


async def take_back(business: Business) -> None:
    """An order that is reviewed once it has cleared, and money taken back that was paid out already."""
    shop = business.shop
    await business.decide(order_id(business.store["id"], "31"), "hold")
    await shop.refund(business.store, order_id=1, refund_id=11, items=[RefundedItem(item=TSHIRT, quantity=2)])
    await shop.order(business.store, order_id=7, items=[Item(line_id=1, title="Sarong", price="40.00")])
