"""Verification finds a decision about an order at a time when it could not be made, by a program that forgot to ask:
who is credited for it decided again, and money cleared before it was due."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest
from tests.projections.test_audit import found, position_of, verified
from tests.projections.world import AINA, BUDI, CALLER, MONDAY, ORGANIZATION, STORE, World

from colink.application.clear_order import ClearOrder
from colink.application.decide_orders import ReattributeOrder
from colink.application.ports import Decision, Facts, Needs, Request
from colink.application.record_order import order_events
from colink.domain.aggregates import Event
from colink.domain.audit.report import Kind, Pass
from colink.domain.orders import Order
from colink.projections.audit.clock_pass import SET_BACK

pytestmark = pytest.mark.anyio

ORDER = f"ord_{STORE}.1"


async def available(world: World, payee_id: str, purpose: str = "available") -> int:
    rows = await world.rows("SELECT amount FROM colink.balances WHERE account = %s", f"payee:{payee_id}:{purpose}")
    return sum(amount for (amount,) in rows)


async def deliver_again(world: World, monkeypatch: pytest.MonkeyPatch, creator: str) -> None:
    """To a program that decides again whatever was decided before."""
    with monkeypatch.context() as forgetful:
        forgetful.setattr(Order, "needs_attribution", lambda order: order.merged.newest is not None)
        await world.order(1, 10_000, creator=creator, later=timedelta(hours=1))


async def test_a_credit_by_hand_that_a_delivery_overturned(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.order(1, 10_000, creator=AINA)
    by_hand = ReattributeOrder(
        caller=CALLER, order_id=ORDER, organization_id=ORGANIZATION, reason="he sold it", creator_id=BUDI
    )
    await world.commerce.submit(by_hand)
    assert await available(world, BUDI, "pending") == 1_000
    await world.order(1, 10_000, creator=AINA, later=timedelta(minutes=1))
    assert (await verified(world)).findings == []

    await deliver_again(world, monkeypatch, AINA)

    assert await available(world, BUDI, "pending") == 0
    position = await position_of(world, "order.attributed", nth=2)
    report = await verified(world)
    assert found(report) == {(Pass.ATTRIBUTION, Kind.DERIVED_DIFFERENTLY, position)}
    assert "by hand" in report.findings[0].message


async def test_an_order_that_had_cleared_and_lost_its_creator(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.order(1, 10_000, creator=AINA)
    world.clock.time = MONDAY + timedelta(days=20)
    await world.commerce.submit(ClearOrder(caller=CALLER, order_id=ORDER))
    assert await available(world, AINA) == 1_000
    await world.order(1, 10_000, creator=BUDI, later=timedelta(minutes=1))  # a new key, told too late
    assert (await verified(world)).findings == []

    with monkeypatch.context() as forgetful:
        forgetful.setattr(Order, "needs_attribution", lambda order: order.merged.newest is not None)
        earlier = MONDAY - timedelta(days=400)  # before the coupon of anybody
        await world.order(1, 10_000, creator=BUDI, placed_at=earlier, later=timedelta(days=401))

    position = await position_of(world, "order.attributed", nth=2)
    report = await verified(world)
    assert found(report) == {(Pass.ATTRIBUTION, Kind.DERIVED_DIFFERENTLY, position)}
    assert "had cleared" in report.findings[0].message


async def test_an_order_decided_again_though_nothing_new_was_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.order(1, 10_000, creator=AINA)
    await deliver_again(world, monkeypatch, AINA)
    position = await position_of(world, "order.attributed", nth=2)
    assert found(await verified(world)) == {(Pass.ATTRIBUTION, Kind.DERIVED_DIFFERENTLY, position)}


async def test_an_order_decided_again_by_a_new_key_is_right(world: World) -> None:
    await world.order(1, 10_000, creator=None)
    await world.order(1, 10_000, creator=BUDI, later=timedelta(minutes=1))
    await position_of(world, "order.attributed", nth=2)
    assert (await verified(world)).findings == []


@dataclass(frozen=True, kw_only=True)
class ClearAhead(Request):
    """Clears what is due some time from now, as if it were that time."""

    ahead: timedelta

    def needs(self) -> Needs:
        return Needs(streams=(ORDER,))

    def decide(self, facts: Facts) -> Decision:
        order = facts.aggregate(Order, ORDER)
        assert order is not None
        at = facts.now + self.ahead
        events: list[Event] = []
        while (draft := order.clear(at=at)) is not None:
            events += order_events(order, [draft], at=at)
        return Decision(answer={}, events=events, organization_id=ORGANIZATION)


@pytest.mark.parametrize("ahead", [timedelta(days=30), SET_BACK + timedelta(microseconds=1)])
async def test_money_cleared_before_it_was_due_by_a_time_of_its_own(world: World, ahead: timedelta) -> None:
    await world.order(1, 10_000, creator=AINA)
    [(due_at,)] = await world.rows("SELECT clears_at FROM colink.orders")
    world.clock.time = due_at - ahead
    await world.commerce.submit(ClearAhead(caller=CALLER, ahead=ahead))
    assert await available(world, AINA) == 1_000
    position = await position_of(world, "order.cleared")
    expected = {(Pass.CLEARING, Kind.DERIVED_DIFFERENTLY, position)}
    assert found(await verified(world)) == expected
    assert found(await verified(world, only=[Pass.CLEARING])) == expected
    assert found(await verified(world, from_position=position + 1)) == set()


async def test_a_clock_set_back_a_little_before_the_append_accuses_nobody(world: World) -> None:
    await world.order(1, 10_000, creator=AINA)
    [(due_at,)] = await world.rows("SELECT clears_at FROM colink.orders")
    world.clock.time = due_at - SET_BACK
    await world.commerce.submit(ClearAhead(caller=CALLER, ahead=SET_BACK))
    assert await available(world, AINA) == 1_000
    assert (await verified(world)).findings == []


async def test_a_clock_that_is_moved_and_moved_back_accuses_nobody(world: World) -> None:
    """As in a demo: of two programs at once, one lives 20 days later. The log takes no earlier time than its last."""
    await world.order(1, 10_000, creator=AINA)
    await world.order(2, 10_000, creator=AINA)
    for days, number in ((20, 1), (0, 2), (20, 2)):
        world.clock.time = MONDAY + timedelta(days=days)
        await world.commerce.submit(ClearOrder(caller=CALLER, order_id=f"ord_{STORE}.{number}"))
        await world.order(number + 2, 500)
    assert await available(world, AINA) == 2_000
    assert (await verified(world)).findings == []
