"""What people do in a simulated business: operators configure it, payees ask for payouts, finance decides.

Each decision is drawn, its outcome predicted by the model, refusals included, and its step numbered.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from colink.application.book import ApproveBooking, ProposeConversion, ProposeWriteOff
from colink.application.close_period import ClosePeriod
from colink.application.decide_orders import HoldOrder, ReattributeOrder, ReleaseOrder
from colink.application.payouts import (
    ApprovePayout,
    CancelPayout,
    HoldPayout,
    LiftPayoutHold,
    RejectPayout,
    RequestPayout,
)
from colink.application.ports import Caller, Command
from colink.application.settlements import RecordSettlement
from colink.domain.commission import Scope
from colink.domain.errors import InsufficientFunds
from colink.domain.facts import FeeKind
from colink.domain.ids import order_id
from colink.domain.money import Money
from colink.domain.order_decisions import HoldKind, OrderHasCleared
from colink.domain.payouts import BelowMinimum, NoPayoutAccount
from colink.domain.rule_checks import RulesConflict
from colink.domain.settlements import SettledFee
from colink.projections.bookings import booking_by_id
from colink.simulation.business import OPERATOR, Business, Change
from colink.simulation.checks import Differs
from colink.simulation.model.amounts import converted
from colink.simulation.model.attribution import conflicting
from colink.simulation.model.books import FAR, Order
from colink.simulation.stage import Stage

Facts = dict[str, Any]

_FINANCE = Caller(actor="key:finance", correlation_id="simulation")


class People:
    def __init__(self, stage: Stage, business: Business) -> None:
        self.stage = stage
        self.business = business
        self._settlements = 0
        self._closed = ""

    async def configure(self, change: Change) -> None:
        known = self.stage.books.known
        conflict = change.kind == "rule" and conflicting(known.rules, change.facts)
        try:
            recorded = await self.stage.command(change.command)
        except RulesConflict as refusal:
            if not conflict:
                msg = f"{change.facts['id']} was refused: {refusal.detail}"
                raise Differs(msg) from refusal
            self.stage.step("rule refused", {}, None)
            return
        if conflict:
            msg = f"{change.facts['id']} was taken, beside another that cannot stand with it"
            raise Differs(msg)
        self.business.accepted(change)
        match change.kind:
            case "organization" | "store" | "campaign" | "creator":
                getattr(known, f"{change.kind}s")[change.facts["id"]] = change.facts
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

    async def somebody_decides(self) -> None:
        """Finance, a payee or an operator does something."""
        draw = self.stage.random.random()
        rare = self.stage.random.random()
        if rare < 0.35:
            await self._decide_order()
        elif rare < 0.42:
            await self._settle()
        elif rare < 0.44:
            await self._close_month()
        elif rare < 0.49:
            await self._book()
        elif draw < 0.45:
            await self._request()
        elif draw < 0.85 and self.stage.books.payouts:
            await self._decide_payout()
        elif draw < 0.9:
            await self.configure(self.business.payout_account(*self.stage.random.choice(self.business.payees)))
        elif draw < 0.94:
            organization = self.stage.random.choice(self.business.organizations)
            await self.configure(self.business.new_rule(organization, self.stage.random.choice(list(Scope))))
        elif draw < 0.97:
            await self.configure(self.business.revised_rule())
        else:
            await self.configure(self.business.new_coupon())

    async def _settle(self) -> None:
        """Finance books what a store's provider paid out, and what its statement says of some orders."""
        random, clock = self.stage.random, self.stage.clock
        stores = [store for store in self.business.stores if store["platform_collected"]]
        if not stores:
            return
        store = random.choice(stores)
        orders = sorted(number for store_id, number in self.stage.books.orders if store_id == store["id"])
        stated: list[Facts] = [
            {"order": number, "kind": random.choice(["payment", "payment", "dispute"]), "amount": amount}
            for number in random.sample(orders, min(len(orders), random.randint(0, 3)))
            for amount in [random.choice([0, 1, 60, 1500, random.randint(1, 900)])]
        ]
        self._settlements += 1
        gross, fee = random.randint(1, 500_000), random.choice([0, 77, 900])
        command = RecordSettlement(
            caller=_FINANCE,
            idempotency=self.stage.idempotency(),
            store=store["details"],
            reference=f"statement {self._settlements}",
            currency=store["currency"],
            gross=gross,
            fee=fee,
            settled_at=clock.time,
            fees=tuple(
                SettledFee(order_external_id=each["order"], kind=FeeKind(each["kind"]), amount=each["amount"])
                for each in stated
            ),
        )
        recorded = await self.stage.command(command)
        at = int(clock.time.timestamp())
        change = self.stage.books.settle(store["id"], store["currency"], gross=gross, fee=fee, stated=stated, at=at)
        self.stage.step(f"settlement {self._settlements}", change, recorded.position)

    async def _book(self) -> None:
        """Finance writes off a debt, or converts money of a payee: one proposes, another approves."""
        random, books, booking_id = self.stage.random, self.stage.books, self.stage.world.ids("bkg")
        shared: Facts = {
            "caller": OPERATOR,
            "idempotency": self.stage.idempotency(),
            "booking_id": booking_id,
            "reason": "agreed",
        }
        debts = sorted(
            (account, currency, -amount)
            for (account, currency), amount in books.balances.items()
            if amount < 0 and account.endswith((":available", ":receivable"))
        )
        rich = [(payee, currency) for payee, currency in self.business.payees if books.available(payee, currency) > 0]
        others = sorted({store["currency"] for store in self.business.stores})
        command: Command
        if debts and random.random() < 0.5:
            account, currency, debt = random.choice(debts)
            amount = random.randint(1, debt)
            command = ProposeWriteOff(**shared, account=account, amount=Money(amount, currency))
        elif rich and len(others) > 1:
            payee, currency = random.choice(rich)
            into = random.choice([each for each in others if each != currency])
            amount, rate = (
                random.randint(1, books.available(payee, currency)),
                random.choice(["0.2934", "3.41", "33.1"]),
            )
            taken = converted(amount, currency, into, rate)
            if not taken:
                return
            command = ProposeConversion(
                **shared,
                payee_id=payee,
                amount=Money(amount, currency),
                into=into,
                rate=rate,
                source="a bank",
                rated_at=self.stage.clock.time,
            )
        else:
            return
        recorded = await self.stage.command(command)
        self.stage.step(f"{booking_id} proposed", {}, recorded.position)
        async with self.stage.service.pool.connection() as connection:
            known = await booking_by_id(connection, booking_id)
        if known is None:
            msg = f"{booking_id} was proposed, and is not there"
            raise Differs(msg)
        approve = ApproveBooking(caller=_FINANCE, idempotency=self.stage.idempotency(), known=known)
        recorded = await self.stage.command(approve)
        if isinstance(command, ProposeWriteOff):
            change = books.write_off(account, currency, amount)
        else:
            change = books.convert(payee, amount, currency, taken, into)
        self.stage.step(f"{booking_id} approved", change, recorded.position)

    async def _close_month(self) -> None:
        """Finance closes the month before: it moves times, and no balance."""
        ended = self.stage.clock.time.replace(day=1) - timedelta(days=1)
        month = f"{ended:%Y-%m}"
        if month > self._closed:
            command = ClosePeriod(
                caller=_FINANCE, idempotency=self.stage.idempotency(), month=month, reason="it is over"
            )
            recorded = await self.stage.command(command)
            self._closed = month
            self.stage.step(f"{month} closed", {}, recorded.position)

    async def _request(self) -> None:
        rich = [each for each in self.business.payees if self.stage.books.available(*each) > 0]
        payee, currency = self.stage.random.choice(rich or self.business.payees)
        available = self.stage.books.available(payee, currency)
        amount = None
        if available > 1 and self.stage.random.random() < 0.4:
            amount = self.stage.random.choice(
                [1, available - 1, available, available + 1, self.stage.random.randint(1, available)]
            )
        payout_id = self.stage.world.ids("pyt")
        expected = self.stage.books.plan_payout(payee, currency, amount)
        command = RequestPayout(
            caller=Caller(actor=f"key:{payee}", correlation_id=payout_id),
            idempotency=self.stage.idempotency(),
            payout_id=payout_id,
            payee_id=payee,
            currency=currency,
            amount=None if amount is None else Money(amount, currency),
        )
        what = f"payout of {amount or 'all'} {currency} to {payee}"
        try:
            recorded = await self.stage.command(command)
        except (InsufficientFunds, BelowMinimum, NoPayoutAccount) as refusal:
            if expected != refusal.slug:
                msg = f"{what} was refused as {refusal.slug}, expected {expected}"
                raise Differs(msg) from refusal
            self.stage.step(what, {}, None)
            return
        if not isinstance(expected, int):
            msg = f"{what} was made, expected {expected}"
            raise Differs(msg)
        self.stage.step(
            what, self.stage.books.request_payout(payout_id, payee, currency, expected), recorded.position
        )

    async def _decide_payout(self) -> None:
        open_ = [id_ for id_, payout in self.stage.books.payouts.items() if payout["status"] in {"requested", "held"}]
        waiting = [id_ for id_, payout in self.stage.books.payouts.items() if payout["status"] == "approved"]
        if not open_ and not waiting:
            return
        payout_id = self.stage.random.choice(open_ or waiting)
        payout = self.stage.books.payouts[payout_id]
        steps: list[tuple[str, Command]] = []
        shared: Facts = {"caller": _FINANCE, "idempotency": self.stage.idempotency(), "payout_id": payout_id}
        if payout["status"] == "requested":
            account = {"payee_id": payout["payee"], "currency": payout["currency"]}
            steps += [("approved", ApprovePayout(**shared, **account))] * 6
            steps += [("held", HoldPayout(**shared, reason="a doubt")), ("rejected", RejectPayout(**shared))]
        if payout["status"] == "held":
            steps += [("requested", LiftPayoutHold(**shared)), ("rejected", RejectPayout(**shared))]
        if payout["status"] == "approved":
            steps += [("held", HoldPayout(**shared, reason="a doubt"))]
        steps += [("cancelled", CancelPayout(**shared))]
        status, command = self.stage.random.choice(steps)
        recorded = await self.stage.command(command)
        self.stage.step(f"{payout_id} {status}", self.stage.books.decide_payout(payout_id, status), recorded.position)

    async def _decide_order(self) -> None:
        """Finance looks into an order: holds and releases it, or credits somebody else."""
        keys = sorted(key for key, order in self.stage.books.orders.items() if order.told.snapshots)
        if not keys:
            return
        key = self.stage.random.choice(keys[-60:])
        order = self.stage.books.orders[key]
        shared: Facts = {
            "caller": _FINANCE,
            "idempotency": self.stage.idempotency(),
            "order_id": order_id(*key),
            "organization_id": order.store["organization"],
            "reason": "a doubt",
        }
        command: Command
        held, creator = sorted(order.reviews, key=str), order.credit["creator"]
        if held:
            payee = held[0][0]
            what, command = "release", ReleaseOrder(**shared, payee_id=payee)
        elif order.credit["own_link"] and order.own_link_of != creator:
            what, payee, command = "release own link", None, ReleaseOrder(**shared, kind=HoldKind.OWN_LINK)
        elif order.told.dispute_at(FAR)[0] != "holds" and self.stage.books.owed_to_buyer(order) > 0:
            what, payee, command = "release owed", None, ReleaseOrder(**shared, kind=HoldKind.OWED_TO_BUYER)
        elif self.stage.random.random() < 0.5 and order.money is not None:
            payee = self.stage.random.choice([None, order.store["organization"]])
            what, command = "hold", HoldOrder(**shared, payee_id=payee)
        else:
            await self._credit_by_hand(order, shared)
            return
        recorded = await self.stage.command(command)
        change = self.stage.books.decide_order(order, what, payee=payee)
        self.stage.step(f"{what} {shared['order_id']}", change, recorded.position)

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
            if not order.has_cleared:
                msg = f"{what} was refused: {refusal.detail}"
                raise Differs(msg) from refusal
            self.stage.step(what, {}, None)
            return
        if order.has_cleared and not same:
            msg = f"{what} was done, although something of it has cleared"
            raise Differs(msg)
        change = self.stage.books.decide_order(order, "credit", payee=creator, campaign=campaign)
        self.stage.step(what, change, recorded.position)
