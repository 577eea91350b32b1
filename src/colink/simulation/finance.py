"""What finance does in a simulated business: statements of providers, closed months.

Each decision is drawn, its outcome predicted by the model, and its step numbered.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from colink.application.close_period import ClosePeriod
from colink.application.settlements import RecordSettlement
from colink.application.true_ups import ReleaseTrueUp
from colink.domain.facts import FeeKind
from colink.domain.ids import natural_id
from colink.domain.settlements import SettledFee
from colink.domain.true_up_counts import TRUE_UP_ID
from colink.simulation.business import FINANCE, Business
from colink.simulation.stage import Stage

Facts = dict[str, Any]


class Finance:
    def __init__(self, stage: Stage, business: Business) -> None:
        self.stage = stage
        self.business = business
        self._settlements = 0

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
        if fee:  # payment fees of orders are parts of it
            fee = max(fee, sum(each["amount"] for each in stated if each["kind"] == "payment"))
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

    async def release_true_up(self) -> None:
        """Finance lets go of what waits for a seller's money, or tries where nothing does."""
        random, true_ups = self.stage.random, self.stage.books.counting.true_ups
        waiting = [key for key, known in true_ups.counted.items() if known.creator.held]
        keys = waiting if waiting and random.random() < 0.8 else list(true_ups.counted)
        if not keys:
            return
        _, *parts = key = random.choice(keys)
        command = ReleaseTrueUp(
            caller=FINANCE,
            idempotency=self.stage.idempotency(),
            true_up_id=natural_id(TRUE_UP_ID, *parts),
            reason="it is agreed",
        )
        refusals = () if key in waiting else ("conflict",)
        if recorded := await self.stage.attempt(command, f"releasing {key}", refusals=refusals):
            true_ups.release(key)
            self.stage.step(f"{key} released", {}, recorded.position)

    async def close_month(self) -> None:
        """Finance closes the month before, or tries one that is closed or not over: it moves times, no balance."""
        random, bookings, now = self.stage.random, self.stage.books.bookings, self.stage.clock.time
        first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        first = random.choice([first, first, first, (first - timedelta(days=1)).replace(day=1), _next_month(first)])
        month, open_from = f"{first - timedelta(days=1):%Y-%m}", int(first.timestamp())
        refusals = (
            {"period-not-over"} if first > now else {"closed-period"} if open_from <= bookings.open_from else set()
        )
        command = ClosePeriod(caller=FINANCE, idempotency=self.stage.idempotency(), month=month, reason="it is over")
        if recorded := await self.stage.attempt(command, f"closing {month}", refusals=refusals):
            bookings.open_from = open_from
            self.stage.step(f"{month} closed", {}, recorded.position)


def _next_month(first: datetime) -> datetime:
    return (first + timedelta(days=31)).replace(day=1)
