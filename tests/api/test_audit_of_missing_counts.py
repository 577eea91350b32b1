"""Verification finds what was never counted: a month of which something cleared uncounted, tiers that nobody decided;
and says which changes of a month wait for the worker. It expects that of the log alone, wherever its clock stands."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.api.shop import Shop
from tests.api.test_audit_of_commission import changed, verified
from tests.api.test_held_orders import decide
from tests.api.test_tiers import APRIL, MARCH, Fair, item_of, myr, open_fair, steps
from tests.api.test_true_ups import HOLD, MARCH_ENDS, SECOND, clear, work
from tests.conftest import TestDatabase

from colink.application import clear_order, tiers
from colink.application.ports import Facts
from colink.application.tier_job import tier_job
from colink.cli.shopify_traffic import Item, RefundedItem
from colink.domain.aggregates import Event
from colink.domain.audit.report import Kind, Pass, PassResult, Report, Status
from colink.domain.tiers import CountedRevenue, RevenueKey
from colink.projections.audit import verify
from colink.projections.audit.commission_pass import LONG_AFTER
from colink.projections.tier_queue import TierTables

pytestmark = pytest.mark.anyio
CAPPED = {"rate_bps": 1000, "cap_per_month": myr(25_00)}
WHOLE = {"tiers": {"mode": "whole", "steps": steps((100_00, 1000))}}


def commission(report: Report) -> PassResult:
    return report.result(Pass.COMMISSION)


def findings(report: Report) -> list[tuple[Pass, Kind, int]]:
    return [(each.audit_pass, each.kind, each.position) for each in report.findings]


async def positions(shop: Shop, topic: str) -> list[int]:
    async with shop.colink.pool.connection() as connection:
        cursor = await connection.execute(
            "select position from colink.events where topic = %s order by position", (topic,)
        )
        return [position for (position,) in await cursor.fetchall()]


@pytest.fixture
def nobody_counts_before_clearing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clear_order, "count_ended", lambda *_: [])


@pytest.mark.usefixtures("nobody_counts_before_clearing")
async def test_a_clearing_after_the_month_that_nobody_counted_is_found_where_it_is(shop: Shop) -> None:
    fair = await open_fair(shop, **CAPPED)
    await fair.sell(1, "400.00", at=MARCH)
    await fair.sell(2, "10.00", at=MARCH)
    shop.clock.time = MARCH_ENDS + HOLD
    await clear(fair, 1)
    position, later = await positions(shop, "order.cleared")  # the seller's part was due first
    report = await verified(shop)
    assert findings(report) == [(Pass.COMMISSION, Kind.MISSING, position)]
    assert await positions(shop, "true_up.counted") == [], "no organisation counted anything"

    await work(fair)  # late is too late for the first, and in time for the second
    await clear(fair, 2)
    assert findings(await verified(shop)) == [(Pass.COMMISSION, Kind.MISSING, position)]
    for start, end, found in ((position, position, [position]), (position + 1, None, [later]), (later + 1, None, [])):
        async with shop.colink.pool.connection() as connection:
            cut = await verify(connection, shop.colink.decode, from_position=start, to_position=end)
        assert findings(cut) == [(Pass.COMMISSION, Kind.MISSING, at) for at in found]


@pytest.mark.usefixtures("nobody_counts_before_clearing")
async def test_what_was_due_before_the_month_ended_and_cleared_after_it_is_found_too(shop: Shop) -> None:
    """The seller's part waits for no month; who clears it after the month counts first all the same."""
    fair = await open_fair(shop, **CAPPED)
    await fair.sell(1, "400.00", at=MARCH)
    shop.clock.time = MARCH_ENDS
    await clear(fair, 1)
    (first, *_) = await positions(shop, "order.cleared")
    assert (Pass.COMMISSION, Kind.MISSING, first) in findings(await verified(shop))


async def test_what_cleared_before_the_month_ended_needs_no_count(shop: Shop) -> None:
    fair = await open_fair(shop, **CAPPED)
    await fair.sell(1, "400.00", at=MARCH)
    shop.clock.time = MARCH + HOLD + SECOND
    await clear(fair, 1)
    assert len(await positions(shop, "order.cleared")) == 1
    report = await verified(shop)
    assert (report.findings, commission(report).status) == ([], Status.PASSED)


async def test_an_order_that_is_credited_to_nobody_any_more_needs_no_count(shop: Shop) -> None:
    fair = await open_fair(shop, **CAPPED)
    await fair.sell(1, "400.00", at=MARCH)
    await decide(fair, 1, "reattribute", creator_id=None)
    shop.clock.time = MARCH_ENDS + HOLD
    await clear(fair, 1)
    assert (await verified(shop)).findings == []


async def test_a_change_that_was_not_counted_long_after_is_said_until_it_is(shop: Shop) -> None:
    fair = await open_fair(shop, **CAPPED)
    await fair.sell(1, "400.00", at=MARCH)
    await fair.sell(2, "100.00", at=MARCH)
    shop.clock.time = MARCH_ENDS
    await work(fair)
    await shop.refund(fair.store, order_id=1, items=[RefundedItem(item=item_of(1, "400.00"))])
    await decide(fair, 2, "hold")
    _, _, refunded, held = await positions(shop, "order.split")
    assert refunded < held

    async def time_passes(by: timedelta) -> PassResult:
        shop.clock.time += by
        await fair.shop.campaign(fair.organization)  # something is recorded, which shows the time
        report = await verified(shop)
        assert report.findings == []
        return commission(report)

    assert (await time_passes(LONG_AFTER)).status is Status.PASSED, "the worker may be on its way"
    waits = await time_passes(SECOND)
    assert waits.status is Status.PARTIAL
    assert waits.reason is not None
    assert "1 days or months" in waits.reason
    assert f"2026-03 since position {held}" in waits.reason
    await work(fair)
    assert (await time_passes(HOLD)).status is Status.PASSED


async def test_a_month_that_ended_long_ago_and_was_never_counted_is_said(shop: Shop) -> None:
    """Nothing of it cleared: its order is under review, and no worker runs."""
    fair = await open_fair(shop, **CAPPED)
    await fair.sell(1, "400.00", at=MARCH)
    [position] = await positions(shop, "order.split")
    shop.clock.time = MARCH_ENDS + LONG_AFTER
    await shop.campaign(fair.organization)
    assert commission(await verified(shop)).status is Status.PASSED
    shop.clock.time += SECOND
    await shop.campaign(fair.organization)
    waits = commission(await verified(shop))
    assert (waits.status, f"since position {position}" in str(waits.reason)) == (Status.PARTIAL, True)


@pytest.fixture
def nobody_records_decisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A split takes whatever revenue it needs out of the air."""
    counted = tiers._revenue

    def invented(facts: Facts, key: RevenueKey, *, timezone: str) -> tuple[CountedRevenue, list[Event]]:
        revenue, _ = counted(facts, key, timezone=timezone)
        return revenue, []

    monkeypatch.setattr(tiers, "_revenue", invented)


@pytest.mark.usefixtures("nobody_records_decisions")
async def test_a_split_by_tiers_that_nobody_decided_is_found_where_it_is(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    fair = await open_fair(shop, **WHOLE)
    await fair.sell(1, "150.00", at=MARCH)
    await fair.sell(2, "100.00", at=APRIL)
    assert (await fair.commission(2), await fair.decisions()) == (10_00, [])
    march, april = await positions(shop, "order.split")
    missing = [(Pass.COMMISSION, Kind.MISSING, march), (Pass.COMMISSION, Kind.MISSING, april)]
    assert findings(await verified(shop)) == missing

    monkeypatch.undo()  # the worker decides after all: that is too late for what rests on it
    assert await tier_job(shop.colink.commerce, TierTables(shop.colink.pool), shop.clock)() == 1
    assert await fair.decisions() == [("2026-04", 150_00)]
    assert findings(await verified(shop)) == missing
    await fair.sell(3, "100.00", at=APRIL + timedelta(days=1))
    assert findings(await verified(shop)) == missing


def emptied(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(event: dict[str, Any]) -> None:
        part = event
        for name in path[:-1]:
            part = part[name]
        part[path[-1]] = []

    return change


async def test_a_split_that_does_not_say_on_which_revenue_it_rests_is_found(
    shop: Shop, database: TestDatabase
) -> None:
    fair = await open_fair(shop, **WHOLE)
    await fair.sell(1, "150.00", at=MARCH)
    with changed(database, "order.split", emptied("split", "revenues")) as position:
        assert findings(await verified(shop)) == [(Pass.COMMISSION, Kind.MISSING, position)]


def held(*lines: str) -> Callable[[dict[str, Any]], None]:
    return lambda event: event["split"].update(held_lines=list(lines))


@pytest.mark.parametrize(
    ("nth", "change", "miscounted"),
    [
        (1, held("1"), ("true_up.counted", 0)),
        (2, held(), ("true_up.recounted", 0)),
        (2, held("1", "2"), None),
        (3, held("1"), ("true_up.recounted", 1)),
    ],
    ids=["held too early", "not held", "more held than there is", "not released"],
)
async def test_a_split_that_says_otherwise_what_is_held_is_found_and_so_is_the_count_after_it(
    held_and_released: Fair,
    shared_database: TestDatabase,
    nth: int,
    change: Callable[[dict[str, Any]], None],
    miscounted: tuple[str, int] | None,
) -> None:
    shop = held_and_released.shop
    with changed(shared_database, "order.split", change, nth=nth) as position:
        report = findings(await verified(shop))
    assert (Pass.SPLIT, Kind.DERIVED_DIFFERENTLY, position) in report
    counts = [at for audit_pass, _, at in report if audit_pass is Pass.COMMISSION]
    assert counts == ([(await positions(shop, miscounted[0]))[miscounted[1]]] if miscounted else [])


@pytest.fixture(scope="module")
async def held_and_released(shared_shop: Shop) -> Fair:
    fair = await open_fair(shared_shop, **CAPPED)
    await fair.sell(1, "400.00", at=MARCH)
    shared_shop.clock.time = MARCH_ENDS
    await work(fair)
    await decide(fair, 1, "hold")
    await work(fair)
    await decide(fair, 1, "release")
    await work(fair)
    return fair


async def test_a_log_with_holds_tiers_caps_and_late_orders_is_clean(held_and_released: Fair) -> None:
    report = await verified(held_and_released.shop)
    assert (report.findings, commission(report).status) == ([], Status.PASSED)


async def test_an_order_whose_earlier_time_is_told_later_counts_in_its_other_month(shop: Shop) -> None:
    """Its money does not change with it, so no new split says so: it is served by a rule without tiers."""
    fair = await open_fair(shop, **WHOLE)
    product = await shop.product(fair.store)
    await shop.rule(fair.organization, scope="product", target_id=product["id"], rate_bps=500)
    click_id = await fair.click(MARCH_ENDS - timedelta(hours=2))
    await fair.sell(1, "400.00", at=MARCH_ENDS + timedelta(hours=1), click_id=click_id)
    splits = await positions(shop, "order.split")
    told = {"placed_at": MARCH_ENDS - timedelta(hours=1), "updated_at": shop.clock.time, "shipping": "0.00"}
    await shop.order(fair.store, order_id=1, items=[item_of(1, "400.00")], click_id=click_id, **told)
    assert await positions(shop, "order.split") == splits
    click_id = await fair.click(APRIL)
    shop.clock.time = APRIL
    mug = Item(line_id=2, title="Mug", price="10.00", product_id=72, variant_id=82)
    await shop.order(fair.store, order_id=2, items=[mug], click_id=click_id, placed_at=APRIL)
    assert await fair.decisions() == [("2026-04", 400_00)]
    assert (await verified(shop)).findings == []
