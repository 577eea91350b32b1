"""Verification derives again what tiers were decided by and what periods came to together, and finds each part of it
that was changed behind the log's back, where it lies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from tests.api.shop import Shop
from tests.api.test_tiers import APRIL, MARCH, Fair, myr, open_fair, steps
from tests.api.test_true_ups import HOLD, MARCH_ENDS, clear, item, owed, work
from tests.conftest import TestDatabase

from colink.cli.shopify_traffic import RefundedItem
from colink.domain.audit.report import Kind, Pass, Report, Status
from colink.projections.audit import verify
from colink.projections.audit.verify import Effort

pytestmark = pytest.mark.anyio

FINELY = Effort(processes=1, events_a_segment=21, events_a_window=7)


async def verified(shop: Shop) -> Report:
    """However the log is cut, the report is the same."""
    async with shop.colink.pool.connection() as connection:
        report = await verify(connection, shop.colink.decode)
        cut = await verify(connection, shop.colink.decode, effort=FINELY)
    assert found(cut) == found(report)
    return report


def found(report: Report) -> set[tuple[Pass, Kind, int]]:
    return {(finding.audit_pass, finding.kind, finding.position) for finding in report.findings}


@pytest.fixture(scope="module")
async def audited(shared_shop: Shop) -> Fair:
    """Two months of tiers, a cap per month that a refund releases, everything cleared."""
    tiers = {"mode": "whole", "steps": steps((100_00, 1000))}
    shop = shared_shop
    fair = await open_fair(shop, rate_bps=500, tiers=tiers, cap_per_month=myr(15_00))
    await fair.sell(1, "300.00", at=MARCH)
    await fair.sell(2, "100.00", at=MARCH)
    await fair.sell(3, "200.00", at=APRIL)
    await work(fair)
    await shop.refund(fair.store, order_id=1, items=[RefundedItem(item=item(1, "300.00"))])
    shop.clock.time = MARCH_ENDS + timedelta(days=60)
    await work(fair)
    await clear(fair, 1, 2, 3)
    shop.clock.time += HOLD
    await work(fair)
    assert await owed(fair, fair.creator) == (0, 5_00 + 15_00)
    return fair


async def test_what_was_counted_is_derived_again(audited: Fair) -> None:
    report = await verified(audited.shop)
    assert report.findings == []
    commission = next(result for result in report.passes if result.audit_pass is Pass.COMMISSION)
    assert (commission.status, commission.checked > 8) == (Status.PASSED, True)


@contextmanager
def changed(
    database: TestDatabase, topic: str, change: Callable[[dict[str, Any]], None], *, nth: int = 1
) -> Iterator[int]:
    """The payload of an event is another one meanwhile; its position."""
    with psycopg.connect(database.superuser_dsn, autocommit=True) as connection:
        connection.execute("alter table colink.events disable trigger append_only")
        rows = connection.execute(
            "select position, payload from colink.events where topic = %s order by position", (topic,)
        ).fetchall()
        position, payload = rows[nth - 1]
        event = json.loads(payload)
        change(event)
        text = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
        update = "update colink.events set payload = %s where position = %s"
        connection.execute(update, (text, position))
        yield int(position)
        connection.execute(update, (payload, position))


def add(*path: str | int, amount: int = 1) -> Callable[[dict[str, Any]], None]:
    def change(event: dict[str, Any]) -> None:
        part: Any = event
        for name in path[:-1]:
            part = part[name]
        part[path[-1]] += amount

    return change


def put(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda event: event.update({name: value})


@pytest.mark.parametrize(
    ("topic", "nth", "change"),
    [
        ("tier.decided", 2, add("revenue")),
        ("tier.decided", 2, put("until", "2026-03-31T16:00:01Z")),
        ("tier.decided", 2, put("since", None)),
        ("tier.decided", 2, put("month", "2026-05")),
        ("tier.decided", 2, put("currency", "SGD")),
        ("tier.decided", 2, add("position", amount=-12)),
        ("true_up.counted", 1, add("earned", 0, "base")),
        ("true_up.counted", 1, add("earned", 0, "commission")),
        ("true_up.counted", 1, put("ends_at", "2026-03-31T16:00:01Z")),
        ("true_up.counted", 1, put("effective_at", "2026-03-31T16:00:01Z")),
        ("true_up.counted", 1, add("hold_days")),
        ("true_up.counted", 1, add("count", "target")),
        ("true_up.counted", 1, add("count", "claims", 0, "net")),
        ("true_up.counted", 1, add("position", amount=10**6)),
        ("true_up.recounted", 1, add("before", "amount")),
        ("true_up.recounted", 1, add("count", "amount")),
        ("true_up.recounted", 1, put("earned", [])),
        ("true_up.cleared", 1, put("due_at", "2026-04-01T16:00:00Z")),
        ("true_up.cleared", 1, add("count", "receivable")),
    ],
)
async def test_each_part_of_a_count_that_was_changed_is_found_where_it_lies(
    audited: Fair, shared_database: TestDatabase, topic: str, nth: int, change: Callable[[dict[str, Any]], None]
) -> None:
    with changed(shared_database, topic, change, nth=nth) as position:
        report = await verified(audited.shop)
    assert position in {at for audit_pass, _, at in found(report) if audit_pass is Pass.COMMISSION}


async def test_a_true_up_that_cleared_by_a_time_after_its_record_is_found(
    audited: Fair, shared_database: TestDatabase
) -> None:
    with changed(shared_database, "true_up.cleared", put("timestamp", "2027-01-01T00:00:00Z")) as position:
        assert (Pass.CLEARING, Kind.DERIVED_DIFFERENTLY, position) in found(await verified(audited.shop))


async def test_a_split_that_rests_on_another_revenue_is_found(audited: Fair, shared_database: TestDatabase) -> None:
    less = add("split", "revenues", 0, "revenue", amount=-1)
    with changed(shared_database, "order.split", less, nth=3) as position:
        assert (Pass.COMMISSION, Kind.DERIVED_DIFFERENTLY, position) in found(await verified(audited.shop))


async def test_a_true_up_journal_that_nothing_led_to_and_one_that_is_gone_are_found(
    audited: Fair, shared_database: TestDatabase
) -> None:
    moved = (
        "update colink.events set stream_id = replace(stream_id, %s, %s) where topic = 'journal.posted'"
        " and stream_id like 'jrn_tru_%%' and stream_id like %s returning position"
    )
    with psycopg.connect(shared_database.superuser_dsn, autocommit=True) as connection:
        connection.execute("alter table colink.events disable trigger append_only")
        row = connection.execute(moved, (".1.0", ".7.0", "%2026-03.1.0")).fetchone()
        report = found(await verified(audited.shop))
        connection.execute(moved, (".7.0", ".1.0", "%.7.0"))
    assert row is not None
    kinds = {kind: at for audit_pass, kind, at in report if audit_pass is Pass.DERIVATION}
    assert set(kinds) == {Kind.MISSING, Kind.EXTRA}
    assert kinds[Kind.EXTRA] == row[0]
