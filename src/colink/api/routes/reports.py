"""Reports and leaderboards, out of the async projections: a worker keeps them, seconds behind the log."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from colink.api.answers import json_answer
from colink.api.auth import Permission
from colink.api.bodies import Currency, Moment
from colink.api.pages import Page, numbers_after, page, texts_after
from colink.api.session import Session, may
from colink.domain.errors import InvalidInput, NotFound
from colink.domain.money import Money
from colink.domain.tracking import CouponDetails, LinkDetails
from colink.projections.attribution_report import AttributionRow, GroupBy, attribution_report
from colink.projections.belongings import promotions_of_creator
from colink.projections.engine import Connection
from colink.projections.leaderboard import LeaderboardRow, Metric, Period, leaderboard
from colink.projections.organization_places import organization_of_campaign

router = APIRouter(prefix="/v1", tags=["reports"])


@router.get("/reports/attribution")
async def read_attribution_report(
    *,
    session: Annotated[Session, Depends(may(Permission.READ_REPORTS))],
    page: Annotated[Page, Depends(page)],
    organization_id: str | None = None,
    from_: Annotated[date | None, Query(alias="from")] = None,
    to: date | None = None,
    group_by: GroupBy = GroupBy.CREATOR,
    creator_id: str | None = None,
) -> Response:
    """Clicks, views, orders, revenue and commission net of refunds, a row per group and currency. Days are those of
    the organisation's time zone, `to` excluded."""
    organization_id = organization_id or session.within_organization
    if organization_id is None:
        msg = "organization_id is missing: a report is of one organization"
        raise InvalidInput(msg, field="organization_id")
    session.check_sees_organization(organization_id, what="organization")
    after = texts_after(page, count=2)
    async with session.services.pool.connection() as conn:
        rows = await attribution_report(
            conn,
            organization_id=organization_id,
            group_by=group_by,
            from_day=from_,
            to_day=to,
            creator_id=creator_id,
            after=(after[0], after[1]) if after else None,
            limit=page.limit + 1,
        )
    return json_answer(
        page.answer(
            rows, key=lambda row: (row.key or "", row.currency or ""), show=lambda row: _report_row(row, group_by)
        )
    )


@router.get("/leaderboards")
async def read_leaderboard(
    *,
    session: Annotated[Session, Depends(may(Permission.READ_LEADERBOARDS))],
    page: Annotated[Page, Depends(page)],
    organization_id: str | None = None,
    campaign_id: str | None = None,
    period: Period = Period.ALL_TIME,
    metric: Metric = Metric.REVENUE,
    currency: Currency | None = None,
    at: Moment | None = None,
) -> Response:
    """Creators by rank, ties sharing one. `value` is minor units of `currency` for revenue, else a number. The period
    is the one `at` lies in, now where it is left out. Creators see boards they have a link or coupon for."""
    after = numbers_after(page, count=1)
    offset = after[0] if after else 0
    async with session.services.pool.connection() as conn:
        await _check_sees_board(session, conn, organization_id=organization_id, campaign_id=campaign_id)
        rows = await leaderboard(
            conn,
            period=period,
            metric=metric,
            at=at or session.services.clock.now(),
            organization_id=organization_id,
            campaign_id=campaign_id,
            currency=currency,
            limit=page.limit + 1,
            offset=offset,
        )
    board = page.answer(rows, key=lambda _: (offset + page.limit,), show=_board_row)
    ranks = await session.services.people.show_creators(board["items"], id_="creator_id")
    return json_answer(board | {"items": ranks})


async def _check_sees_board(
    session: Session, conn: Connection, *, organization_id: str | None, campaign_id: str | None
) -> None:
    """A seller sees its own boards, a creator those of organisations they have a link or coupon of."""
    if session.within_payee is None:
        return
    owner = organization_id
    if campaign_id is not None:
        owner = await organization_of_campaign(conn, campaign_id)
    if owner is None:
        return  # the query says that one of the two is needed
    session.check_sees_organization(owner, what="leaderboard")
    creator_id = session.within_creator
    if creator_id is None:
        return
    for promotion in (LinkDetails, CouponDetails):
        if await promotions_of_creator(conn, promotion, creator_id=creator_id, organization_id=owner, limit=1):
            return
    msg = "there is no such leaderboard"
    raise NotFound(msg)


def _report_row(row: AttributionRow, group_by: GroupBy) -> dict[str, Any]:
    name = "day" if group_by is GroupBy.DAY else f"{group_by}_id"
    return {
        name: row.key,
        "currency": row.currency,
        "clicks": row.clicks,
        "views": row.views,
        "orders": row.orders,
        "revenue": Money(row.revenue, row.currency) if row.currency else None,
        "commission": Money(row.commission, row.currency) if row.currency else None,
    }


def _board_row(row: LeaderboardRow) -> dict[str, Any]:
    return {
        "rank": row.rank,
        "creator_id": row.creator_id,
        "handle": row.handle,
        "value": row.value,
        "currency": row.currency,
    }
