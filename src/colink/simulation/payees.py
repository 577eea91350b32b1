"""What payees ask for in a simulated business, and what finance decides about it: payouts until they are submitted.

Each decision is drawn, its outcome predicted by the model, refusals included, and its step numbered.
"""

from __future__ import annotations

from typing import Any

from colink.application.payouts import (
    ApprovePayout,
    CancelPayout,
    HoldPayout,
    LiftPayoutHold,
    RejectPayout,
    RequestPayout,
)
from colink.application.ports import Caller, Command
from colink.domain.errors import InsufficientFunds
from colink.domain.money import Money
from colink.domain.payouts import BelowMinimum, NoPayoutAccount
from colink.simulation.business import FINANCE, Business
from colink.simulation.checks import Differs
from colink.simulation.stage import Stage

Facts = dict[str, Any]


class Payees:
    def __init__(self, stage: Stage, business: Business) -> None:
        self.stage = stage
        self.business = business

    async def request(self) -> None:
        rich = [each for each in self.business.payees if self.stage.books.balances.available(*each) > 0]
        payee, currency = self.stage.random.choice(rich or self.business.payees)
        available = self.stage.books.balances.available(payee, currency)
        amount = None
        if available > 1 and self.stage.random.random() < 0.4:
            amount = self.stage.random.choice(
                [1, available - 1, available, available + 1, self.stage.random.randint(1, available)]
            )
        payout_id = self.stage.world.ids("pyt")
        expected = self.stage.books.payouts.plan(payee, currency, amount)
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
            what, self.stage.books.payouts.request(payout_id, payee, currency, expected), recorded.position
        )

    async def decide(self) -> None:
        payouts = self.stage.books.payouts
        open_ = [id_ for id_, payout in payouts.by_id.items() if payout["status"] in {"requested", "held"}]
        waiting = [id_ for id_, payout in payouts.by_id.items() if payout["status"] == "approved"]
        if not open_ and not waiting:
            return
        payout_id = self.stage.random.choice(open_ or waiting)
        payout = payouts.by_id[payout_id]
        steps: list[tuple[str, Command]] = []
        shared: Facts = {"caller": FINANCE, "idempotency": self.stage.idempotency(), "payout_id": payout_id}
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
        change = payouts.decide(payout_id, status)
        self.stage.step(f"{payout_id} {status}", change, recorded.position)
