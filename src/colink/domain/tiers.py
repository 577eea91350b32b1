"""Tiers: rates that rise (or fall) with the revenue attributed to a creator. Semantics section 4, decision 22.

    whole     the rate of the tier that the revenue before the month reaches, for all of the month's orders. That
              revenue is counted once, by an event (`TierDecision`), and never again.
    marginal  each tier's rate for the part of the month's own revenue that lies inside it. Orders are posted at the
              first rate; the rest is a true-up (`true_up_counts.py`).

This module says what a tier is worth and what was counted; who counts, and when, is the commands' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from colink.domain.aggregates import Aggregate, Created
from colink.domain.ids import natural_id
from colink.domain.local_time import period_bounds
from colink.domain.money import FULL_BPS, Money, round_half_even
from colink.domain.value import value


class TierMode(StrEnum):
    WHOLE = "whole"
    MARGINAL = "marginal"


class TierSpan(StrEnum):
    """What revenue whole tiers look at: of the calendar month before, or of all time before the month."""

    MONTH_BEFORE = "month_before"
    ALL_TIME = "all_time"


@dataclass(frozen=True, kw_only=True)
class Tier:
    """From this revenue on (included) this rate. Below the first tier the rule's own rate holds."""

    from_revenue: Money
    rate_bps: int


@dataclass(frozen=True, kw_only=True)
class Tiers:
    """`steps` rise by `from_revenue`, all of one currency. `span` concerns whole tiers only."""

    mode: TierMode
    steps: tuple[Tier, ...]
    span: TierSpan = TierSpan.MONTH_BEFORE

    def rate_at(self, revenue: int, *, below: int) -> int:
        """The rate in basis points that this revenue reaches; `below`: the rate below the first tier."""
        rate = below
        for step in self.steps:
            if revenue < step.from_revenue.amount:
                break
            rate = step.rate_bps
        return rate

    def marginal_commission(self, start: int, end: int, *, below: int) -> int:
        """The commission on the revenue from `start` to `end`, each part at the rate of its tier, rounded once."""
        edges = [0, *(step.from_revenue.amount for step in self.steps)]
        rates = [below, *(step.rate_bps for step in self.steps)]
        total = 0
        for place, (edge, rate) in enumerate(zip(edges, rates, strict=True)):
            upper = edges[place + 1] if place + 1 < len(edges) else end
            total += max(min(end, upper) - max(start, edge), 0) * rate
        return round_half_even(total, FULL_BPS)


def highest_rate(tiers: Tiers | None, rate_bps: int) -> int:
    return max([rate_bps, *(step.rate_bps for step in tiers.steps)]) if tiers else rate_bps


@value
class RevenueKey:
    """Which revenue: a creator's at an organisation in a currency, before the calendar month `month` (`2026-03`) of
    the organisation's time zone."""

    organization_id: str
    creator_id: str
    currency: str
    month: str
    span: TierSpan

    @property
    def id(self) -> str:
        """Of the decision's stream."""
        parts = (self.organization_id, self.creator_id, self.currency, self.month, self.span.value)
        return natural_id("tier", *parts)

    def bounds(self, timezone: str) -> tuple[datetime | None, datetime]:
        """When the orders that count were placed: from (None: ever) to (excluded)."""
        year, month = int(self.month[:4]), int(self.month[5:])
        before = f"{year - 1}-12" if month == 1 else f"{year:04}-{month - 1:02}"
        start, end = period_bounds(before, timezone)
        return (start if self.span is TierSpan.MONTH_BEFORE else None, end)


@value
class CountedRevenue:
    """The revenue that a decision counted, in minor units. Splits that rest on it carry it."""

    decision_id: str
    revenue: int


class RevenueNotCounted(Exception):
    """An order meets tiers whose revenue nobody has counted yet."""

    def __init__(self, key: RevenueKey) -> None:
        super().__init__(f"the revenue of {key.id} is not counted yet")
        self.key = key


def counted(revenues: Sequence[CountedRevenue], key: RevenueKey) -> CountedRevenue:
    """Raises RevenueNotCounted."""
    decision_id = key.id
    for each in revenues:
        if each.decision_id == decision_id:
            return each
    raise RevenueNotCounted(key)


@dataclass(frozen=True, kw_only=True)
class TierDecided(Created):
    """The net attributed revenue (minor units) of the orders that were placed from `since` (None: ever) to `until`
    (excluded), as known at `position` of the log. It serves all orders placed in the month, and never changes."""

    TOPIC: ClassVar[str] = "tier.decided"
    organization_id: str
    creator_id: str
    currency: str
    month: str
    span: TierSpan
    since: datetime | None
    until: datetime
    revenue: int
    position: int


class TierDecision(Aggregate):
    TOPIC: ClassVar[str] = "tier"
    revenue: int

    @classmethod
    def decide(cls, key: RevenueKey, *, revenue: int, position: int, timezone: str, at: datetime) -> TierDecision:
        since, until = key.bounds(timezone)
        return cls._create(
            TierDecided,
            id=key.id,
            timestamp=at,
            organization_id=key.organization_id,
            creator_id=key.creator_id,
            currency=key.currency,
            month=key.month,
            span=key.span,
            since=since,
            until=until,
            revenue=revenue,
            position=position,
        )
