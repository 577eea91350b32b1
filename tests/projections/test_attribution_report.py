"""The attribution report gives exact numbers per group and currency, in days of the organisation's time zone, and
every correction of an order moves the numbers of the day it was placed on."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from tests.projections.world import AINA, BUDI, CAMPAIGN, MONDAY, ORGANIZATION, World

from colink.domain.errors import NotFound
from colink.domain.tracking import SetAside, TouchKind
from colink.projections.attribution_report import AttributionRow, GroupBy, attribution_report

pytestmark = pytest.mark.anyio

# Kuala Lumpur is 8 hours ahead: its Tuesday begins on Monday at 16:00 UTC.
LAST_SECOND_OF_MONDAY = datetime(2026, 3, 2, 15, 59, 59, tzinfo=UTC)
FIRST_SECOND_OF_TUESDAY = datetime(2026, 3, 2, 16, 0, tzinfo=UTC)


async def report(world: World, group_by: GroupBy, **options: object) -> list[AttributionRow]:
    await world.engine().run_until_caught_up()
    async with world.pool.connection() as conn:
        return await attribution_report(
            conn,
            organization_id=ORGANIZATION,
            group_by=group_by,
            **options,  # type: ignore[arg-type]  # a test's own keywords
        )


def row(key: str | None, currency: str | None, *numbers: int) -> AttributionRow:
    clicks, views, orders, revenue, commission = numbers
    return AttributionRow(
        key=key,
        currency=currency,
        clicks=clicks,
        views=views,
        orders=orders,
        revenue=revenue,
        commission=commission,
    )


async def a_busy_monday(world: World) -> None:
    await world.order(1, 10_000, 5_000, creator=AINA)
    await world.order(2, 2_000, creator=AINA, currency="SGD", placed_at=LAST_SECOND_OF_MONDAY)
    await world.order(3, 4_000, creator=BUDI, placed_at=FIRST_SECOND_OF_TUESDAY)
    await world.order(4, 9_900, creator=None)
    await world.touch(AINA)
    await world.touch(AINA, occurred_at=LAST_SECOND_OF_MONDAY)
    await world.touch(AINA, repeat=True)
    await world.touch(AINA, set_aside=SetAside.BOT)
    await world.touch(AINA, kind=TouchKind.VIEW, link_id=None)
    await world.touch(BUDI, occurred_at=FIRST_SECOND_OF_TUESDAY)
    await world.touch("cre_cik", organization_id="org_2", campaign_id="cmp_2")


async def test_by_creator(world: World) -> None:
    await a_busy_monday(world)
    assert await report(world, GroupBy.CREATOR) == [
        row(AINA, "MYR", 2, 1, 1, 15_000, 1_500),
        row(AINA, "SGD", 2, 1, 1, 2_000, 200),
        row(BUDI, "MYR", 1, 0, 1, 4_000, 400),
    ]


async def test_by_day_of_the_organisation(world: World) -> None:
    await a_busy_monday(world)
    monday = [row("2026-03-02", "MYR", 2, 1, 1, 15_000, 1_500), row("2026-03-02", "SGD", 2, 1, 1, 2_000, 200)]
    tuesday = [row("2026-03-03", "MYR", 1, 0, 1, 4_000, 400)]
    assert await report(world, GroupBy.DAY) == monday + tuesday
    first, second, third = date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 4)
    assert await report(world, GroupBy.DAY, from_day=first, to_day=second) == monday, "`to` is excluded"
    assert await report(world, GroupBy.DAY, from_day=second, to_day=third) == tuesday
    assert await report(world, GroupBy.DAY, from_day=third) == []


async def test_by_campaign_and_link(world: World) -> None:
    await a_busy_monday(world)
    assert await report(world, GroupBy.CAMPAIGN) == [
        row(CAMPAIGN, "MYR", 3, 1, 2, 19_000, 1_900),
        row(CAMPAIGN, "SGD", 3, 1, 1, 2_000, 200),
    ]
    assert await report(world, GroupBy.LINK) == [
        # coupons and views have no link
        row(None, "MYR", 0, 1, 2, 19_000, 1_900),
        row(None, "SGD", 0, 1, 1, 2_000, 200),
        row(f"lnk_{AINA}", None, 2, 0, 0, 0, 0),
        row(f"lnk_{BUDI}", None, 1, 0, 0, 0, 0),
    ]


async def test_a_creator_sees_only_their_own(world: World) -> None:
    await a_busy_monday(world)
    assert await report(world, GroupBy.CREATOR, creator_id=BUDI) == [row(BUDI, "MYR", 1, 0, 1, 4_000, 400)]


async def test_pages(world: World) -> None:
    await a_busy_monday(world)
    whole = await report(world, GroupBy.CREATOR)
    first = await report(world, GroupBy.CREATOR, limit=2)
    rest = await report(world, GroupBy.CREATOR, limit=2, after=(first[-1].key, first[-1].currency))
    assert [*first, *rest] == whole


async def test_a_refund_moves_the_day_of_the_order(world: World) -> None:
    await world.order(1, 10_000, 5_000)
    assert await report(world, GroupBy.DAY) == [row("2026-03-02", "MYR", 0, 0, 1, 15_000, 1_500)]

    await world.refund(1, line=2, amount="25.00", at=MONDAY + timedelta(days=9))
    assert await report(world, GroupBy.DAY) == [row("2026-03-02", "MYR", 0, 0, 1, 12_500, 1_250)]

    await world.order(1, 10_000, 5_000, cancelled=True, later=timedelta(days=10))
    assert await report(world, GroupBy.DAY) == [row("2026-03-02", "MYR", 0, 0, 1, 0, 0)]


async def test_another_attribution_replaces_the_first(world: World) -> None:
    await world.order(1, 10_000, creator=AINA, discount=100)
    assert await report(world, GroupBy.CREATOR) == [row(AINA, "MYR", 0, 0, 1, 10_000, 1_000)]

    await world.order(1, 10_000, creator=BUDI, discount=500, later=timedelta(hours=1))

    assert await report(world, GroupBy.CREATOR) == [row(BUDI, "MYR", 0, 0, 1, 10_000, 1_000)]


async def test_a_refund_before_its_order_counts_once_it_came(world: World) -> None:
    await world.refund(1, line=1, amount="40.00")
    assert await report(world, GroupBy.CREATOR) == []
    await world.order(1, 10_000)
    assert await report(world, GroupBy.CREATOR) == [row(AINA, "MYR", 0, 0, 1, 6_000, 600)]


async def test_a_link_without_campaign_counts_for_the_shop_it_leads_to(world: World) -> None:
    plain = {"campaign_id": None, "organization_id": None}
    await world.touch(AINA, **plain, destination_host="kedai.example")
    await world.touch(AINA, **plain, destination_host="WWW.kedai.example")
    await world.touch(AINA, **plain, destination_host="elsewhere.example")
    assert await report(world, GroupBy.CREATOR) == [row(AINA, None, 2, 0, 0, 0, 0)]


async def test_an_unknown_organisation_is_not_found(world: World) -> None:
    async with world.pool.connection() as conn:
        with pytest.raises(NotFound):
            await attribution_report(conn, organization_id="org_nobody", group_by=GroupBy.DAY)
