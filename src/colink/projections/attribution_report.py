"""The attribution report: clicks, views, orders, revenue and commission by creator, campaign, link or day.

Responsible for its sums and the question the API asks of them. Sums are kept by quarter of an hour (see
`credited_orders.py`, which also says when an order counts) and cut into days of the organisation's time zone here.

Touches: only those that count (not set aside, no repeat within the hour; semantics section 3), at the time they
occurred. A touch of a link without a campaign belongs to the organisation whose store its destination leads to, by
the stores connected when the report is read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import ClassVar

from colink.domain.tracking import TouchDetails, TouchKind, TouchRecorded
from colink.projections import credited_orders
from colink.projections.credited_orders import Amounts, Change, Credit, quarter_of
from colink.projections.engine import Connection, Log, Seen, live_version
from colink.projections.organization_places import host_key, places_of

NAME = "attribution_report"


class GroupBy(StrEnum):
    CREATOR = "creator"
    CAMPAIGN = "campaign"
    LINK = "link"
    DAY = "day"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionRow:
    """One group in one currency. `key` is a creator, campaign or link id (None: without campaign or link) or a day
    (`YYYY-MM-DD` in the organisation's time zone). `revenue` and `commission` are minor units, net of refunds;
    `currency` None: there are touches but no orders. Touches have no currency: `clicks` and `views` are the group's,
    the same on each of its rows."""

    key: str | None
    currency: str | None
    clicks: int
    views: int
    orders: int
    revenue: int
    commission: int


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class _TouchKey:
    """Empty text stands for none, so that it can be part of a primary key."""

    organization_id: str
    destination_host: str
    quarter: datetime
    creator_id: str
    campaign_id: str
    link_id: str


class AttributionReport:
    """The projection. Orders come from the commerce log, touches from the tracking log, into tables of their own."""

    name: ClassVar[str] = NAME
    version: ClassVar[int] = 1
    topics: ClassVar[Mapping[Log, Sequence[str]]] = {
        Log.COMMERCE: credited_orders.TOPICS,
        Log.TRACKING: (TouchRecorded.TOPIC,),
    }

    async def apply(self, conn: Connection, log: Log, events: Sequence[Seen]) -> None:
        if log is Log.COMMERCE:
            orders = _orders_table(self.version)
            states = await credited_orders.load(conn, orders, events)
            changes = credited_orders.fold(states, events)
            await credited_orders.save(conn, orders, states)
            await _add_sales(conn, self.version, sum_changes(changes))
        else:
            await _add_touches(conn, self.version, sum_touches(events))


def _orders_table(version: int) -> str:
    return f"colink.attribution_orders_v{version}"


def _sales_table(version: int) -> str:
    return f"colink.attribution_sales_v{version}"


def _touches_table(version: int) -> str:
    return f"colink.attribution_touches_v{version}"


def sum_changes(changes: Sequence[Change]) -> dict[Credit, Amounts]:
    """What a batch adds to the sums."""
    sums: dict[Credit, Amounts] = defaultdict(Amounts)
    for change in changes:
        sums[change.credit] = sums[change.credit].plus(change.difference)
    return sums


def counts(touch: TouchDetails) -> bool:
    """Whether a touch is counted (semantics section 3)."""
    return touch.set_aside is None and not touch.repeat


def sum_touches(events: Sequence[Seen]) -> dict[_TouchKey, tuple[int, int]]:
    """Clicks and views that count, by where they belong."""
    sums: dict[_TouchKey, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for seen in events:
        if not isinstance(seen.event, TouchRecorded) or not counts(touch := seen.event.details):
            continue
        key = _TouchKey(
            organization_id=touch.organization_id or "",
            destination_host="" if touch.organization_id else host_key(touch.destination_host or ""),
            quarter=quarter_of(touch.occurred_at),
            creator_id=touch.creator_id,
            campaign_id=touch.campaign_id or "",
            link_id=touch.link_id or "",
        )
        clicks, views = sums[key]
        is_click = touch.kind is TouchKind.CLICK
        sums[key] = (clicks + is_click, views + (not is_click))
    return sums


async def _add_sales(conn: Connection, version: int, sums: Mapping[Credit, Amounts]) -> None:
    rows = [
        (c.organization_id, c.quarter, c.creator_id, c.campaign_id or "", c.link_id or "", c.currency, a)
        for c, a in sums.items()
    ]
    rows.sort(key=lambda row: row[:6])
    if not rows:
        return
    organizations, quarters, creators, campaigns, links, currencies, amounts = zip(*rows, strict=True)
    await conn.execute(
        f"INSERT INTO {_sales_table(version)} AS s (organization_id, quarter, creator_id, campaign_id, link_id,"
        " currency, orders, revenue, commission)"
        " SELECT * FROM unnest(%s::text[], %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[],"
        " %s::bigint[], %s::bigint[], %s::bigint[])"
        " ON CONFLICT (organization_id, quarter, creator_id, campaign_id, link_id, currency) DO UPDATE SET"
        " orders = s.orders + excluded.orders, revenue = s.revenue + excluded.revenue,"
        " commission = s.commission + excluded.commission",
        [
            list(organizations),
            list(quarters),
            list(creators),
            list(campaigns),
            list(links),
            list(currencies),
            [a.orders for a in amounts],
            [a.revenue for a in amounts],
            [a.commission for a in amounts],
        ],
    )


async def _add_touches(conn: Connection, version: int, sums: Mapping[_TouchKey, tuple[int, int]]) -> None:
    if not sums:
        return
    keys = sorted(sums)
    await conn.execute(
        f"INSERT INTO {_touches_table(version)} AS t (organization_id, destination_host, quarter, creator_id,"
        " campaign_id, link_id, clicks, views)"
        " SELECT * FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::text[], %s::text[], %s::text[],"
        " %s::bigint[], %s::bigint[])"
        " ON CONFLICT (organization_id, destination_host, quarter, creator_id, campaign_id, link_id) DO UPDATE SET"
        " clicks = t.clicks + excluded.clicks, views = t.views + excluded.views",
        [
            [key.organization_id for key in keys],
            [key.destination_host for key in keys],
            [key.quarter for key in keys],
            [key.creator_id for key in keys],
            [key.campaign_id for key in keys],
            [key.link_id for key in keys],
            [sums[key][0] for key in keys],
            [sums[key][1] for key in keys],
        ],
    )


_GROUPS: Mapping[GroupBy, str] = {
    GroupBy.CREATOR: "creator_id",
    GroupBy.CAMPAIGN: "campaign_id",
    GroupBy.LINK: "link_id",
    GroupBy.DAY: "to_char(quarter AT TIME ZONE %(timezone)s, 'YYYY-MM-DD')",
}

# A day begins at its local midnight. Times of open ends are left out by the null test.
_WITHIN = (
    "(%(from)s::date IS NULL OR quarter >= %(from)s::date::timestamp AT TIME ZONE %(timezone)s)"
    " AND (%(to)s::date IS NULL OR quarter < %(to)s::date::timestamp AT TIME ZONE %(timezone)s)"
    " AND (%(creator)s::text IS NULL OR creator_id = %(creator)s)"
)


async def attribution_report(
    conn: Connection,
    *,
    organization_id: str,
    group_by: GroupBy,
    from_day: date | None = None,
    to_day: date | None = None,
    creator_id: str | None = None,
    after: tuple[str | None, str | None] | None = None,
    limit: int | None = None,
) -> list[AttributionRow]:
    """Rows of one organisation from `from_day` to `to_day` (excluded), days of its time zone; groups in which nothing
    happened have no row. Ordered by key, then currency; `after` is the (key, currency) of the last row of the page
    before. `creator_id` keeps one creator's. Raises NotFound for an unknown organisation."""
    places = await places_of(conn, organization_id)
    version = await live_version(conn, NAME)
    group = _GROUPS[group_by]
    cursor = await conn.execute(
        f"WITH sales AS (SELECT {group} AS key, currency, sum(orders)::bigint AS orders,"
        f" sum(revenue)::bigint AS revenue, sum(commission)::bigint AS commission FROM {_sales_table(version)}"
        f" WHERE organization_id = %(organization)s AND {_WITHIN} GROUP BY 1, 2"
        # what was counted and then taken away leaves rows of nothing
        " HAVING sum(orders) <> 0 OR sum(revenue) <> 0 OR sum(commission) <> 0),"
        f" touches AS (SELECT {group} AS key, sum(clicks)::bigint AS clicks, sum(views)::bigint AS views"
        f" FROM {_touches_table(version)} WHERE ((organization_id = %(organization)s AND destination_host = '')"
        f" OR (organization_id = '' AND destination_host = ANY(%(hosts)s))) AND {_WITHIN} GROUP BY 1),"
        " report AS (SELECT coalesce(s.key, t.key) AS key, coalesce(s.currency, '') AS currency,"
        " coalesce(t.clicks, 0) AS clicks, coalesce(t.views, 0) AS views, coalesce(s.orders, 0) AS orders,"
        " coalesce(s.revenue, 0) AS revenue, coalesce(s.commission, 0) AS commission"
        " FROM sales s FULL JOIN touches t ON t.key = s.key)"
        " SELECT key, currency, clicks, views, orders, revenue, commission FROM report"
        " WHERE %(after_key)s::text IS NULL OR (key, currency) > (%(after_key)s, %(after_currency)s)"
        " ORDER BY key, currency LIMIT %(limit)s",
        {
            "organization": organization_id,
            "hosts": list(places.hosts),
            "timezone": places.timezone,
            "from": from_day,
            "to": to_day,
            "creator": creator_id,
            "after_key": None if after is None else after[0] or "",
            "after_currency": "" if after is None else after[1] or "",
            "limit": limit,
        },
    )
    return [
        AttributionRow(
            key=row[0] or None,
            currency=row[1] or None,
            clicks=row[2],
            views=row[3],
            orders=row[4],
            revenue=row[5],
            commission=row[6],
        )
        for row in await cursor.fetchall()
    ]
