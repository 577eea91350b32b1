"""What payees ask for in a simulated business, and what is decided about it: payouts, and tax withheld of them.

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
from colink.application.ports import Caller, Command, Recorded
from colink.application.withholding import SetWithholding
from colink.domain.money import Money
from colink.simulation.business import CONTROLLER, FINANCE, OPERATOR, Business
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
        refusals = () if isinstance(expected, int) else (expected,)
        recorded = await self.stage.attempt(command, what, refusals=refusals)
        if recorded is None or not isinstance(expected, int):
            return
        change = self.stage.books.payouts.request(payout_id, payee, currency, expected, by=command.caller.actor)
        self._look_at(payout_id, recorded)
        self.stage.step(what, change, recorded.position)

    async def decide(self) -> None:
        payouts = self.stage.books.payouts
        open_ = [id_ for id_, payout in payouts.by_id.items() if payout["status"] in {"requested", "held"}]
        waiting = [id_ for id_, payout in payouts.by_id.items() if payout["status"] == "approved"]
        if not open_ and not waiting:
            return
        payout_id = self.stage.random.choice(open_ or waiting)
        payout = payouts.by_id[payout_id]
        steps: list[tuple[str, Command]] = []
        approvers = [FINANCE] * 5 + [CONTROLLER] * 5 + [Caller(actor=payout["by"], correlation_id=payout_id)]
        shared: Facts = {"caller": FINANCE, "idempotency": self.stage.idempotency(), "payout_id": payout_id}
        if payout["status"] == "requested":
            account = {"payee_id": payout["payee"], "currency": payout["currency"]}
            approval = shared | account | {"caller": self.stage.random.choice(approvers)}
            steps += [("approved", ApprovePayout(**approval))] * 6
            steps += [("held", HoldPayout(**shared, reason="a doubt")), ("rejected", RejectPayout(**shared))]
        if payout["status"] == "held":
            steps += [("requested", LiftPayoutHold(**shared)), ("rejected", RejectPayout(**shared))]
        if payout["status"] == "approved":
            steps += [("held", HoldPayout(**shared, reason="a doubt"))]
        steps += [("cancelled", CancelPayout(**shared))]
        status, command = self.stage.random.choice(steps)
        wrong = payouts.wrong_with_approval(payout_id, by=command.caller.actor) if status == "approved" else set()
        what = f"{payout_id} {status} by {command.caller.actor}"
        if recorded := await self.stage.attempt(command, what, refusals=wrong):
            change = payouts.decide(payout_id, status)
            self._look_at(payout_id, recorded)
            self.stage.step(what, change, recorded.position)

    def _look_at(self, payout_id: str, recorded: Recorded) -> None:
        """Payouts show amount, tax and net. Raises Differs."""
        payout, net = self.stage.books.payouts.by_id[payout_id], self.stage.books.payouts.net(payout_id)
        shown = tuple(recorded.answer[name]["amount"] for name in ("amount", "tax", "net"))
        if shown != (payout["amount"], payout["amount"] - net, net):
            msg = f"{payout_id} shows {shown}, expected {payout['amount']}, {payout['amount'] - net}, {net}"
            raise Differs(msg)

    async def switch_tax(self) -> None:
        """An operator switches the withholding of tax from a seller's payouts on, off, or to another rate."""
        random = self.stage.random
        seller, currency = random.choice(self.business.organizations)["id"], random.choice(self.business.currencies)
        settings: Facts = {
            "authority": random.choice(["lhdn", "nta"]),
            "rate_bps": random.choice([0, 1000, 1000, 333, 5000]),
            "threshold": random.choice([0, 0, 500, 20_000]),
        }
        command = SetWithholding(
            caller=OPERATOR,
            idempotency=self.stage.idempotency(),
            organization_id=seller,
            currency=currency,
            **settings,
        )
        recorded = await self.stage.command(command)
        self.stage.books.payouts.withholding.switch(seller, currency, **settings)
        self.stage.step(f"tax of {seller} in {currency}", {}, recorded.position)
