"""Tiers while an order is decided: the revenue they look at is read where it was decided, else it is decided.

    split the order -> RevenueNotCounted -> read the decision -> none there -> count, and record it with the order

The worker decides when a month begins (`tier_job.py`), for those who sold before it; so the first orders of a month
mostly find what they need. Only orders that meet tiers take these extra rounds. A decision is its own stream, a
conflict key while it is made: of two orders that need it at once the second reads what the first decided.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from colink.application.ports import Decision, Facts, MoreNeeded, Needs, Request, RevenueQuery
from colink.domain.aggregates import Event
from colink.domain.terms import Terms
from colink.domain.tiers import CountedRevenue, RevenueKey, RevenueNotCounted, TierDecision

T = TypeVar("T")


def by_tiers(facts: Facts, terms: Terms, decide: Callable[[Terms], T]) -> tuple[T, list[Event]]:
    """What `decide` makes of the terms, once they know the revenues it asks for; and the decisions that were made for
    it, to be recorded before it. `decide` leaves no trace when it raises RevenueNotCounted. Raises MoreNeeded."""
    made: list[Event] = []
    while True:
        try:
            return decide(terms), made
        except RevenueNotCounted as needed:
            revenue, events = _revenue(facts, needed.key, timezone=terms.organization.timezone)
            made += events
            terms = terms.with_revenues((revenue,))


def _revenue(facts: Facts, key: RevenueKey, *, timezone: str) -> tuple[CountedRevenue, list[Event]]:
    if key.id not in facts.needs.reads and key.id not in facts.needs.streams:
        raise MoreNeeded(Needs(reads=(key.id,)))
    decision, events = facts.aggregate(TierDecision, key.id), []
    if decision is None:
        query = revenue_query(key, timezone)
        if query not in facts.needs.revenues_of:
            raise MoreNeeded(Needs(streams=(key.id,), revenues_of=(query,)), for_all=True)
        seen = facts.revenue(query)
        decision = TierDecision.decide(
            key, revenue=seen.revenue, position=seen.position, timezone=timezone, at=facts.now
        )
        events = decision.new_events()
    return CountedRevenue(decision_id=key.id, revenue=decision.revenue), events


@dataclass(frozen=True, kw_only=True)
class DecideTier(Request):
    """Counts the revenue before a month that has begun, unless that was done; that is no error."""

    key: RevenueKey
    timezone: str

    def needs(self) -> Needs:
        return Needs(streams=(self.key.id,), revenues_of=(revenue_query(self.key, self.timezone),))

    def decide(self, facts: Facts) -> Decision:
        _, events = _revenue(facts, self.key, timezone=self.timezone)
        return Decision(answer={"id": self.key.id}, events=events, organization_id=self.key.organization_id)


def revenue_query(key: RevenueKey, timezone: str) -> RevenueQuery:
    since, until = key.bounds(timezone)
    return RevenueQuery(key=key, since=since, until=until)
