"""Verification folds the sums behind balances at any moment anew: whatever is changed in them is found where it
begins, in small blocks and large ones, and nothing is found in what nobody changed."""

from __future__ import annotations

from random import Random

import pytest
from tests.projections.test_audit import found, verified
from tests.projections.test_balances_in_time import post
from tests.projections.world import World

from colink.domain.audit.report import Kind, Pass, Status
from colink.projections import balances_in_time
from colink.projections.audit import verify
from colink.projections.audit.verify import Effort

pytestmark = pytest.mark.anyio

ACCOUNTS, MOVES, SUMS = (f"colink_read.balance_{name}_v1" for name in ("accounts", "moves", "sums"))

_BOTH = (Pass.ENTRIES, Pass.PROJECTIONS)


@pytest.fixture
async def told(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(balances_in_time, "WIDTHS", (4, 16, 64))
    await post(world, Random(7), "a", 70)
    await world.engine(batch_size=9).run_until_caught_up()
    return world


@pytest.mark.parametrize("events_a_window", [3, 7, 16, 1_000])
async def test_nothing_is_found_however_the_log_is_cut(told: World, events_a_window: int) -> None:
    async with told.pool.connection() as conn:
        effort = Effort(processes=1, events_a_segment=3 * events_a_window, events_a_window=events_a_window)
        report = await verify(conn, told.mapper.event, only=[Pass.PROJECTIONS], effort=effort)
    assert report.findings == []
    assert report.result(Pass.PROJECTIONS).status is Status.PASSED


async def test_nothing_is_found_of_a_part_that_is_behind(told: World) -> None:
    [(come,)] = await told.rows("SELECT position FROM colink.log_head")
    await post(told, Random(8), "b", 9)
    async with told.pool.connection() as conn:
        effort = Effort(processes=1, events_a_segment=5, events_a_window=5)
        report = await verify(conn, told.mapper.event, only=[Pass.PROJECTIONS], effort=effort)
    assert report.findings == []
    assert f"balances_in_time has come to {come} of {report.head}" in (report.result(Pass.PROJECTIONS).reason or "")


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (f"UPDATE {MOVES} SET amount = amount + 1 WHERE position = 40", {Kind.CHANGED}),
        (f"UPDATE {MOVES} SET position = 41 WHERE position = 40", {Kind.MISSING, Kind.EXTRA}),
        (
            f"UPDATE {MOVES} SET effective_at = effective_at + interval '1 microsecond' WHERE position = 40",
            {Kind.MISSING, Kind.EXTRA},
        ),
        (f"UPDATE {MOVES} SET no = 1000 + no WHERE position = 40", {Kind.MISSING, Kind.EXTRA}),
        (f"DELETE FROM {MOVES} WHERE position = 40", {Kind.MISSING}),
        (f"INSERT INTO {MOVES} SELECT no, effective_at, 12, 5 FROM {MOVES} WHERE position = 40", {Kind.EXTRA}),
        (f"UPDATE {SUMS} SET amount = amount + 1 WHERE level = 0 AND block = 9", {Kind.CHANGED}),
        (f"UPDATE {SUMS} SET day = day + 100 WHERE level = 0 AND block = 9", {Kind.MISSING, Kind.EXTRA}),
        (f"DELETE FROM {SUMS} WHERE level = 0 AND block = 9", {Kind.MISSING}),
        (f"UPDATE {SUMS} SET block = 900 WHERE level = 0 AND block = 9", {Kind.MISSING, Kind.EXTRA}),
        (f"UPDATE {SUMS} SET amount = amount + 1 WHERE level = 1 AND block = 2", {Kind.CHANGED}),
        (f"DELETE FROM {SUMS} WHERE level = 2 AND block = 0", {Kind.MISSING}),
        (f"UPDATE {SUMS} SET level = 3 WHERE level = 2 AND block = 0", {Kind.MISSING, Kind.EXTRA}),
        (f"UPDATE {SUMS} SET no = no + 1000 WHERE level = 2 AND block = 0", {Kind.MISSING, Kind.EXTRA}),
        (f"UPDATE {ACCOUNTS} SET account = account || 'x' WHERE no = 1", {Kind.MISSING, Kind.EXTRA}),
        (f"UPDATE {ACCOUNTS} SET currency = 'EUR' WHERE no = 1", {Kind.MISSING, Kind.EXTRA}),
        (f"INSERT INTO {ACCOUNTS} VALUES (999, 'platform:revenue', 'EUR')", {Kind.EXTRA}),
        (
            "UPDATE colink.projection_checkpoints SET position = position + 1 WHERE projection = 'balances_in_time'",
            {Kind.HEAD_DIFFERS},
        ),
    ],
)
async def test_what_was_changed(told: World, change: str, kinds: set[Kind]) -> None:
    assert told.tamper(change)[0] > 0
    report = await verified(told, only=[Pass.PROJECTIONS])
    assert {each.kind for each in report.findings} >= kinds
    if "position = 40" in change and "UPDATE" in change:
        assert report.findings[0].position == 40


async def test_the_sums_are_compared_with_the_log_and_not_with_the_entries(told: World) -> None:
    told.tamper("UPDATE colink.entries SET amount = amount + 1 WHERE position = 40")
    assert {audit_pass for audit_pass, _, _ in found(await verified(told, only=_BOTH))} == {Pass.ENTRIES}
