"""The attribution report: clicks, views, orders, revenue and commission by creator, campaign, link or day.

Responsible for its sums and the question the API asks of them. Sums are kept by quarter of an hour (see
`credited_orders.py`, which also says when an order counts) and cut into days of the organisation's time zone here.

Touches: only those that count (not set aside, no repeat within the hour; semantics section 3), at the time they
occurred. A touch of a link without a campaign belongs to the organisation whose store its destination leads to, by
the stores connected when the report is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import ClassVar

import msgspec

from colink.domain.tracking import TouchKind, TouchRecorded
from colink.projections import credited_orders
from colink.projections.arrays import numbers, texts
from colink.projections.credited_orders import Change, Credit, quarter_of
from colink.projections.logs import Connection, Log, LogEvent, Parts
from colink.projections.organization_places import host_key, places_of
from colink.projections.touch_parts import TouchPart, counts
from colink.projections.versions import live_version, table

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


class _TouchKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """Where a touch counts. Empty text stands for none, so that it can be part of a primary key."""

    organization_id: str
    destination_host: str
    quarter: str
    creator_id: str
    campaign_id: str
    link_id: str


class AttributionReport:
    """The projection. Orders come from the commerce log, touches from the tracking log, into tables of their own."""

    name: ClassVar[str] = NAME
    shape: ClassVar[int] = 1
    tables: ClassVar[Mapping[str, str]] = {
        "attribution_orders": credited_orders.TABLE,
        "attribution_sales": """(
            organization_id text        not null,
            quarter         timestamptz not null,
            creator_id      text        not null,
            campaign_id     text        not null,
            link_id         text        not null,
            currency        text        not null,
            orders          bigint      not null,
            revenue         bigint      not null,
            commission      bigint      not null,
            primary key (organization_id, quarter, creator_id, campaign_id, link_id, currency)
        ) WITH (fillfactor = 80)""",
        "attribution_touches": """(
            organization_id  text        not null,
            destination_host text        not null,
            quarter          timestamptz not null,
            creator_id       text        not null,
            campaign_id      text        not null,
            link_id          text        not null,
            clicks           bigint      not null,
            views            bigint      not null,
            primary key (organization_id, destination_host, quarter, creator_id, campaign_id, link_id)
        ) WITH (fillfactor = 80)""",
    }
    parts: ClassVar[Mapping[Log, Parts]] = {
        Log.COMMERCE: credited_orders.PARTS,
        Log.TRACKING: {TouchRecorded: TouchPart},
    }

    async def apply(self, conn: Connection, version: int, log: Log, events: list[LogEvent]) -> None:
        if log is Log.COMMERCE:
            orders = table("attribution_orders", version)
            states = await credited_orders.load(conn, orders, events)
            changes = credited_orders.fold(states, events)
            await credited_orders.save(conn, orders, states)
            await _add_sales(conn, version, sum_changes(changes))
        else:
            await _add_touches(conn, version, sum_touches(events))


def sum_changes(changes: Iterable[Change]) -> dict[Credit, list[int]]:
    """What a batch adds to the sums: orders, revenue and commission."""
    sums: dict[Credit, list[int]] = {}
    for change in changes:
        added = sums.get(change.credit)
        if added is None:
            added = sums[change.credit] = [0, 0, 0]
        before, after = change.before, change.after
        added[0] += after.orders - before.orders
        added[1] += after.revenue - before.revenue
        added[2] += after.commission - before.commission
    return sums


def sum_touches(events: Iterable[LogEvent]) -> dict[_TouchKey, list[int]]:
    """Clicks and views that count, by where they belong."""
    sums: dict[_TouchKey, list[int]] = {}
    for event in events:
        touch = event.part.details
        if not counts(touch):
            continue
        key = _TouchKey(
            touch.organization_id or "",
            "" if touch.organization_id else host_key(touch.destination_host or ""),
            quarter_of(touch.occurred_at),
            touch.creator_id,
            touch.campaign_id or "",
            touch.link_id or "",
        )
        added = sums.get(key)
        if added is None:
            added = sums[key] = [0, 0]
        added[0 if touch.kind == TouchKind.CLICK else 1] += 1
    return sums


async def _add_sales(conn: Connection, version: int, sums: Mapping[Credit, list[int]]) -> None:
    if not sums:
        return
    keys = sorted(sums)
    await conn.execute(
        f"INSERT INTO {table('attribution_sales', version)} AS s (organization_id, quarter, creator_id, campaign_id,"
        " link_id, currency, orders, revenue, commission)"
        " SELECT * FROM unnest(%s::text[], %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[],"
        " %s::bigint[], %s::bigint[], %s::bigint[])"
        " ON CONFLICT (organization_id, quarter, creator_id, campaign_id, link_id, currency) DO UPDATE SET"
        " orders = s.orders + excluded.orders, revenue = s.revenue + excluded.revenue,"
        " commission = s.commission + excluded.commission",
        [
            texts([key.organization_id for key in keys]),
            texts([key.quarter for key in keys]),
            texts([key.creator_id for key in keys]),
            texts([key.campaign_id for key in keys]),
            texts([key.link_id for key in keys]),
            texts([key.currency for key in keys]),
            *(numbers([sums[key][n] for key in keys]) for n in range(3)),
        ],
    )


async def _add_touches(conn: Connection, version: int, sums: Mapping[_TouchKey, list[int]]) -> None:
    if not sums:
        return
    keys = sorted(sums)
    await conn.execute(
        f"INSERT INTO {table('attribution_touches', version)} AS t (organization_id, destination_host, quarter,"
        " creator_id, campaign_id, link_id, clicks, views)"
        " SELECT * FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::text[], %s::text[], %s::text[],"
        " %s::bigint[], %s::bigint[])"
        " ON CONFLICT (organization_id, destination_host, quarter, creator_id, campaign_id, link_id) DO UPDATE SET"
        " clicks = t.clicks + excluded.clicks, views = t.views + excluded.views",
        [
            texts([key.organization_id for key in keys]),
            texts([key.destination_host for key in keys]),
            texts([key.quarter for key in keys]),
            texts([key.creator_id for key in keys]),
            texts([key.campaign_id for key in keys]),
            texts([key.link_id for key in keys]),
            *(numbers([sums[key][n] for key in keys]) for n in range(2)),
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
    version = await live_version(conn, AttributionReport)
    sales_table, touches_table = table("attribution_sales", version), table("attribution_touches", version)
    group = _GROUPS[group_by]
    cursor = await conn.execute(
        f"WITH sales AS (SELECT {group} AS key, currency, sum(orders)::bigint AS orders,"
        f" sum(revenue)::bigint AS revenue, sum(commission)::bigint AS commission FROM {sales_table}"
        f" WHERE organization_id = %(organization)s AND {_WITHIN} GROUP BY 1, 2"
        # what was counted and then taken away leaves rows of nothing
        " HAVING sum(orders) <> 0 OR sum(revenue) <> 0 OR sum(commission) <> 0),"
        f" touches AS (SELECT {group} AS key, sum(clicks)::bigint AS clicks, sum(views)::bigint AS views"
        f" FROM {touches_table} WHERE ((organization_id = %(organization)s AND destination_host = '')"
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
