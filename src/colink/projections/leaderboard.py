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

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from colink.domain.errors import InvalidInput
from colink.domain.tracking import TouchKind, TouchRecorded
from colink.projections import credited_orders
from colink.projections.attribution_report import counts
from colink.projections.credited_orders import Amounts, Change, quarter_of
from colink.projections.engine import Connection, Log, Seen, live_version
from colink.projections.organization_places import host_key, organization_of_campaign, places_of

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


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardRow:
    """`value`: minor units of `currency` for revenue, else a number (`currency` None)."""

    rank: int
    creator_id: str
    handle: str
    value: int
    currency: str | None
    reached_at_position: int


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class _ScoreKey:
    """`board` is `organization:{id}`, `campaign:{id}` or `host:{name}`; `quarter` as text, `-infinity` for all time;
    `currency` empty for what has none."""

    board: str
    metric: str
    currency: str
    quarter: str
    creator_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a batch adds, and the position of the last event that added."""

    value: int
    reached_at_position: int


class Leaderboard:
    """The projection. Revenue and orders come from the commerce log, clicks from the tracking log; no score is fed by
    both."""

    name: ClassVar[str] = NAME
    version: ClassVar[int] = 1
    topics: ClassVar[Mapping[Log, Sequence[str]]] = {
        Log.COMMERCE: credited_orders.TOPICS,
        Log.TRACKING: (TouchRecorded.TOPIC,),
    }

    async def apply(self, conn: Connection, log: Log, events: Sequence[Seen]) -> None:
        if log is Log.COMMERCE:
            orders = f"colink.leaderboard_orders_v{self.version}"
            states = await credited_orders.load(conn, orders, events)
            scores = score_changes(credited_orders.fold(states, events))
            await credited_orders.save(conn, orders, states)
        else:
            scores = score_clicks(events)
        await _add(conn, self.version, scores)


def _scores_table(version: int) -> str:
    return f"colink.leaderboard_scores_v{version}"


def score_changes(changes: Sequence[Change]) -> dict[_ScoreKey, Score]:
    """What changed orders add to the scores of revenue and orders."""
    scores = _Scores()
    for change in changes:
        credit = change.credit
        boards = [f"organization:{credit.organization_id}"]
        if credit.campaign_id:
            boards.append(f"campaign:{credit.campaign_id}")
        revenue, orders = change.difference.revenue, _is_sale(change.after) - _is_sale(change.before)
        for board in boards:
            who_when = _Event(quarter=credit.quarter, creator_id=credit.creator_id, position=change.position)
            scores.add(who_when, board, Metric.REVENUE, revenue, currency=credit.currency)
            scores.add(who_when, board, Metric.ORDERS, orders)
    return scores.summed()


def _is_sale(amounts: Amounts | None) -> int:
    return int(amounts is not None and amounts.revenue > 0)


def score_clicks(events: Sequence[Seen]) -> dict[_ScoreKey, Score]:
    """What clicks add. One without a campaign scores for the host its link leads to."""
    scores = _Scores()
    for seen in events:
        if not isinstance(seen.event, TouchRecorded):
            continue
        touch = seen.event.details
        if touch.kind is not TouchKind.CLICK or not counts(touch):
            continue
        boards = []
        if touch.organization_id:
            boards.append(f"organization:{touch.organization_id}")
        elif touch.destination_host:
            boards.append(f"host:{host_key(touch.destination_host)}")
        if touch.campaign_id:
            boards.append(f"campaign:{touch.campaign_id}")
        for board in boards:
            clicked = _Event(
                quarter=quarter_of(touch.occurred_at), creator_id=touch.creator_id, position=seen.position
            )
            scores.add(clicked, board, Metric.CLICKS, 1)
    return scores.summed()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """Whose score an event at `position` changes, and in which quarter of an hour."""

    quarter: datetime
    creator_id: str
    position: int


class _Scores:
    """Adds up what events change. An event that takes as much from a score as it gives (an order that moves to
    another link of its creator) has not changed it."""

    def __init__(self) -> None:
        self._by_event: dict[tuple[_ScoreKey, int], int] = defaultdict(int)

    def add(self, event: _Event, board: str, metric: Metric, value: int, *, currency: str = "") -> None:
        for start in (_ALL_TIME, event.quarter.isoformat()):
            key = _ScoreKey(board=board, metric=metric, currency=currency, quarter=start, creator_id=event.creator_id)
            self._by_event[key, event.position] += value

    def summed(self) -> dict[_ScoreKey, Score]:
        """By score; events come in order of position."""
        scores: dict[_ScoreKey, Score] = {}
        for (key, position), value in self._by_event.items():
            if value:
                known = scores.get(key)
                scores[key] = Score(value=value + (known.value if known else 0), reached_at_position=position)
        return scores


async def _add(conn: Connection, version: int, scores: Mapping[_ScoreKey, Score]) -> None:
    if not scores:
        return
    keys = sorted(scores)
    await conn.execute(
        f"INSERT INTO {_scores_table(version)} AS s (board, metric, currency, quarter, creator_id, value,"
        " reached_at_position) SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[],"
        " %s::text[], %s::bigint[], %s::bigint[])"
        " ON CONFLICT (board, metric, currency, quarter, creator_id) DO UPDATE SET"
        " value = s.value + excluded.value,"
        " reached_at_position = greatest(s.reached_at_position, excluded.reached_at_position)",
        [
            [key.board for key in keys],
            [key.metric for key in keys],
            [key.currency for key in keys],
            [key.quarter for key in keys],
            [key.creator_id for key in keys],
            [scores[key].value for key in keys],
            [scores[key].reached_at_position for key in keys],
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
    version = await live_version(conn, NAME)
    cursor = await conn.execute(
        "WITH scores AS (SELECT currency, creator_id, sum(value)::bigint AS value,"
        f" max(reached_at_position) AS reached FROM {_scores_table(version)}"
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
