"""A seller who collects the money himself, finance and the worker's desk, over HTTP and on a real database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tests.api.sale import MUG, TSHIRT, myr
from tests.api.shop import Shop

from colink.application.seller_billing import SettlementDesk
from colink.domain.audit.report import Finding, Report
from colink.projections.audit import verify
from colink.projections.seller_billing import SettlementTables

OWED = 712 + 1423  # for an order of a T-shirt twice and a mug: fee 5 %, commission 10 %


@dataclass
class Seller:
    """A shop that collects the money itself, and finance at work."""

    shop: Shop
    finance: str
    organization: Any
    store: Any
    creator: Any
    link: Any

    async def order(self, number: int, **details: Any) -> str:
        click_id = await self.shop.follow(self.link)
        self.shop.clock.time += timedelta(minutes=1)
        items = details.pop("items", [TSHIRT, MUG])
        told = await self.shop.order(self.store, order_id=number, items=items, click_id=click_id, **details)
        return str(told["order_id"])

    async def pay(self, minor: int, reference: str, *, status: int = 201, **named: Any) -> Any:
        body = {
            "organization_id": self.organization["id"],
            "amount": myr(minor),
            "reference": reference,
            "received_at": self.shop.clock.now().isoformat(),
        }
        return await self.shop.post("/v1/seller-payments", body | named, key=self.finance, status=status)

    async def settle(self) -> int:
        """As the worker does; in how many steps."""
        desk = SettlementDesk(self.shop.colink.commerce, SettlementTables(self.shop.colink.pool))
        steps = 0
        while await desk.run():
            steps += 1
        return steps

    async def adopt(self) -> int:
        desk = SettlementDesk(self.shop.colink.commerce, SettlementTables(self.shop.colink.pool))
        return await desk.adopt()

    async def settled(self, order_ids: Sequence[str]) -> list[int]:
        orders = await self.shop.colink.orders(order_ids)
        return [orders[order_id].decisions.settled for order_id in order_ids]

    async def credit(self) -> int:
        [account] = (await self.shop.get("/v1/seller-accounts", organization_id=self.organization["id"]))["items"]
        return int(account["credit"]["amount"])

    async def owed(self) -> int:
        account = f"seller:{self.organization['id']}:receivable"
        items = (await self.shop.get("/v1/balances", account=account))["items"]
        return -sum(item["amount"] for item in items)

    async def earned(self) -> dict[str, int]:
        items = (await self.shop.get("/v1/balances", payee_id=self.creator["id"]))["items"]
        return {item["account"].rpartition(":")[2]: item["amount"] for item in items if item["amount"]}

    async def invoice(self, *, status: int = 201, **body: Any) -> Any:
        asked = {"organization_id": self.organization["id"], "currency": "MYR"} | body
        return await self.shop.post("/v1/seller-invoices", asked, key=self.finance, status=status)

    async def book(self, amount: int, *, against: str = "platform:revenue", **more: Any) -> Any:
        """A journal by hand on what he owes: less (above zero) or more."""
        account = f"seller:{self.organization['id']}:receivable"
        postings = [
            {"account": name, "amount": minor, "currency": "MYR"}
            for name, minor in ((account, amount), (against, -amount))
        ]
        return await self._approved("/v1/journals", {"postings": postings} | more)

    async def write_off(self, amount: int) -> Any:
        account = f"seller:{self.organization['id']}:receivable"
        return await self._approved("/v1/write-offs", {"account": account, "amount": myr(amount)})

    async def _approved(self, path: str, body: dict[str, Any]) -> Any:
        proposed = await self.shop.post(path, {"reason": "as agreed"} | body, key=self.finance)
        checker = await self.shop.key("finance")
        return await self.shop.post(f"/v1/journals/{proposed['id']}/approve", key=checker, status=200)

    async def report(self) -> Report:
        await self.shop.colink.engine.run_until_caught_up()
        async with self.shop.colink.pool.connection() as conn:
            return await verify(conn, self.shop.colink.decode)

    async def findings(self) -> list[Finding]:
        """Of the verification, after the invariant of seller_accounts.py was looked at with other eyes."""
        async with self.shop.colink.pool.connection() as conn:
            cursor = await conn.execute(
                "SELECT order_id FROM colink.orders WHERE organization_id = %s", (self.organization["id"],)
            )
            order_ids = [order_id for (order_id,) in await cursor.fetchall()]
        orders = await self.shop.colink.orders(order_ids)
        unsettled = sum(orders[order_id].unsettled for order_id in order_ids)
        items = (await self.shop.get("/v1/seller-accounts", organization_id=self.organization["id"]))["items"]
        credit = sum(item["credit"]["amount"] for item in items)
        assert -await self.owed() == credit - unsettled
        return (await self.report()).findings


async def make_seller(
    shop: Shop, *, rule: dict[str, Any] | None = None, domain: str = "kedai.example", **organization: Any
) -> Seller:
    """Whose creator earns 10 % of what is sold, where `rule` does not say otherwise."""
    made = await shop.organization(**organization)
    store = await shop.store(made, settlement="seller_collected", domain=domain)
    creator = await shop.creator()
    await shop.rule(made, **{name: value for name, value in (rule or {}).items() if value is not None})
    campaign = await shop.campaign(made)
    link = await shop.link(creator, campaign_id=campaign["id"])
    return Seller(
        shop=shop, finance=await shop.key("finance"), organization=made, store=store, creator=creator, link=link
    )
