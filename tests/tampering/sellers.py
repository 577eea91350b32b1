"""A seller who collects the money himself, with rules that count by the month: tiers, caps, true-ups, bills."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.api.sale import myr
from tests.api.test_tiers import steps
from tests.tampering.business import DAY, Business

from colink.application.seller_accounts import SellerAccounts
from colink.application.seller_settlement import SettlementDesk
from colink.application.tier_job import tier_job
from colink.application.true_up_job import true_up_job
from colink.cli.shopify_traffic import Item, RefundedItem
from colink.domain.ledger import seller_receivable
from colink.projections.seller_billing import SettlementTables
from colink.projections.tier_queue import TierTables
from colink.projections.true_ups import TrueUpTables

APRIL = datetime(2026, 3, 31, 16, tzinfo=UTC)  # midnight in Kuala Lumpur


@dataclass
class Seller:
    """`links` of three creators: the rules of the first and last have marginal tiers, that of the second whole ones
    and a cap."""

    business: Business
    organization: Any
    store: Any
    links: tuple[Any, Any, Any]

    async def order(self, order_id: int, price: str, link: Any) -> str:
        shop = self.business.shop
        click = await shop.follow(link)
        shop.clock.time += timedelta(minutes=1)
        told = await shop.order(self.store, order_id=order_id, items=[_item(order_id, price)], click_id=click)
        return str(told["order_id"])

    async def pay(self, minor: int, reference: str) -> Any:
        payment = {
            "organization_id": self.organization["id"],
            "amount": myr(minor),
            "reference": reference,
            "received_at": self.business.shop.clock.now().isoformat(),
        }
        return await self.business.shop.post("/v1/seller-payments", payment, key=self.business.finance)

    async def bounce(self, payment: Any) -> None:
        told = {"reason": "refer to drawer", "returned_at": self.business.shop.clock.now().isoformat()}
        path = f"/v1/seller-payments/{payment['id']}/return"
        await self.business.shop.post(path, told, key=self.business.finance, status=200)

    async def work(self) -> None:
        """What the worker does about it."""
        colink = self.business.shop.colink
        await tier_job(colink.commerce, TierTables(colink.pool), colink.clock)()
        true_up = true_up_job(colink.commerce, TrueUpTables(colink.pool), colink.clock)
        desk = SettlementDesk(colink.commerce, SettlementTables(colink.pool))
        while True:
            await colink.engine.catch_up("true_ups")
            if not await true_up() + await desk.run():
                break


async def open_seller(business: Business) -> Seller:
    shop = business.shop
    organization = await shop.organization(name="Gerai", timezone="Asia/Kuala_Lumpur")
    store = await shop.store(organization, name="Gerai", domain="gerai.example", settlement="seller_collected")
    creators = (await shop.creator(), await shop.creator(email="dewi@people.example"), await shop.creator())
    marginal = {"mode": "marginal", "steps": steps((100_00, 1_000))}
    whole = {"mode": "whole", "steps": steps((100_00, 2_000))}
    for creator in (creators[0], creators[2]):
        await shop.rule(organization, creator_id=creator["id"], rate_bps=500, tiers=marginal)
    await shop.rule(
        organization,
        creator_id=creators[1]["id"],
        rate_bps=1_000,
        tiers=whole,
        cap_per_order=myr(60_00),
        cap_per_day=myr(50_00),
        cap_per_month=myr(55_00),
    )
    goes_to = {"destination": "https://gerai.example/sarong"}
    first, second, third = [await shop.link(creator, **goes_to) for creator in creators]
    return Seller(business=business, organization=organization, store=store, links=(first, second, third))


async def sell_in_march(seller: Seller) -> None:
    first, second, third = seller.links
    await seller.order(1, "300.00", first)
    await seller.order(6, "250.00", third)
    await seller.order(2, "400.00", second)
    await seller.order(3, "200.00", second)
    seller.business.shop.clock.time += DAY
    await seller.order(4, "150.00", second)


async def count_and_bill(seller: Seller) -> None:
    """March is over: counted, one true-up released, billed, paid but for a part; then refunded, counted again,
    cleared as it is due, and the last true-up covered by what was paid by then. That bounces, and is paid again."""
    shop, finance = seller.business.shop, seller.business.finance
    shop.clock.time = APRIL + timedelta(hours=1)
    await seller.work()
    async with shop.colink.pool.connection() as connection:
        cursor = await connection.execute(
            "select stream_id from colink.events where topic = 'true_up.counted' and strpos(stream_id, %s) > 0",
            [seller.links[0]["creator_id"]],
        )
        [(held,)] = await cursor.fetchall()
    await shop.post(f"/v1/true-ups/{held}/release", {"reason": "paid by hand"}, key=finance, status=200)
    bill = {"organization_id": seller.organization["id"], "currency": "MYR", "period": "2026-03"}
    await shop.post("/v1/seller-invoices", bill, key=finance)
    await seller.pay(60_00, "MBB-1")
    await seller.work()
    shop.clock.time += DAY
    await seller.order(5, "80.00", seller.links[1])  # by April's rate
    await shop.refund(seller.store, order_id=2, refund_id=200, items=[RefundedItem(item=_item(2, "400.00"))])
    await seller.work()
    shop.clock.time += 15 * DAY
    await seller.work()
    paid = await seller.pay(90_00, "MBB-2")
    await seller.work()
    await seller.bounce(paid)
    await seller.work()
    await seller.pay(90_00, "MBB-3")
    await seller.work()


async def open_an_old_account(business: Business) -> None:
    """Of a seller whose debt was given up in part when accounts did not know of that yet; then the worker comes."""
    shop = business.shop
    organization = await shop.organization(name="Warung")
    store = await shop.store(organization, domain="warung.example", settlement="seller_collected")
    await shop.order(store, order_id=1, items=[_item(1, "90.00")])
    with pytest.MonkeyPatch.context() as before:
        before.setattr(SellerAccounts, "book", lambda *_: None)
        given_up = {"account": seller_receivable(organization["id"]), "amount": myr(100)}
        await business.approve(await business.propose("/v1/write-offs", **given_up))
    desk = SettlementDesk(shop.colink.commerce, SettlementTables(shop.colink.pool))
    assert await desk.adopt() == 1


def _item(number: int, price: str) -> Item:
    return Item(line_id=number, title="Sarong", price=price, product_id=71, variant_id=81)
