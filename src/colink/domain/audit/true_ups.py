"""Counts derived again: the revenue that tiers were decided by, and what orders of a period came to together.

`Sales` follows the splits of orders through the log; asked at the position that a count saw, it says what that
count had to say. `TrueUpReplay` follows one true-up through its own stream.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from colink.domain.aggregates import Event
from colink.domain.audit.orders import ExpectedJournal
from colink.domain.audit.report import Kind, PassResult
from colink.domain.audit.terms import TermsBook
from colink.domain.errors import ColinkError
from colink.domain.ledger import JournalPosted
from colink.domain.local_time import period_bounds
from colink.domain.orders import OrderAttributed, OrderSplit
from colink.domain.postings import Draft
from colink.domain.split import Split
from colink.domain.tiers import RevenueKey, TierDecided
from colink.domain.true_up_counts import (
    NOTHING,
    Ageing,
    Count,
    PeriodKey,
    PlacedSplit,
    cleared,
    counted_again,
    released,
)
from colink.domain.true_up_journals import TrueUpEvent, journals_of
from colink.domain.true_ups import TrueUpCleared, TrueUpCounted, TrueUpRecounted, TrueUpReleased
from colink.domain.value import replace

T = TypeVar("T")
Counting = TierDecided | TrueUpCounted | TrueUpRecounted


class Sales:
    """The orders of some organisations as they stand, by creator."""

    def __init__(self) -> None:
        self._placed: dict[str, datetime] = {}
        self._creator_of: dict[str, tuple[str, str]] = {}
        self._orders: dict[tuple[str, str], dict[str, PlacedSplit]] = defaultdict(dict)

    def follow(self, organization_id: str, event: Event) -> None:
        """The next event of an order."""
        order_id = event.originator_id
        if isinstance(event, OrderAttributed):
            placed_at = self._placed[order_id] = event.attribution.placed_at
            known = self._orders[self._creator_of[order_id]] if order_id in self._creator_of else {}
            if order_id in known:  # an earlier time was told: the order may be of another month from here on
                known[order_id] = replace(known[order_id], placed_at=placed_at)
        elif isinstance(event, OrderSplit):
            before = self._creator_of.pop(order_id, None)
            if before is not None:
                del self._orders[before][order_id]
            if event.split.creator_id is not None and order_id in self._placed:
                key = self._creator_of[order_id] = (organization_id, event.split.creator_id)
                self._orders[key][order_id] = PlacedSplit(
                    placed_at=self._placed[order_id], terms=event.terms, split=event.split
                )

    def placed(
        self, organization_id: str, creator_id: str, *, since: datetime | None, until: datetime
    ) -> list[PlacedSplit]:
        """Those of a creator that were placed in a time, in order of their ids."""
        orders = self._orders.get((organization_id, creator_id), {})
        return [
            order
            for _, order in sorted(orders.items())
            if order.placed_at < until and (since is None or order.placed_at >= since)
        ]

    def revenue(self, key: RevenueKey, *, since: datetime | None, until: datetime) -> int:
        return sum(
            [
                line.base - line.reversed_base
                for order in self.placed(key.organization_id, key.creator_id, since=since, until=until)
                if order.split.currency == key.currency
                for line in order.split.counting_lines
            ]
        )


Share = Mapping[int, tuple[int, int, bool]]
"""What an order adds to a period: base and commission net of refunds, and whether it waits for its seller's money, by
version of the rule."""


def periods_of(organization_id: str, split: Split) -> list[tuple[PeriodKey, datetime]]:
    """The periods that an order counts in, and when each ends."""
    return [
        (
            PeriodKey(
                organization_id=organization_id,
                rule_id=each.rule_id,
                creator_id=split.creator_id or "",
                currency=split.currency,
                period=each.period,
            ),
            each.ends_at,
        )
        for each in split.periods
    ]


def shares_of(organization_id: str, split: Split) -> dict[str, Share]:
    """What an order adds to each of its periods, by the id of the true-up; nothing of what is held."""
    shares: dict[str, Share] = {}
    for key, _ in periods_of(organization_id, split):
        share: dict[int, tuple[int, int, bool]] = {}
        for line in split.counting_lines:
            if line.rule is not None and line.rule.id == key.rule_id:
                base, commission, _ = share.get(line.rule.version, (0, 0, False))
                share[line.rule.version] = (
                    base + line.base - line.reversed_base,
                    commission + line.net_commission,
                    bool(split.waits_for_seller),
                )
        shares[key.id] = share
    return shares


def check_count(
    result: PassResult, position: int, event: Counting, sales: Sales, book: TermsBook, *, key: PeriodKey | None
) -> None:
    """Compare a count with what the sales, as of the position it saw, come to. `key`: of a true-up's stream."""
    result.checked += 1
    terms = book.of(event.organization_id)
    timezone = terms.organization.timezone
    derived: Event
    if isinstance(event, TierDecided):
        revenue_key = RevenueKey(
            organization_id=event.organization_id,
            creator_id=event.creator_id,
            currency=event.currency,
            month=event.month,
            span=event.span,
        )
        since, until = revenue_key.bounds(timezone)
        revenue = sales.revenue(revenue_key, since=since, until=until)
        derived = dataclasses.replace(event, originator_id=revenue_key.id, since=since, until=until, revenue=revenue)
    else:
        if key is None:
            result.find(
                Kind.MISSING, position, event.originator_id, "a true-up is counted again and never was before"
            )
            return
        since, ends_at = period_bounds(key.period, timezone)
        orders = sales.placed(key.organization_id, key.creator_id, since=since, until=ends_at)
        effective_at = ends_at if isinstance(event, TrueUpCounted) else max(event.timestamp, ends_at)
        # The rules are those that the splits name; a version never changes, so today's terms hold all of them.
        earned, hold_days, count = _by_rule_of_then(
            lambda ageing: counted_again(
                event.before,
                key,
                orders,
                rule=terms.rule,
                timezone=timezone,
                effective_at=effective_at,
                at=event.timestamp,
                ageing=ageing,
            ),
            (event.earned, event.hold_days, event.count),
        )
        again = dataclasses.replace(
            event, originator_id=key.id, earned=earned, hold_days=hold_days, count=count, effective_at=effective_at
        )
        derived = dataclasses.replace(again, ends_at=ends_at) if isinstance(again, TrueUpCounted) else again
    if event != derived or event.position >= position:
        _find(result, position, event, derived)


def _by_rule_of_then(derive: Callable[[Ageing], T], recorded: T) -> T:
    """What is derived by the rule of today, or by an earlier one where that is what was recorded."""
    derived = [derive(ageing) for ageing in reversed(Ageing)]
    return next((each for each in derived if each == recorded), derived[0])


def _find(result: PassResult, position: int, event: Event, derived: Event) -> None:
    names = [name for name in vars(event) if getattr(event, name) != getattr(derived, name)]
    result.find(
        Kind.DERIVED_DIFFERENTLY,
        position,
        event.originator_id,
        f"{event.originator_id} does not follow from the orders that were known when it was counted",
        recorded={name: getattr(event, name) for name in names},
        derived={name: getattr(derived, name) for name in names},
    )


class TrueUpReplay:
    """Feed it the events of one true-up in order; it says which journals must follow."""

    def __init__(self) -> None:
        self._standing: Count = NOTHING
        self._whose: tuple[str, str, str] | None = None

    def follow(self, event: Event) -> None:
        """Take over an event that is verified elsewhere."""
        if isinstance(event, TrueUpEvent):
            self._standing = event.count
            self._whose = self._whose or _whose(event)

    def feed(self, position: int, event: Event, result: PassResult) -> list[ExpectedJournal]:
        """Verify that an event builds on the one before it, and that what it clears was due."""
        if not isinstance(event, TrueUpEvent):
            return []
        result.checked += 1
        self._whose = self._whose or _whose(event)
        if _whose(event) != self._whose:
            says = f"{event.originator_id} is of others than when it was first counted"
            names, first = _whose(event), self._whose
            result.find(Kind.DERIVED_DIFFERENTLY, position, event.originator_id, says, recorded=names, derived=first)
        derived: Event = dataclasses.replace(event, before=self._standing)
        if isinstance(event, TrueUpCleared):
            due_at = self._standing.clears_at or event.due_at
            count = _by_rule_of_then(lambda ageing: cleared(self._standing, at=due_at, ageing=ageing), event.count)
            derived = dataclasses.replace(event, before=self._standing, due_at=due_at, count=count)
            if self._standing.clears_at is None or due_at > event.timestamp:
                result.find(Kind.DERIVED_DIFFERENTLY, position, event.originator_id, "cleared with nothing due")
        if isinstance(event, TrueUpReleased):
            amount = self._standing.held - event.count.held
            if amount <= 0:
                result.find(Kind.DERIVED_DIFFERENTLY, position, event.originator_id, "nothing was released")
            count = _by_rule_of_then(
                lambda ageing: released(self._standing, amount, at=event.timestamp, ageing=ageing), event.count
            )
            derived = dataclasses.replace(event, before=self._standing, count=count)
        if event != derived:
            _find(result, position, event, derived)
        self._standing = event.count
        try:
            return _expected(position, event)
        except ColinkError as error:
            result.find(
                Kind.UNBALANCED, position, event.originator_id, f"nothing can be posted by it: {error.detail}"
            )
            return []


def _whose(event: TrueUpEvent) -> tuple[str, str, str]:
    """What all events of a true-up repeat."""
    return event.organization_id, event.creator_id, event.currency


def _expected(position: int, event: TrueUpEvent) -> list[ExpectedJournal]:
    posted: Sequence[object] = [journal.collect_events()[0] for journal in journals_of(event)]
    return [
        ExpectedJournal(
            journal_id=journal.originator_id,
            position=position,
            draft=Draft(kind=journal.kind, effective_at=journal.effective_at, postings=journal.postings),
        )
        for journal in posted
        if isinstance(journal, JournalPosted)
    ]


def check_revenues(
    result: PassResult, position: int, event: OrderSplit, decided: Mapping[str, TierDecided | None]
) -> None:
    """The revenues that a split rests on are those that were decided before it. `decided`: before it, by id."""
    for each in event.split.revenues:
        result.checked += 1
        decision = decided.get(each.decision_id)
        if decision is None:
            result.find(
                Kind.MISSING,
                position,
                event.originator_id,
                f"{event.originator_id} rests on {each.decision_id}, which nobody had decided before it",
                recorded=each,
            )
        elif decision.revenue != each.revenue:
            result.find(
                Kind.DERIVED_DIFFERENTLY,
                position,
                event.originator_id,
                f"{event.originator_id} rests on another revenue than {each.decision_id} counted",
                recorded=each,
                derived=decision.revenue,
            )
