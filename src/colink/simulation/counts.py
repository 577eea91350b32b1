"""What is counted in a simulated business: revenues for tiers, days and months for true-ups; and what order it had.

The worker's jobs are run as they are. The model is told when something was counted, never what it came to: that it
says itself. Of a batch of deliveries the log alone tells which came first; the model is told them in that order.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from colink.application.ports import Recorded
from colink.simulation.checks import Differs
from colink.simulation.model.tiers import NotCounted, RevenueKey
from colink.simulation.sales import Told

if TYPE_CHECKING:  # a stage has its counts
    from colink.simulation.stage import Stage

Facts = dict[str, Any]

_DECISIONS = "select position, payload from colink.events where topic = 'tier.decided' and position > %s order by 1"


class Counts:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._position = 0

    async def decisions(self) -> list[Facts]:
        """The revenues that were counted since the last call. `position`: of the log that a count saw."""
        async with self.stage.service.pool.connection() as connection:
            rows = await (await connection.execute(_DECISIONS, (self._position,))).fetchall()
        self._position = rows[-1][0] if rows else self._position
        return [json.loads(payload) for _, payload in rows]

    def tell(self, decision: Facts, *, for_an_order: bool = True) -> None:
        """Let the model count it too."""
        key = _key(decision)
        try:
            revenue = self.stage.books.counting.decide(key, for_an_order=for_an_order)
        except NotCounted as error:
            raise Differs(str(error)) from error
        if revenue != decision["revenue"]:
            msg = f"the revenue of {key} is counted as {decision['revenue']}, expected {revenue}"
            raise Differs(msg)

    async def tell_new(self) -> None:
        """What an order's own command counted, before the model is told of the command."""
        for decision in await self.decisions():
            self.tell(decision)

    async def tell_in_order(self, told: Sequence[Told], recorded: Sequence[Recorded]) -> None:
        """What was delivered at once, and counted meanwhile, as the log has it. What changed nothing has no place in
        it: it came after what came before it of its order."""
        steps: list[tuple[int, int, int, Told | Facts, int | None]] = []
        reached: dict[tuple[str, int], int] = {}
        for number, (each, answer) in enumerate(zip(told, recorded, strict=True)):
            order = (each.store["id"], each.order)
            place = reached[order] = max(reached.get(order, 0), answer.position or 0)
            steps.append((place, 0, number, each, answer.position))
        steps += [(each["position"], 1, number, each, None) for number, each in enumerate(await self.decisions())]
        for *_, step, position in sorted(steps, key=lambda step: step[:3]):
            if not isinstance(step, Told):
                self.tell(step)
                continue
            change = self.stage.books.deliver(step.store["id"], step.topic, step.body, id_=step.webhook_id)
            self.stage.step(f"{step.topic} {step.webhook_id}", change, position)

    # The worker's jobs --------------------------------------------------------------------------------------------

    async def decide_tiers(self) -> None:
        self.stage.break_now_and_then(0.05)
        counting = self.stage.books.counting
        may, must = counting.worker_looks(int(self.stage.clock.time.timestamp()))
        await self.stage.surviving(self._worker_decides)
        self.stage.world.faults.next = None
        made = await self.decisions()
        for decision in made:
            self.tell(decision, for_an_order=False)
        counted = counting.tiers.revenues.keys()
        for_nothing, missing = {_key(decision) for decision in made} - may, must - counted
        if for_nothing or missing:
            msg = f"revenues the worker counted for nothing: {sorted(for_nothing)}, and not at all: {sorted(missing)}"
            raise Differs(msg)
        await self.stage.job("tiers", {})

    async def true_up(self) -> None:
        """Whatever ended or changed is counted, and then what is due clears."""
        self.stage.break_now_and_then(0.05)
        await self.stage.surviving(self._worker_trues_up)
        self.stage.world.faults.next = None
        await self.stage.job("true-ups", self.stage.books.counting.true_up(int(self.stage.clock.time.timestamp())))

    async def _worker_decides(self) -> None:
        await self.stage.service.decide_tiers()

    async def _worker_trues_up(self) -> None:
        await self.stage.service.true_up()


def _key(decision: Facts) -> RevenueKey:
    names = ("organization_id", "creator_id", "currency", "month", "span")
    organization, creator, currency, month, span = (str(decision[name]) for name in names)
    return organization, creator, currency, month, span
