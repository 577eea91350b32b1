"""What finance does in a simulated business: statements of providers, bookings of two people, closed months.

Each decision is drawn, its outcome predicted by the model, and its step numbered.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from colink.application.book import ApproveBooking, ProposeConversion, ProposeWriteOff
from colink.application.close_period import ClosePeriod
from colink.application.ports import Command
from colink.application.settlements import RecordSettlement
from colink.domain.facts import FeeKind
from colink.domain.money import Money
from colink.domain.settlements import SettledFee
from colink.projections.bookings import booking_by_id
from colink.simulation.business import FINANCE, OPERATOR, Business
from colink.simulation.checks import Differs
from colink.simulation.model.amounts import converted
from colink.simulation.stage import Stage

Facts = dict[str, Any]


class Finance:
    def __init__(self, stage: Stage, business: Business) -> None:
        self.stage = stage
        self.business = business
        self._settlements = 0
        self._closed = ""

    async def settle(self) -> None:
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
            caller=FINANCE,
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

    async def book(self) -> None:
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
            for (account, currency), amount in books.balances.amounts.items()
            if amount < 0 and account.endswith((":available", ":receivable"))
        )
        rich = [
            (payee, currency)
            for payee, currency in self.business.payees
            if books.balances.available(payee, currency) > 0
        ]
        others = self.business.currencies
        command: Command
        if debts and random.random() < 0.5:
            account, currency, debt = random.choice(debts)
            amount = random.randint(1, debt)
            command = ProposeWriteOff(**shared, account=account, amount=Money(amount, currency))
        elif rich and len(others) > 1:
            payee, currency = random.choice(rich)
            into = random.choice([each for each in others if each != currency])
            amount, rate = (
                random.randint(1, books.balances.available(payee, currency)),
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
        approve = ApproveBooking(caller=FINANCE, idempotency=self.stage.idempotency(), known=known)
        recorded = await self.stage.command(approve)
        if isinstance(command, ProposeWriteOff):
            change = books.finance.write_off(account, currency, amount)
        else:
            change = books.finance.convert(payee, amount, currency, taken, into)
        self.stage.step(f"{booking_id} approved", change, recorded.position)

    async def close_month(self) -> None:
        """Finance closes the month before: it moves times, and no balance."""
        ended = self.stage.clock.time.replace(day=1) - timedelta(days=1)
        month = f"{ended:%Y-%m}"
        if month > self._closed:
            command = ClosePeriod(
                caller=FINANCE, idempotency=self.stage.idempotency(), month=month, reason="it is over"
            )
            recorded = await self.stage.command(command)
            self._closed = month
            self.stage.step(f"{month} closed", {}, recorded.position)
