"""Leaderboards rank by what is left after refunds, densely, and list who got there first first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.projections.world import AINA, BUDI, CAMPAIGN, MONDAY, ORGANIZATION, World

from colink.domain.errors import InvalidInput, NotFound
from colink.domain.tracking import SetAside, TouchKind
from colink.projections.leaderboard import Metric, Period, leaderboard

pytestmark = pytest.mark.anyio


async def board(
    world: World, metric: Metric, period: Period = Period.ALL_TIME, **options: Any
) -> list[tuple[int, str, int, str | None]]:
    """(rank, handle, value, currency) in the order listed."""
    await world.engine().run_until_caught_up()
    options = {"organization_id": ORGANIZATION, "at": MONDAY} | options
    async with world.pool.connection() as conn:
        rows = await leaderboard(conn, metric=metric, period=period, **options)
    return [(row.rank, row.handle, row.value, row.currency) for row in rows]


async def test_revenue_ranks_and_refunds_move_down(world: World) -> None:
    await world.order(1, 10_000, creator=AINA)
    await world.order(2, 6_000, creator=BUDI)
    assert await board(world, Metric.REVENUE) == [(1, "aina", 10_000, "MYR"), (2, "budi", 6_000, "MYR")]

    await world.refund(1, line=1, amount="70.00")

    assert await board(world, Metric.REVENUE) == [(1, "budi", 6_000, "MYR"), (2, "aina", 3_000, "MYR")]


async def test_who_got_there_first_is_listed_first(world: World) -> None:
    await world.order(1, 5_000, creator=BUDI)
    await world.order(2, 2_000, creator=AINA)
    await world.order(3, 3_000, creator=AINA)
    assert await board(world, Metric.REVENUE) == [(1, "budi", 5_000, "MYR"), (1, "aina", 5_000, "MYR")]

    await world.order(4, 1_000, creator=BUDI)
    await world.refund(4, line=1, amount="10.00")

    assert await board(world, Metric.REVENUE) == [(1, "aina", 5_000, "MYR"), (1, "budi", 5_000, "MYR")], (
        "Budi left that score and came back to it later"
    )


async def test_ranks_are_dense(world: World) -> None:
    await world.order(1, 5_000, creator=AINA)
    await world.order(2, 5_000, creator=BUDI)
    await world.touch("cre_cik")
    await world.touch("cre_cik")
    for creator in (AINA, BUDI, "cre_dol"):
        await world.touch(creator)
    assert await board(world, Metric.CLICKS) == [
        (1, "cre_cik", 2, None),  # nobody registered this one: shown by id
        (2, "aina", 1, None),
        (2, "budi", 1, None),
        (2, "cre_dol", 1, None),
    ]
    assert await board(world, Metric.CLICKS, limit=2, offset=1) == [(2, "aina", 1, None), (2, "budi", 1, None)]


async def test_currencies_are_never_added(world: World) -> None:
    await world.order(1, 5_000, creator=AINA)
    await world.order(2, 9_000, creator=BUDI, currency="SGD")
    await world.order(3, 1_000, creator=BUDI)
    assert await board(world, Metric.REVENUE) == [
        (1, "aina", 5_000, "MYR"),
        (2, "budi", 1_000, "MYR"),
        (1, "budi", 9_000, "SGD"),
    ]
    assert await board(world, Metric.REVENUE, currency="SGD") == [(1, "budi", 9_000, "SGD")]
    assert await board(world, Metric.ORDERS) == [(1, "budi", 2, None), (2, "aina", 1, None)]


async def test_an_order_counts_while_anything_of_it_is_left(world: World) -> None:
    await world.order(1, 5_000, creator=AINA)
    await world.refund(1, line=1, amount="49.99")
    assert await board(world, Metric.ORDERS) == [(1, "aina", 1, None)]
    await world.order(1, 5_000, creator=AINA, cancelled=True, later=timedelta(days=2))
    assert await board(world, Metric.ORDERS) == []
    assert await board(world, Metric.REVENUE) == []


async def test_only_clicks_that_count(world: World) -> None:
    await world.touch(AINA)
    await world.touch(AINA, repeat=True)
    await world.touch(AINA, kind=TouchKind.VIEW)
    await world.touch(BUDI, set_aside=SetAside.HEAD_REQUEST)
    assert await board(world, Metric.CLICKS) == [(1, "aina", 1, None)]


async def test_periods_begin_at_the_organisations_midnight(world: World) -> None:
    # Monday 2 March 2026 in Kuala Lumpur is from Sunday 16:00 UTC to Monday 16:00 UTC.
    sunday = datetime(2026, 3, 1, 15, 59, tzinfo=UTC)
    february = datetime(2026, 2, 28, 15, 59, tzinfo=UTC)
    await world.order(1, 100, creator=AINA, placed_at=february)
    await world.order(2, 20, creator=AINA, placed_at=sunday)
    await world.order(3, 3, creator=AINA, placed_at=sunday + timedelta(minutes=1))
    await world.order(4, 4_000, creator=AINA, placed_at=MONDAY + timedelta(days=40))
    values = {period: [value for _, _, value, _ in await board(world, Metric.REVENUE, period)] for period in Period}
    assert values == {Period.DAILY: [3], Period.WEEKLY: [3], Period.MONTHLY: [23], Period.ALL_TIME: [4_123]}


async def test_a_campaigns_board(world: World) -> None:
    await world.order(1, 5_000, creator=AINA)
    await world.touch(BUDI, campaign_id=None, organization_id=None, destination_host="kedai.example")
    campaign = {"organization_id": None, "campaign_id": CAMPAIGN}
    assert await board(world, Metric.REVENUE, **campaign) == [(1, "aina", 5_000, "MYR")]
    assert await board(world, Metric.CLICKS, **campaign) == []
    assert await board(world, Metric.CLICKS) == [(1, "budi", 1, None)], "a link without campaign is the shop's"


async def test_hidden_creators_are_left_out_and_hold_no_rank(world: World) -> None:
    await world.order(1, 5_000, creator=AINA)
    await world.order(2, 1_000, creator=BUDI)
    assert await board(world, Metric.REVENUE, hidden={AINA}) == [(1, "budi", 1_000, "MYR")]


async def test_a_new_attribution_to_the_same_creator_changes_nothing(world: World) -> None:
    """Aina was first; her order is attributed anew after Budi drew level, with the same result for her."""
    await world.order(1, 5_000, creator=AINA, discount=100)
    await world.order(2, 5_000, creator=BUDI)
    await world.order(1, 5_000, creator=AINA, discount=300, later=timedelta(hours=1))
    assert await board(world, Metric.REVENUE) == [(1, "aina", 5_000, "MYR"), (1, "budi", 5_000, "MYR")]


async def test_it_wants_one_of_organisation_and_campaign(world: World) -> None:
    with pytest.raises(InvalidInput):
        await board(world, Metric.CLICKS, organization_id=None)
    with pytest.raises(NotFound):
        await board(world, Metric.CLICKS, organization_id=None, campaign_id="cmp_none")
