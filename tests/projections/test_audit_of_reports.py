"""Verification folds the reports anew: a changed table is found, and a projection that is behind is no difference."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.projections.test_attribution_report import a_busy_monday
from tests.projections.test_audit import ORDER, found, verified
from tests.projections.world import AINA, BUDI, World

from colink.domain.audit.report import Kind, Pass, Status
from colink.projections.audit.report_pass import followed_reports
from colink.projections.engine import ProjectionEngine

pytestmark = pytest.mark.anyio

SALES, TOUCHES = "colink_read.attribution_sales_v1", "colink_read.attribution_touches_v1"
ORDERS, SCORES = "colink_read.attribution_orders_v1", "colink_read.leaderboard_scores_v1"


@pytest.fixture
async def told(world: World) -> World:
    """A world whose reports are up to date: orders in two currencies, one of them refunded, and touches."""
    await a_busy_monday(world)
    await world.refund(1, line=2, amount="12.34")
    await world.engine().run_until_caught_up()
    return world


async def of_reports(world: World) -> set[tuple[Pass, Kind, int]]:
    return found(await verified(world))


async def last_split(world: World, order_id: str) -> int:
    [(position,)] = await world.rows("SELECT max(position) FROM colink.events WHERE stream_id = %s", order_id)
    return int(position)


async def test_reports_as_they_were_folded(told: World) -> None:
    report = await verified(told)
    assert report.findings == []
    result = report.result(Pass.PROJECTIONS)
    assert result.status is Status.PASSED
    rows = await told.rows(
        f"SELECT (SELECT count(*) FROM {ORDERS}), (SELECT count(*) FROM {SALES}), (SELECT count(*) FROM {TOUCHES}),"
        f" (SELECT count(*) FROM {SCORES}), (SELECT count(*) FROM colink_read.balance_moves_v1),"
        " (SELECT count(*) FROM colink_read.balance_sums_v1 WHERE level = 0)"
    )
    [(orders, sales, touches, scores, moves, sums)] = rows
    assert (orders, result.checked) == (4, 2 * orders + sales + touches + scores + moves + sums)


async def test_a_projection_that_is_behind(told: World) -> None:
    [(come,)] = await told.rows("SELECT position FROM colink.log_head")
    await told.refund(3, line=1, amount="5.00")
    await told.order(5, 7_000, creator=BUDI)
    await told.touch(BUDI)
    report = await verified(told)
    assert report.findings == []
    reason = report.result(Pass.PROJECTIONS).reason or ""
    assert f"leaderboard has come to {come} of {report.head} in the commerce log" in reason


async def test_a_report_that_was_emptied_says_how_far_it_is(told: World) -> None:
    """Who may write the tables may also say that they are not filled yet: that is not passed over in silence."""
    told.tamper(
        f"TRUNCATE {SALES}, {ORDERS}, {TOUCHES}",
        "UPDATE colink.projection_checkpoints SET position = 0 WHERE projection = 'attribution_report'",
    )
    report = await verified(told)
    assert report.findings == []
    assert f"attribution_report has come to 0 of {report.head} in the commerce log" in (
        report.result(Pass.PROJECTIONS).reason or ""
    )
    told.tamper("UPDATE colink.projections SET live_version = NULL WHERE name = 'attribution_report'")
    assert (await verified(told)).result(Pass.PROJECTIONS).reason == "no version of attribution_report is in use"


async def test_a_projection_that_is_ahead(told: World) -> None:
    """It would pass over the events to come."""
    [(head,)] = await told.rows("SELECT position FROM colink.log_head")
    ahead = "UPDATE colink.projection_checkpoints SET position = position + 5 WHERE projection = 'leaderboard'"
    assert told.tamper(ahead) == [2]
    assert await of_reports(told) == {(Pass.PROJECTIONS, Kind.HEAD_DIFFERS, position) for position in (0, head)}


async def test_tables_stay_while_they_are_verified(told: World) -> None:
    """A rebuild meanwhile retires the version that the verification reads; nobody drops it yet."""
    engine = ProjectionEngine(told.pool, told.projections(), told.mapper.newest, grace=timedelta(0))
    async with told.pool.connection() as conn, conn.transaction():
        await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        assert {each.version for each in await followed_reports(conn)} == {1}
        await engine.rebuild("leaderboard")
        assert await engine.drop_retired() == 0
    assert await engine.drop_retired() == 1


async def test_reports_before_the_first_worker(world: World) -> None:
    await world.order(1, 10_000)
    result = (await verified(world)).result(Pass.PROJECTIONS)
    assert result.status is Status.PARTIAL
    assert "no version of leaderboard is in use" in (result.reason or "")


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (f"UPDATE {SALES} SET revenue = revenue + 1 WHERE creator_id = '{AINA}' AND currency = 'MYR'", Kind.CHANGED),
        (f"UPDATE {ORDERS} SET commission = 0 WHERE order_id = '{ORDER}'", Kind.CHANGED),
        (f"DELETE FROM {ORDERS} WHERE order_id = '{ORDER}'", Kind.MISSING),
        (
            (
                f"UPDATE {SCORES} SET value = value + 1 WHERE metric = 'revenue' AND currency = 'MYR'"
                f" AND creator_id = '{AINA}' AND quarter = '-infinity' AND board LIKE 'campaign:%'"
            ),
            Kind.CHANGED,
        ),
        (
            (
                f"DELETE FROM {SCORES} WHERE metric = 'revenue' AND currency = 'MYR'"
                f" AND creator_id = '{AINA}' AND quarter > '-infinity' AND board LIKE 'campaign:%'"
            ),
            Kind.MISSING,
        ),
    ],
)
async def test_what_orders_add(told: World, change: str, kind: Kind) -> None:
    assert told.tamper(change) == [1]
    assert await of_reports(told) == {(Pass.PROJECTIONS, kind, await last_split(told, ORDER))}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (f"UPDATE {TOUCHES} SET clicks = clicks + 1 WHERE creator_id = '{BUDI}'", Kind.CHANGED),
        (f"DELETE FROM {TOUCHES} WHERE creator_id = '{BUDI}'", Kind.MISSING),
        (
            (
                f"UPDATE {SCORES} SET value = value + 1 WHERE metric = 'clicks' AND quarter = '-infinity'"
                f" AND creator_id = '{BUDI}' AND board LIKE 'campaign:%'"
            ),
            Kind.CHANGED,
        ),
        (
            (
                f"INSERT INTO {ORDERS} SELECT 'ord_9', organization_id, quarter, creator_id, campaign_id, link_id,"
                f" currency, 1, 1 FROM {ORDERS} WHERE order_id = '{ORDER}'"
            ),
            Kind.EXTRA,
        ),
        (
            (
                f"INSERT INTO {SALES} SELECT 'org_9', quarter, creator_id, campaign_id, link_id, currency, 1, 1, 1"
                f" FROM {SALES} WHERE creator_id = '{BUDI}'"
            ),
            Kind.EXTRA,
        ),
    ],
)
async def test_what_names_no_position_of_the_log(told: World, change: str, kind: Kind) -> None:
    assert told.tamper(change) == [1]
    assert await of_reports(told) == {(Pass.PROJECTIONS, kind, 0)}


async def test_a_version_whose_row_was_lost_stops_nobody_from_opening_the_application(told: World) -> None:
    """The next one is numbered behind its tables, which are still read."""
    told.tamper("DELETE FROM colink.projection_versions WHERE projection = 'leaderboard'")
    await told.engine().register()
    await told.engine().register()
    versions = await told.rows("SELECT version FROM colink.projection_versions WHERE projection = 'leaderboard'")
    assert versions == [(2,)]
