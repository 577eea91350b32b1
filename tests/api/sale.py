"""An order with money in it, and what there is to see and to pay of it: what `sale` of the fixtures gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tests.api.shop import Shop

from colink.application.payout_rails import PayoutInstruction
from colink.cli.shopify_traffic import Item, RefundedItem
from colink.domain.payout_accounts import Rail
from colink.domain.payouts import ProviderOutcome, ProviderReport

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


async def make_sale(shop: Shop) -> Sale:
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


async def pay_out(sale: Sale, payee: Any) -> int:
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
