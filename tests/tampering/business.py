"""The business that is tampered with: who is in it, and what one does in it again and again. Its life is in life.py.

All of it over HTTP, as the outside does it, and by the worker's own jobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tests.api.sale import myr
from tests.api.shop import Shop

DAY = timedelta(days=1)


@dataclass
class Business:
    """A shop whose money we collect, its two creators, and finance: who asks, and who approves."""

    shop: Shop
    organization: Any
    store: Any
    creators: tuple[Any, Any]
    campaign: Any
    link: Any
    finance: str
    checker: str

    async def request(self, payee: Any, amount: int | None = None) -> Any:
        """A payout."""
        body: dict[str, Any] = {"payee_id": payee["id"], "currency": "MYR"}
        if amount is not None:
            body["amount"] = myr(amount)
        return await self.shop.post("/v1/payouts", body)

    async def step(self, payout: Any, step: str, **body: Any) -> None:
        path = f"/v1/payouts/{payout['id']}/{step}"
        await self.shop.post(path, body or None, key=self.finance, status=200)

    async def decide(self, order_id: str, what: str, **body: Any) -> None:
        """About an order."""
        decision = {"reason": "as agreed"} | body
        await self.shop.post(f"/v1/orders/{order_id}/{what}", decision, key=self.finance, status=200)

    async def propose(self, path: str, **body: Any) -> Any:
        """A journal by hand."""
        return await self.shop.post(path, {"reason": "as agreed"} | body, key=self.finance)

    async def approve(self, proposed: Any) -> Any:
        return await self.shop.post(f"/v1/journals/{proposed['id']}/approve", key=self.checker, status=200)


async def open_business(shop: Shop) -> Business:
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
    for payee in (*creators, organization):
        account = {"payee_id": payee["id"], "rail": "sandbox", "currency": "MYR", "details": {}}
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
        campaign=campaign,
        link=link,
        finance=await shop.key("finance"),
        checker=await shop.key("finance"),
    )
