"""True-ups: the aggregate. What the orders of a day or month come to together, counted, cleared and released.
Semantics section 4, decision 22.

    count / recount  -> what the period's orders come to (`true_up_counts.py`)
    clear / release  -> what of it came due; what need not wait for the seller's money any more

Each order is posted as if it stood alone, so no order's money depends on others; a true-up is one stream per rule,
creator and period. It is first counted when the period has ended, and again when the set of its orders changes; what
changed is posted, creator against seller. Its credits clear a holding period after they were posted; debits bite at
once. Not responsible for when it is counted (`application/true_ups.py`) nor for its journals (`true_up_journals.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from colink.domain.aggregates import Aggregate, Created, Event
from colink.domain.errors import Conflict
from colink.domain.local_time import period_bounds
from colink.domain.true_up_counts import (
    NOTHING,
    Count,
    Earned,
    PeriodKey,
    PlacedSplit,
    RuleVersion,
    cleared,
    counted_again,
    released,
)
from colink.domain.value import replace

WORKER = "worker"  # releases what the seller's account has covered; people go by other names


@dataclass(frozen=True, kw_only=True)
class TrueUpCounted(Created):
    """The first count. What `before` says stood before it, so that the journal follows from the event alone.
    `position`: of the log that was seen; `earned` is what it counted there. Times UTC."""

    TOPIC: ClassVar[str] = "true_up.counted"
    organization_id: str
    rule_id: str
    creator_id: str
    currency: str
    period: str
    ends_at: datetime
    position: int
    hold_days: int
    earned: tuple[Earned, ...]
    effective_at: datetime
    before: Count
    count: Count

    def apply(self, aggregate: TrueUp) -> None:
        aggregate.take(self.count, position=self.position)


@dataclass(frozen=True, kw_only=True)
class TrueUpRecounted(Event):
    """The orders of the period changed: refunds, edits, late orders. Fields as in TrueUpCounted."""

    TOPIC: ClassVar[str] = "true_up.recounted"
    organization_id: str
    creator_id: str
    currency: str
    position: int
    hold_days: int
    earned: tuple[Earned, ...]
    effective_at: datetime
    before: Count
    count: Count

    def apply(self, aggregate: TrueUp) -> None:
        aggregate.take(self.count, position=self.position)


@dataclass(frozen=True, kw_only=True)
class TrueUpCleared(Event):
    """What came due at `due_at` became available."""

    TOPIC: ClassVar[str] = "true_up.cleared"
    organization_id: str
    creator_id: str
    currency: str
    due_at: datetime
    before: Count
    count: Count

    def apply(self, aggregate: TrueUp) -> None:
        aggregate.take(self.count, position=aggregate.position)


@dataclass(frozen=True, kw_only=True)
class TrueUpReleased(Event):
    """What waited for the seller's money may clear: it came (`by` the worker), or finance says so. Some of it, where
    only some was covered and due."""

    TOPIC: ClassVar[str] = "true_up.released"
    organization_id: str
    creator_id: str
    currency: str
    by: str
    reason: str
    before: Count
    count: Count

    def apply(self, aggregate: TrueUp) -> None:
        aggregate.take(self.count, position=aggregate.position)


class TrueUp(Aggregate):
    """The true-up of one rule, creator and period. `position`: of the log, up to which it counted. `has_cleared`:
    whether something of what the creator earns by it ever became available. K does not tell: a hold lowers it."""

    TOPIC: ClassVar[str] = "true_up"
    organization_id: str
    rule_id: str
    creator_id: str
    currency: str
    period: str
    ends_at: datetime
    standing: Count = NOTHING
    position: int = 0
    has_cleared: bool = False

    @classmethod
    def count(
        cls,
        key: PeriodKey,
        orders: Sequence[PlacedSplit],
        *,
        rule: RuleVersion,
        position: int,
        timezone: str,
        at: datetime,
    ) -> TrueUp:
        """Count a period that has ended for the first time."""
        ends_at = period_bounds(key.period, timezone)[1]
        earned, hold_days, count = counted_again(
            NOTHING, key, orders, rule=rule, timezone=timezone, effective_at=ends_at, at=at
        )
        return cls._create(
            TrueUpCounted,
            id=key.id,
            timestamp=at,
            organization_id=key.organization_id,
            rule_id=key.rule_id,
            creator_id=key.creator_id,
            currency=key.currency,
            period=key.period,
            ends_at=ends_at,
            position=position,
            hold_days=hold_days,
            earned=earned,
            effective_at=ends_at,
            before=NOTHING,
            count=count,
        )

    @property
    def key(self) -> PeriodKey:
        return PeriodKey(
            organization_id=self.organization_id,
            rule_id=self.rule_id,
            creator_id=self.creator_id,
            currency=self.currency,
            period=self.period,
        )

    def recount(
        self,
        orders: Sequence[PlacedSplit],
        *,
        rule: RuleVersion,
        position: int,
        timezone: str,
        at: datetime,
    ) -> None:
        """Count again, with what changed in the period's orders up to `position`. A change that happened after the
        period, and so did its money: it is effective when it is counted."""
        effective_at = max(at, self.ends_at)
        earned, hold_days, count = counted_again(
            self.standing, self.key, orders, rule=rule, timezone=timezone, effective_at=effective_at, at=at
        )
        self.trigger_event(
            TrueUpRecounted,
            timestamp=at,
            organization_id=self.organization_id,
            creator_id=self.creator_id,
            currency=self.currency,
            position=position,
            hold_days=hold_days,
            earned=earned,
            effective_at=effective_at,
            before=self.standing,
            count=count,
        )

    def stands(self, orders: Sequence[PlacedSplit], *, rule: RuleVersion, timezone: str) -> bool:
        """Whether these orders come to what was counted last."""
        _, _, count = counted_again(
            self.standing,
            self.key,
            orders,
            rule=rule,
            timezone=timezone,
            effective_at=self.ends_at,
            at=self.ends_at,
        )
        # When it clears follows from the rest, and from when it was released.
        return replace(count, clears_at=self.standing.clears_at) == self.standing

    def is_due(self, *, at: datetime) -> bool:
        return self.standing.clears_at is not None and self.standing.clears_at <= at

    def clear(self, *, at: datetime) -> bool:
        """Clear what comes due next, if it is due by `at`; whether anything was."""
        due_at = self.standing.clears_at
        if due_at is None or not self.is_due(at=at):
            return False
        self.trigger_event(
            TrueUpCleared,
            timestamp=at,
            organization_id=self.organization_id,
            creator_id=self.creator_id,
            currency=self.currency,
            due_at=due_at,
            before=self.standing,
            count=cleared(self.standing, at=due_at),
        )
        return True

    def release(self, *, by: str, reason: str, at: datetime, amount: int | None = None) -> None:
        """`amount` of what is held, or all of it. Raises Conflict where nothing is held."""
        if not self.standing.held:
            msg = f"nothing of {self.id} is held"
            raise Conflict(msg)
        self.trigger_event(
            TrueUpReleased,
            timestamp=at,
            organization_id=self.organization_id,
            creator_id=self.creator_id,
            currency=self.currency,
            by=by,
            reason=reason,
            before=self.standing,
            count=released(self.standing, self.standing.held if amount is None else amount, at=at),
        )

    def take(self, count: Count, *, position: int) -> None:
        """Stand so from now on (called by the events)."""
        self.standing, self.position = count, position
        if any(claim.cleared > 0 for claim in count.claims if claim.payee_id == self.creator_id):
            self.has_cleared = True
