"""A seller who collects the money himself, finance and the worker's desk, over HTTP and on a real database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.api.sale import MUG, TSHIRT, myr
from tests.api.shop import Shop
from tests.api.test_tiers import steps

from colink.adapters.postgres import migrations
from colink.application import seller_accounts, true_ups
from colink.application.seller_settlement import SettlementDesk
from colink.application.true_up_job import true_up_job
from colink.cli.shopify_traffic import Item, order_body
from colink.domain import orders
from colink.domain.audit.report import Finding, Report
from colink.domain.revenue import split_order
from colink.domain.seller_accounts import SellerAccount
from colink.domain.split import Split
from colink.domain.value import replace
from colink.projections.audit import verify
from colink.projections.audit.verify import Effort
from colink.projections.seller_billing import SettlementTables
from colink.projections.true_ups import TrueUpTables

MARCH = datetime(2026, 3, 10, 4, tzinfo=UTC)
MARCH_ENDS = datetime(2026, 3, 31, 16, tzinfo=UTC)  # midnight in Kuala Lumpur
HOLD = timedelta(days=14)

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

    async def with_another_creator(self) -> Seller:
        """The same seller, whose orders are credited to somebody else."""
        friend = await self.shop.creator()
        link = await self.shop.link(friend, campaign_id=self.link["campaign_id"])
        known = {name: value for name, value in vars(self).items() if name not in {"creator", "link"}}
        return Seller(**known, creator=friend, link=link)

    async def cash(self) -> int:
        """What he paid, and was not returned."""
        items = (await self.shop.get("/v1/balances", account="processor:bank:cash"))["items"]
        return -sum(item["amount"] for item in items)

    async def pay(self, minor: int, reference: str, *, status: int = 201, **named: Any) -> Any:
        body = {
            "organization_id": self.organization["id"],
            "amount": myr(minor),
            "reference": reference,
            "received_at": self.shop.clock.now().isoformat(),
        }
        return await self.shop.post("/v1/seller-payments", body | named, key=self.finance, status=status)

    async def bounce(self, paid: Any, *, status: int = 200, **told: Any) -> Any:
        """The bank takes a payment back, now, unless told otherwise."""
        body = {"reason": "bounced", "returned_at": self.shop.clock.now().isoformat()} | told
        return await self.shop.post(f"/v1/seller-payments/{paid['id']}/return", body, key=self.finance, status=status)

    async def edit(self, number: int, **details: Any) -> None:
        """The order is told again, with other items."""
        fields = {"number": 1042, "currency": "MYR", "shipping": "8.00", "updated_at": self.shop.clock.now()}
        body = order_body(order_id=number, placed_at=self.shop.clock.now() - timedelta(days=15), **(fields | details))
        await self.shop.deliver(self.store, "orders/updated", body)

    async def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        async with self.shop.colink.pool.connection() as conn:
            cursor = await conn.execute(query.encode(), values)
            return await cursor.fetchall()

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

    async def findings_in_pieces(self) -> list[Finding]:
        """Of a verification in windows and segments of a few events each."""
        effort = Effort(processes=1, events_a_segment=17, events_a_window=5)
        async with self.shop.colink.pool.connection() as conn:
            return (await verify(conn, self.shop.colink.decode, effort=effort)).findings

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


async def capped(shop: Shop, *, advance: bool = False, **rule: Any) -> Seller:
    """A seller whose creators earn 10 % of what they sell, at most 25.00 a month, unless `rule` says otherwise."""
    capped_rule = {"rate_bps": 1000, "cap_per_month": myr(25_00)} | rule
    seller = await make_seller(shop, rule=capped_rule, timezone="Asia/Kuala_Lumpur", advance=advance)
    shop.clock.time = MARCH - timedelta(minutes=1)
    return seller


async def tiered(shop: Shop, *, advance: bool = False) -> Seller:
    """5 %, and 10 % of what is above 100.00 a month."""
    tiers = {"mode": "marginal", "steps": steps((100_00, 1000))}
    return await capped(shop, advance=advance, rate_bps=500, cap_per_month=None, tiers=tiers)


async def commission_only(shop: Shop, *, advance: bool = False, **rule: Any) -> Seller:
    """10 %, at most 25.00 a month, unless `rule` says otherwise; no platform fee."""
    rule = {"rate_bps": 1000, "cap_per_month": myr(25_00)} | rule
    seller = await make_seller(shop, rule=rule, timezone="Asia/Kuala_Lumpur", platform_fee_bps=0, advance=advance)
    shop.clock.time = MARCH - timedelta(minutes=1)
    return seller


async def work_for(seller: Seller, *orders: str) -> None:
    """As the worker does, until nothing moves."""
    for _ in range(3):
        await true_up(seller)
        await seller.settle()
        await clear(seller, *orders)


def sarong(price: str) -> list[Item]:
    return [Item(line_id=1, title="Sarong", price=price, product_id=71, variant_id=81)]


async def true_up(seller: Seller) -> int:
    """What the worker does about true-ups; how many moved."""
    colink, moved = seller.shop.colink, 0
    job = true_up_job(colink.commerce, TrueUpTables(colink.pool), colink.clock)
    while True:
        await colink.engine.catch_up("true_ups")
        if not (done := await job()):
            return moved
        moved += done


async def clear(seller: Seller, *orders: str) -> None:
    for order in orders:
        await seller.shop.hold_ends(order, after=timedelta(0))


def as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let accounts of sellers know of payments only, and orders not whether they wait for one, as it once was."""
    monkeypatch.setattr(orders, "split_order", _split_as_before)
    monkeypatch.setattr(seller_accounts.SellerAccounts, "_read", _read_as_before)
    monkeypatch.setattr(seller_accounts.SellerAccounts, "book", lambda *_: None)
    monkeypatch.setattr(true_ups, "_book", lambda *_, **__: None)


def _split_as_before(*known: Any, **more: Any) -> Split | None:
    split = split_order(*known, **more)
    return replace(split, waits_for_seller=None) if split is not None else None


def _read_as_before(accounts: seller_accounts.SellerAccounts, organization_id: str, currency: str) -> SellerAccount:
    """An account that knows of no charges."""
    facts = accounts._facts
    needs = seller_accounts.needs_of_accounts([(organization_id, currency)])
    [(details_class, id_)] = needs.documents
    found = facts.versioned(details_class, id_)
    if found is None:
        return SellerAccount.open(organization_id, currency, since=None, at=facts.now)
    return SellerAccount.standing(found[0], version=found[1], at=facts.now)


_NEW = ',"since":null,"held":0,"returned":0'


def write_as_before(database: Any) -> None:
    """Events of accounts as version 1 was stored; then the migration of their rows."""
    migration = Path(migrations.__path__[0]) / "sql" / "0014_seller_accounts.sql"
    _, _, update = migration.read_text().partition("update colink.documents")
    with psycopg.connect(database.superuser_dsn) as conn:
        conn.execute("ALTER TABLE colink.events DISABLE TRIGGER append_only")
        changed = conn.execute(
            "UPDATE colink.events SET schema_version = 1, payload = replace(replace(payload, %s, ''),"
            " ',\"class_version\":2', '') WHERE topic LIKE 'seller_account.%%'",
            (_NEW,),
        )
        assert changed.rowcount > 0
        conn.execute("ALTER TABLE colink.events ENABLE ALWAYS TRIGGER append_only")
        conn.execute(
            "UPDATE colink.documents SET body = replace(body, %s, '') WHERE kind = 'seller_account'", (_NEW,)
        )
        rows = conn.execute("SELECT body FROM colink.documents WHERE kind = 'seller_account'").fetchall()
        assert rows
        assert not any("since" in json.loads(body) for (body,) in rows)
        conn.execute(f"update colink.documents{update}".encode())


def change(database: Any, topic: str, old: str, new: str) -> int:
    """The position of the first event of the topic, in which all of `old` is now `new`."""
    with psycopg.connect(database.superuser_dsn) as conn:
        conn.execute("ALTER TABLE colink.events DISABLE TRIGGER append_only")
        changed = conn.execute(
            "UPDATE colink.events SET payload = replace(payload, %s, %s) WHERE position ="
            " (SELECT min(position) FROM colink.events WHERE topic = %s AND strpos(payload, %s) > 0)"
            " RETURNING position",
            (old, new, topic, old),
        ).fetchone()
        conn.execute("ALTER TABLE colink.events ENABLE ALWAYS TRIGGER append_only")
    assert changed is not None, (topic, old)
    return int(changed[0])
