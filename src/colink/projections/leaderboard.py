"""Leaderboards of a campaign or an organisation: net attributed revenue, orders or clicks. Semantics section 10.

Responsible for scores and their ranking. A score is kept by quarter of an hour and once over all time; days, weeks
(from Monday) and months of the organisation's time zone are cut when the board is read.

- Revenue is net of refunds and ranked per currency; an order counts while anything of it is left, so a full refund
  takes it away again. Both belong to the time the order was placed, clicks to the time they occurred.
- Clicks are those that count (semantics section 3).
- Ranks are dense. Of equals the first is who got there first: `reached_at_position` is the position, in the log the
  metric comes from, of the last event that changed the score; it stands since then.
- A score of nothing is not listed, nor is a creator in `hidden`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from colink.domain.errors import InvalidInput
from colink.domain.tracking import TouchKind, TouchRecorded
from colink.projections import credited_orders
from colink.projections.arrays import numbers, texts
from colink.projections.credited_orders import Change, quarter_of
from colink.projections.logs import Connection, Log, LogEvent, Parts
from colink.projections.organization_places import host_key, organization_of_campaign, places_of
from colink.projections.touch_parts import TouchPart, counts
from colink.projections.versions import live_version, table

NAME = "leaderboard"
_ALL_TIME = "-infinity"


class Period(StrEnum):
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    ALL_TIME = "all_time"


class Metric(StrEnum):
    REVENUE = "revenue"
    ORDERS = "orders"
    CLICKS = "clicks"


_REVENUE, _ORDERS, _CLICKS = (metric.value for metric in Metric)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardRow:
    """`value`: minor units of `currency` for revenue, else a number (`currency` None)."""

    rank: int
    creator_id: str
    handle: str  # sealed (domain/people.py)
    value: int
    currency: str | None
    reached_at_position: int


_ScoreKey = tuple[str, str, str, str, str]
"""Board (`organization:{id}`, `campaign:{id}` or `host:{name}`), metric, currency (empty for what has none), quarter
(RFC 3339; `-infinity` for all time) and creator id."""

Score = tuple[int, int]
"""What a batch adds, and the position of the last event that added."""


class Leaderboard:
    """The projection. Revenue and orders come from the commerce log, clicks from the tracking log; no score is fed by
    both."""

    name: ClassVar[str] = NAME
    shape: ClassVar[int] = 1
    tables: ClassVar[Mapping[str, str]] = {
        "leaderboard_orders": credited_orders.TABLE,
        "leaderboard_scores": """(
            board               text        not null,
            metric              text        not null,
            currency            text        not null,
            quarter             timestamptz not null,
            creator_id          text        not null,
            value               bigint      not null,
            reached_at_position bigint      not null,
            primary key (board, metric, currency, quarter, creator_id)
        ) WITH (fillfactor = 80)""",
    }
    parts: ClassVar[Mapping[Log, Parts]] = {
        Log.COMMERCE: credited_orders.PARTS,
        Log.TRACKING: {TouchRecorded: TouchPart},
    }

    async def apply(self, conn: Connection, version: int, log: Log, events: list[LogEvent]) -> None:
        if log is Log.COMMERCE:
            orders = table("leaderboard_orders", version)
            states = await credited_orders.load(conn, orders, events)
            scores = score_changes(credited_orders.fold(states, events))
            await credited_orders.save(conn, orders, states)
        else:
            scores = score_clicks(events)
        await _add(conn, version, scores)


def score_changes(changes: Iterable[Change]) -> dict[_ScoreKey, Score]:
    """What changed orders add to the scores of revenue and orders."""
    scores = _Scores()
    for change in changes:
        credit, before, after = change.credit, change.before.revenue, change.after.revenue
        revenue, orders = after - before, (after > 0) - (before > 0)
        boards = [f"organization:{credit.organization_id}"]
        if credit.campaign_id:
            boards.append(f"campaign:{credit.campaign_id}")
        for board in boards:
            for quarter in (_ALL_TIME, credit.quarter):
                revenue_key = (board, _REVENUE, credit.currency, quarter, credit.creator_id)
                scores.add(change.position, revenue_key, revenue)
                scores.add(change.position, (board, _ORDERS, "", quarter, credit.creator_id), orders)
    return scores.summed()


def score_clicks(events: Iterable[LogEvent]) -> dict[_ScoreKey, Score]:
    """What clicks add. One without a campaign scores for the host its link leads to."""
    scores = _Scores()
    for event in events:
        touch = event.part.details
        if touch.kind != TouchKind.CLICK or not counts(touch):
            continue
        boards = []
        if touch.organization_id:
            boards.append(f"organization:{touch.organization_id}")
        elif touch.destination_host:
            boards.append(f"host:{host_key(touch.destination_host)}")
        if touch.campaign_id:
            boards.append(f"campaign:{touch.campaign_id}")
        for board in boards:
            for quarter in (_ALL_TIME, quarter_of(touch.occurred_at)):
                scores.add(event.position, (board, _CLICKS, "", quarter, touch.creator_id), 1)
    return scores.summed()


class _Scores:
    """Adds up what events, in order of position, change. An event that takes as much from a score as it gives (an
    order that moves to another link of its creator) has not changed it."""

    def __init__(self) -> None:
        self._scores: dict[_ScoreKey, Score] = {}
        self._position = 0
        self._of_event: dict[_ScoreKey, int] = {}

    def add(self, position: int, key: _ScoreKey, value: int) -> None:
        if position != self._position:
            self._end_event()
            self._position = position
        self._of_event[key] = self._of_event.get(key, 0) + value

    def _end_event(self) -> None:
        for key, value in self._of_event.items():
            if value:
                known = self._scores.get(key)
                self._scores[key] = (value + known[0] if known else value, self._position)
        self._of_event.clear()

    def summed(self) -> dict[_ScoreKey, Score]:
        self._end_event()
        return self._scores


async def _add(conn: Connection, version: int, scores: Mapping[_ScoreKey, Score]) -> None:
    if not scores:
        return
    keys = sorted(scores)
    await conn.execute(
        f"INSERT INTO {table('leaderboard_scores', version)} AS s (board, metric, currency, quarter, creator_id,"
        " value, reached_at_position) SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[],"
        " %s::text[], %s::bigint[], %s::bigint[])"
        " ON CONFLICT (board, metric, currency, quarter, creator_id) DO UPDATE SET"
        " value = s.value + excluded.value,"
        " reached_at_position = greatest(s.reached_at_position, excluded.reached_at_position)",
        [
            *(texts(column) for column in zip(*keys, strict=True)),
            numbers([scores[key][0] for key in keys]),
            numbers([scores[key][1] for key in keys]),
        ],
    )


_UNIT: Mapping[Period, str] = {Period.DAILY: "day", Period.WEEKLY: "week", Period.MONTHLY: "month"}


async def leaderboard(
    conn: Connection,
    *,
    period: Period,
    metric: Metric,
    at: datetime,
    organization_id: str | None = None,
    campaign_id: str | None = None,
    currency: str | None = None,
    hidden: Collection[str] = (),
    limit: int | None = None,
    offset: int = 0,
) -> list[LeaderboardRow]:
    """The board of the period `at` lies in, of an organisation or of a campaign (exactly one is given), by currency
    and rank. Raises InvalidInput for none or both, NotFound for an unknown one."""
    if (organization_id is None) == (campaign_id is None):
        msg = "give either organization_id or campaign_id"
        raise InvalidInput(msg, field="organization_id")
    if campaign_id is not None:
        places = await places_of(conn, await organization_of_campaign(conn, campaign_id))
        boards = [f"campaign:{campaign_id}"]
    else:
        assert organization_id is not None  # noqa: S101 - one of the two was given
        places = await places_of(conn, organization_id)
        boards = [f"organization:{organization_id}", *(f"host:{host}" for host in places.hosts)]
    within = "quarter = '-infinity'"
    if period is not Period.ALL_TIME:
        unit = _UNIT[period]
        start = f"date_trunc('{unit}', %(at)s::timestamptz AT TIME ZONE %(timezone)s)"
        within = (
            f"quarter >= {start} AT TIME ZONE %(timezone)s"
            f" AND quarter < ({start} + interval '1 {unit}') AT TIME ZONE %(timezone)s"
        )
    version = await live_version(conn, Leaderboard)
    cursor = await conn.execute(
        "WITH scores AS (SELECT currency, creator_id, sum(value)::bigint AS value,"
        f" max(reached_at_position) AS reached FROM {table('leaderboard_scores', version)}"
        f" WHERE board = ANY(%(boards)s) AND metric = %(metric)s AND {within}"
        " AND (%(currency)s::text IS NULL OR currency = %(currency)s) AND creator_id <> ALL(%(hidden)s)"
        " GROUP BY currency, creator_id HAVING sum(value) > 0),"
        " ranked AS (SELECT dense_rank() OVER (PARTITION BY currency ORDER BY value DESC) AS rank,"
        " creator_id, value, currency, reached FROM scores"
        " ORDER BY currency, rank, reached, creator_id LIMIT %(limit)s OFFSET %(offset)s)"
        " SELECT r.rank, r.creator_id, coalesce(d.body::json ->> 'handle', r.creator_id), r.value, r.currency,"
        " r.reached FROM ranked r"
        " LEFT JOIN colink.documents d ON d.kind = 'creator' AND d.id = r.creator_id AND d.current"
        " ORDER BY r.currency, r.rank, r.reached, r.creator_id",
        {
            "boards": boards,
            "metric": metric.value,
            "currency": currency if metric is Metric.REVENUE else None,
            "hidden": list(hidden),
            "at": at,
            "timezone": places.timezone,
            "limit": limit,
            "offset": offset,
        },
    )
    return [
        LeaderboardRow(
            rank=rank,
            creator_id=creator_id,
            handle=handle,
            value=value,
            currency=row_currency or None,
            reached_at_position=reached,
        )
        for rank, creator_id, handle, value, row_currency, reached in await cursor.fetchall()
    ]
