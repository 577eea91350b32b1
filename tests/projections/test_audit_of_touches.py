"""Verification holds the sealed decisions about orders and the tracking log, which is not sealed, against each
other: one that was cut short or changed wherever it stands is told of by the orders it decided."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.projections.test_audit import found, position_of, verified
from tests.projections.world import AINA, BUDI, CAMPAIGN, MONDAY, World

from colink.domain.audit.report import Kind, Pass, Status
from colink.domain.tracking import TouchKind

pytestmark = pytest.mark.anyio


async def decided_by_touches(world: World) -> tuple[int, int]:
    """Orders decided by a click, a view and a coupon; the positions of the first two decisions."""
    await world.touch(AINA, occurred_at=MONDAY - timedelta(hours=2), visitor_id="vis_1")
    await world.touch(BUDI, occurred_at=MONDAY - timedelta(hours=1), visitor_id="vis_1", creator_customer_ref="b.1")
    await world.order(1, 10_000, creator=None, clicks=["clk_1", "clk_2"])
    await world.touch(BUDI, occurred_at=MONDAY - timedelta(hours=1), kind=TouchKind.VIEW)
    await world.order(2, 5_000, creator=None, clicks=["clk_3"])
    await world.order(3, 700, creator=AINA)
    await world.touch(AINA, occurred_at=MONDAY)
    return await position_of(world, "order.attributed"), await position_of(world, "order.attributed", nth=2)


async def test_decisions_by_touches_and_coupons_have_no_findings(world: World) -> None:
    await decided_by_touches(world)
    report = await verified(world)
    assert report.findings == []
    assert report.result(Pass.ATTRIBUTION).checked == 3


async def test_a_tracking_log_that_was_cut_short(world: World) -> None:
    """With its touches, its head and what was folded of it: nothing beside the orders knows better."""
    first, second = await decided_by_touches(world)
    world.tamper_with_log(
        "DELETE FROM colink.tracking_events WHERE position > 1",
        "DELETE FROM colink.touches WHERE position > 1",
        "UPDATE colink.tracking_head SET position = 1,"
        " recorded_at = (SELECT recorded_at FROM colink.tracking_events WHERE position = 1)",
    )
    await world.engine().run_until_caught_up()
    report = await verified(world)
    assert {(each.audit_pass, each.kind, each.position, each.subject) for each in report.findings} == {
        (Pass.ATTRIBUTION, Kind.DANGLING, first, "ord_sto_1.1"),
        (Pass.ATTRIBUTION, Kind.DANGLING, first, "clk_2"),
        (Pass.ATTRIBUTION, Kind.DANGLING, second, "ord_sto_1.2"),
        (Pass.ATTRIBUTION, Kind.DANGLING, second, "clk_3"),
        (Pass.ATTRIBUTION, Kind.DANGLING, await position_of(world, "order.attributed", nth=3), "ord_sto_1.3"),
    }

    await world.touch(AINA, id="clk_8", occurred_at=MONDAY)
    await world.touch(AINA, id="clk_9", occurred_at=MONDAY)
    await world.touch(AINA, id="clk_10", occurred_at=MONDAY)
    report = await verified(world)
    assert {(each.audit_pass, each.kind, each.position, each.subject) for each in report.findings} == {
        (Pass.ATTRIBUTION, Kind.MISSING, first, "clk_2"),
        (Pass.ATTRIBUTION, Kind.MISSING, second, "clk_3"),
    }, "others stand where these were"


@pytest.mark.parametrize(
    ("column", "before", "after"),
    [
        ("creator_id", BUDI, AINA),
        ("link_id", f"lnk_{BUDI}", f"lnk_{AINA}"),
        ("campaign_id", CAMPAIGN, "cmp_2"),
        ("kind", "click", "view"),
        ("occurred_at", "2026-03-02T08:00:00Z", "2026-03-02T07:59:59Z"),
        (None, '"creator_customer_ref":"b.1"', '"creator_customer_ref":"b.2"'),
        (None, '"organization_id":"org_1"', '"organization_id":"org_2"'),
    ],
)
async def test_a_touch_that_was_changed_everywhere(world: World, column: str | None, before: str, after: str) -> None:
    first, _ = await decided_by_touches(world)
    said, says = (f'"{column}":"{each}"' if column else each for each in (before, after))
    changed = [
        f"UPDATE colink.tracking_events SET payload = replace(payload, '{said}', '{says}') WHERE stream_id = 'clk_2'",
        f"UPDATE colink.touches SET body = replace(body, '{said}', '{says}') WHERE touch_id = 'clk_2'",
    ]
    if column is None and "organization" in before:
        changed.append("UPDATE colink.tracking_events SET organization_id = 'org_2' WHERE stream_id = 'clk_2'")
    elif column is not None:
        changed.append(f"UPDATE colink.touches SET {column} = '{after}' WHERE touch_id = 'clk_2'")
    assert set(world.tamper_with_log(*changed)) == {1}
    name = column or before.split('"')[1]
    report = await verified(world)
    [finding] = report.findings
    assert (finding.audit_pass, finding.kind, finding.position) == (Pass.ATTRIBUTION, Kind.CHANGED, first)
    assert finding.message == f"{name} of the touch clk_2 is not what ord_sto_1.1 was decided by"


async def test_touches_of_archived_months_are_gone_by_right(world: World) -> None:
    _, second = await decided_by_touches(world)
    world.tamper_with_log(
        "INSERT INTO colink.tracking_archives SELECT 1, 2, '2026-03-01', sha256(''), 'tracking/a', now()",
        "DELETE FROM colink.tracking_events WHERE position <= 2",
        "DELETE FROM colink.touches WHERE position <= 2",
    )
    report = await verified(world)
    assert report.findings == []
    assert report.result(Pass.ATTRIBUTION).status is Status.PASSED

    world.tamper_with_log("DELETE FROM colink.touches WHERE position = 3")
    assert found(await verified(world)) == {
        (Pass.TRACKING, Kind.MISSING, 3),
        (Pass.ATTRIBUTION, Kind.MISSING, second),
    }


async def test_a_tracking_log_that_is_archived_to_its_end(world: World) -> None:
    """Nobody has clicked since: its last month went, and it has no gap for that."""
    await decided_by_touches(world)
    archived = "INSERT INTO colink.tracking_archives SELECT 1, 4, '2026-03-01', sha256(''), 'tracking/a', now()"
    world.tamper_with_log(archived, "DELETE FROM colink.tracking_events", "DELETE FROM colink.touches")
    assert (await verified(world)).findings == []

    world.tamper("UPDATE colink.tracking_head SET position = 6")
    [finding] = (await verified(world)).findings
    assert (finding.audit_pass, finding.kind, finding.position) == (Pass.TRACKING, Kind.GAP, 5)


async def test_decisions_are_incomplete_without_the_touches(world: World) -> None:
    await decided_by_touches(world)
    world.tamper("ALTER TABLE colink.touches RENAME TO touches_gone")
    report = await verified(world)
    assert report.result(Pass.ATTRIBUTION).status is Status.INCOMPLETE
    assert "touches" in (report.result(Pass.ATTRIBUTION).reason or "")
    assert report.result(Pass.SPLIT).status is Status.PASSED
