"""What people do in a simulated business: operators configure it, finance decides about orders; and who acts when.

Each decision is drawn, its outcome predicted by the model, refusals included, and its step numbered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from colink.application.decide_orders import HoldOrder, ReattributeOrder, ReleaseOrder
from colink.application.ports import Command
from colink.domain.commission import Scope
from colink.domain.ids import order_id
from colink.domain.order_decisions import HoldKind, OrderHasCleared
from colink.simulation.bookings import Bookings
from colink.simulation.business import FINANCE, Business, Change
from colink.simulation.checks import Differs
from colink.simulation.finance import Finance
from colink.simulation.model.attribution import conflicting
from colink.simulation.model.orders import FAR, Order
from colink.simulation.payees import Payees
from colink.simulation.privacy import Privacy
from colink.simulation.sellers import Sellers
from colink.simulation.stage import Stage

Facts = dict[str, Any]


class People:
    def __init__(self, stage: Stage, business: Business) -> None:
        self.stage = stage
        self.business = business
        self.finance = Finance(stage, business)
        self.bookings = Bookings(stage, business)
        self.payees = Payees(stage, business)
        self.privacy = Privacy(stage, business)
        self.sellers = Sellers(stage, business)
        self._turns: dict[Callable[[], Awaitable[None]], int] = {
            self._decide_order: 350,
            self.payees.request: 230,
            self.payees.decide: 210,
            self.finance.settle: 70,
            self.finance.release_true_up: 15,
            self.bookings.act: 130,
            self._new_account: 25,
            self.finance.close_month: 30,
            self._new_rule: 20,
            self.payees.switch_tax: 20,
            self._revised_rule: 15,
            self._new_coupon: 15,
            self.privacy.act: 25,
            self.sellers.pay: 90,
            self.sellers.bill: 25,
            self.sellers.bounce: 35,
        }

    async def configure(self, change: Change) -> None:
        known = self.stage.books.known
        recorded = await self.stage.attempt(change.command, change.kind, refusals=self._wrong_with(change))
        if recorded is None:
            return
        self.business.accepted(change)
        match change.kind:
            case "organization" | "store" | "campaign" | "creator":
                getattr(known, f"{change.kind}s")[change.facts["id"]] = change.facts
                for name in change.facts.get("personal", ()):
                    self.stage.books.privacy.keep(change.facts["id"], name, change.facts["personal"][name])
            case "rule":
                change.facts["published"] = int(self.stage.clock.time.timestamp())
                known.rules.append(change.facts)
            case "coupon":
                known.coupons.append(change.facts)
            case "payout_account":
                self.stage.books.take_account(change.facts)
            case _:
                pass
        self.stage.step(change.kind, {}, recorded.position)

    def _wrong_with(self, change: Change) -> set[str]:
        if change.kind == "rule" and conflicting(self.stage.books.known.rules, change.facts):
            return {"rules-conflict"}
        if change.kind == "payout_account" and change.facts["payee"] in self.stage.books.privacy.erased:
            return {"person-erased"}
        return set()

    async def somebody_decides(self) -> None:
        """Finance, a payee or an operator does something."""
        (turn,) = self.stage.random.choices(list(self._turns), weights=list(self._turns.values()))
        await turn()

    async def _new_account(self) -> None:
        await self.configure(self.business.payout_account(*self.stage.random.choice(self.business.payees)))

    async def _new_rule(self) -> None:
        organization = self.stage.random.choice(self.business.organizations)
        await self.configure(self.business.new_rule(organization, self.stage.random.choice(list(Scope))))

    async def _revised_rule(self) -> None:
        await self.configure(self.business.revised_rule())

    async def _new_coupon(self) -> None:
        await self.configure(self.business.new_coupon())

    async def _decide_order(self) -> None:
        """Finance looks into an order: holds and releases it, or credits somebody else."""
        random = self.stage.random
        told = [key for key, order in self.stage.books.orders.items() if order.told.snapshots]
        keys = sorted(told, key=lambda key: key[1])
        if not keys:
            return
        key = random.choice(keys if random.random() < 0.25 else keys[-60:])
        order = self.stage.books.orders[key]
        shared = self._shared(order)
        command: Command
        held, creator, payee, line = sorted(order.reviews, key=str), order.credit["creator"], None, None
        if held and random.random() < 0.8:
            payee, line = random.choice(held)
            what, command = "release", ReleaseOrder(**shared, payee_id=payee, line_id=line)
        elif order.credit["own_link"] and order.own_link_of != creator:
            what, command = "release own link", ReleaseOrder(**shared, kind=HoldKind.OWN_LINK)
        elif order.told.dispute_at(FAR)[0] != "holds" and self.stage.books.owed_to_buyer(order) > 0:
            what, command = "release owed", ReleaseOrder(**shared, kind=HoldKind.OWED_TO_BUYER)
        elif random.random() < 0.5 and order.money is not None:
            earning = sorted({who for (_, who), amount in order.money["owed"].items() if amount})
            payee = random.choice([None, order.store["organization"], *earning])
            line = random.choice([None, None, *order.lines_told])
            what, command = "hold", HoldOrder(**shared, payee_id=payee, line_id=line)
        else:
            await self._credit_by_hand(order, shared)
            return
        recorded = await self.stage.command(command)
        change = self.stage.books.decide_order(order, what, now=self._now(), payee=payee, line=line)
        self.stage.step(f"{what} {shared['order_id']}", change, recorded.position)

    async def credit_late(self) -> None:
        """Finance credits an order to somebody else of which nothing has cleared, though its day or month was
        counted, if there is one."""
        if late := [order for order in self._of_counted_periods() if not order.has_cleared]:
            order = self.stage.random.choice(late)
            await self._credit_by_hand(order, self._shared(order))

    def late_orders(self, most: int) -> list[int]:
        """Numbers of orders of days and months that were counted: such as did not clear with them, and such as their
        sellers paid for, first."""
        random, books = self.stage.random, self.stage.books
        known = self._of_counted_periods()
        orders = random.sample(known, min(most // 2, len(known)))
        for chosen in (
            [order for order in known if order.settled],
            [order for order in known if not order.has_cleared and books.has_cleared(order)],
        ):
            orders += random.sample(chosen, min(most // 2, len(chosen)))
        return list(dict.fromkeys(int(order.number) for order in orders))

    def _of_counted_periods(self) -> list[Order]:
        books = self.stage.books
        return [order for order in books.orders.values() if books.counting.is_counted(order)]

    def _shared(self, order: Order) -> Facts:
        return {
            "caller": FINANCE,
            "idempotency": self.stage.idempotency(),
            "order_id": order_id(order.store["id"], order.number),
            "organization_id": order.store["organization"],
            "reason": "a doubt",
        }

    def _now(self) -> int:
        return int(self.stage.clock.time.timestamp())

    async def _credit_by_hand(self, order: Order, shared: Facts) -> None:
        emails = {snapshot["email"] for snapshot in order.told.snapshots.values()}
        creators = [each["id"] for each in self.business.creators if each["email"] not in emails]
        campaigns = [
            each["id"] for each in self.business.campaigns if each["organization"] == order.store["organization"]
        ]
        creator = self.stage.random.choice([*creators, None])
        campaign = self.stage.random.choice([*campaigns, None]) if creator else None
        what = f"credit {shared['order_id']} to {creator}"
        same = order.by_hand and (order.credit["creator"], order.credit["campaign"]) == (creator, campaign)
        try:
            recorded = await self.stage.command(ReattributeOrder(**shared, creator_id=creator, campaign_id=campaign))
        except OrderHasCleared as refusal:
            if not self.stage.books.has_cleared(order):
                msg = f"{what} was refused: {refusal.detail}"
                raise Differs(msg) from refusal
            self.stage.step(what, {}, None)
            return
        if self.stage.books.has_cleared(order) and not same:
            msg = f"{what} was done, although something of it has cleared"
            raise Differs(msg)
        change = self.stage.books.decide_order(order, "credit", now=self._now(), payee=creator, campaign=campaign)
        self.stage.step(what, change, recorded.position)
