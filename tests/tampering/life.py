"""The life of the business: every kind of event, journal, row and seal comes of it, and all of it verifies.

A new kind of event or journal that does not happen here fails test_events.py, a new table that stays empty
test_columns.py: what makes it happen belongs into a chapter.
"""

from __future__ import annotations

from tests.api.sale import MUG
from tests.api.shop import Shop
from tests.tampering import money, sellers, trade
from tests.tampering.business import Business, open_business


async def live(shop: Shop) -> None:
    business = await open_business(shop)
    seller = await sellers.open_seller(business)
    await trade.sell(business)
    await trade.tell_many_orders(business)
    await trade.deliver_all_kinds(business)
    await trade.dispute(business)
    await trade.decide(business)
    await sellers.sell_in_march(seller)
    await money.clear(business)
    await money.pay_out(business)
    await money.pay_out_with_tax(business)
    await trade.take_back(business)
    await money.settle(business)
    await sellers.count_and_bill(seller)
    await sellers.open_an_old_account(business)
    await money.keep_books(business)
    await money.close_march(business)
    await erase(business)
    await end_a_key(business)
    await shop.colink.engine.run_until_caught_up()
    while await shop.colink.seal():
        pass


async def erase(business: Business) -> None:
    """A creator who earned something elsewhere, and a buyer who buys again, and is erased again."""
    shop = business.shop
    [dewi] = (await shop.post("/v1/people/find", {"email": "dewi@people.example"}, status=200))["items"]
    await shop.post(f"/v1/people/{dewi['person_id']}/erase", {"reason": "request 17"}, status=200)
    for number in (50, 51):
        await shop.order(business.store, order_id=number, items=[MUG], email="shopper@people.example")
        [buyer] = (await shop.post("/v1/people/find", {"email": "shopper@people.example"}, status=200))["items"]
        await shop.post(f"/v1/people/{buyer['person_id']}/erase", {"reason": "request 18"}, status=200)


async def end_a_key(business: Business) -> None:
    """A clerk leaves."""
    body = {"role": "finance", "name": "desk 2", "expires_at": "2030-01-01T00:00:00Z"}
    key = await business.shop.post("/v1/keys", body)
    await business.shop.post(f"/v1/keys/{key['id']}/revoke", {"reason": "left us"}, status=200)
