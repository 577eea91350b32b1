"""Promise: a rate cut does not touch orders already placed, however late they are paid or told of.
Semantics section 4.

Between an order and its payment a seller sees it; were the rate of then read only when it is paid, the seller could
cut what its creator earned.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.api.sale import MUG, myr
from tests.api.shop import Shop

from colink.domain.money import share_of
from colink.projections.audit import verify

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("notice_days", [0, 30])
async def test_who_sees_an_order_before_it_is_paid_cannot_cut_its_commission(shop: Shop, notice_days: int) -> None:
    organization = await shop.organization()
    store, creator = await shop.store(organization), await shop.creator()
    campaign = await shop.campaign(organization, notice_days=notice_days)
    seller = await shop.key("seller", organization_id=organization["id"])
    rule = {"organization_id": organization["id"], "scope": "campaign", "target_id": campaign["id"]}
    promised = await shop.post("/v1/commission-rules", rule | {"rate_bps": 2000}, key=seller)
    coupon = await shop.coupon(creator, store, campaign_id=campaign["id"])
    shop.clock.time += HOUR
    ordered = {"order_id": 1, "items": [MUG], "code": coupon["code"], "placed_at": shop.clock.time}
    await shop.order(store, **ordered, status="pending", total_outstanding=MUG.total)
    shop.clock.time += HOUR
    own = rule | {"creator_id": creator["id"], "rate_bps": 1}
    cut = await shop.post("/v1/commission-rules", own, key=seller)
    shop.clock.time += HOUR
    await shop.order(store, **ordered, updated_at=shop.clock.time)
    await shop.order(store, **ordered | {"order_id": 2, "placed_at": shop.clock.time})
    for number, serving in ((1, promised), (2, cut if notice_days == 0 else promised)):
        [order] = (await shop.get("/v1/orders", store_id=store["id"], external_id=str(number)))["items"]
        assert order["lines"][0]["rule"]["id"] == serving["id"]
        commission = share_of(order["subtotal"]["amount"], rate_bps=serving["rate_bps"])
        assert order["split"]["creator_commission"] == myr(commission)
    async with shop.colink.pool.connection() as connection:
        assert (await verify(connection, shop.colink.decode)).findings == []
