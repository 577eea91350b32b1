"""The clearing job clears what is due, and an order that cannot be cleared stands in nobody's way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from colink.application.clear_order import ClearOrder
from colink.application.jobs import clearing_job
from colink.application.ports import Command, Recorded
from colink.domain.errors import ColinkError, NotFound, Unavailable

NOW = datetime(2026, 3, 20, tzinfo=UTC)


class Frozen:
    def now(self) -> datetime:
        return NOW


class Bus:
    """Clears orders of a list, refusing some with an error."""

    def __init__(self, due: Sequence[str], refusals: dict[str, ColinkError] | None = None) -> None:
        self.due = list(due)
        self.refusals = refusals or {}
        self.asked: list[str] = []

    async def submit(self, command: Command) -> Recorded:
        assert isinstance(command, ClearOrder)
        assert command.caller.actor == "worker"
        self.asked.append(command.order_id)
        if command.order_id in self.refusals:
            raise self.refusals[command.order_id]
        if command.order_id not in self.due:
            return Recorded(answer={})  # another worker was faster
        self.due.remove(command.order_id)
        return Recorded(answer={}, position=1)

    async def due_orders(self, now: datetime, limit: int) -> Sequence[str]:
        assert now == NOW
        return self.due[:limit]


def test_it_counts_what_it_cleared() -> None:
    bus = Bus(["ord_1", "ord_2"])
    run = clearing_job(bus, bus.due_orders, Frozen())
    assert asyncio.run(run()) == 2
    assert asyncio.run(run()) == 0


def test_a_refused_order_is_set_aside_until_nothing_else_is_due() -> None:
    due = [f"ord_{number}" for number in range(600)]
    refused = due[:300]
    bus = Bus(due, {order: NotFound("gone") for order in refused})
    run = clearing_job(bus, bus.due_orders, Frozen())

    async def until_nothing() -> list[int]:
        counts = []
        while not counts or sum(counts) < 300:
            counts.append(await run())
        return counts

    assert sum(asyncio.run(until_nothing())) == 300
    assert bus.due == refused
    bus.refusals.clear()
    assert asyncio.run(run()) == 0, "this run finds only what was set aside, and forgets that"
    assert asyncio.run(run()) == 256


def test_a_bus_that_is_away_fails_the_job() -> None:
    bus = Bus(["ord_1", "ord_2"], {"ord_1": Unavailable("away")})
    with pytest.raises(Unavailable):
        asyncio.run(clearing_job(bus, bus.due_orders, Frozen())())
    assert bus.asked == ["ord_1", "ord_2"]
