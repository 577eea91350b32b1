"""Closed periods: months that take no more journals. Semantics section 9.

Periods are months in UTC, of the whole ledger: organisations share accounts (platform, processors, creators), so a
period that is closed for one and open for another could not be balanced. Closing a month closes all before it, and
nothing is ever opened again: a correction is a new journal.

What follows from orders and payouts and comes late is posted into the first open period, its own time kept beside
(`in_open_period`). What a person posts is refused instead (`check_is_open`), so that nobody's books move by surprise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, ClassVar

from colink.domain.aggregates import Aggregate, Created, Event
from colink.domain.errors import Conflict, InvalidInput
from colink.domain.ledger import JournalPosted

BOOKS_ID = "ledger"  # of the one stream
_FIRST_MONTH = "2000-01"
_MONTH = re.compile(r"((?!0000|9999)[0-9]{4})-(0[1-9]|1[0-2])")


class ClosedPeriod(Conflict):
    slug, title = "closed-period", "The period is closed"


class PeriodNotOver(Conflict):
    slug, title = "period-not-over", "A month is closed when it is over"


@dataclass(frozen=True, kw_only=True)
class ClosedPeriods:
    """`month` ("2026-10") and all before it are closed: journals take effect at `open_from` or later."""

    id: str
    month: str
    open_from: datetime
    closed_by: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PeriodClosed(Created):
    """The first event of the books, and each later one."""

    TOPIC: ClassVar[str] = "ledger.period_closed"
    details: ClosedPeriods

    def mutate(self, aggregate: Any) -> Any:
        return super().mutate(None) if aggregate is None else Event.mutate(self, aggregate)

    def apply(self, aggregate: Books) -> None:
        aggregate.details = self.details


class Books(Aggregate):
    """What is closed of the ledger."""

    TOPIC: ClassVar[str] = "ledger"
    details: ClosedPeriods


def close_month(books: Books | None, month: str, *, reason: str, by: str, at: datetime) -> Books:
    """Close a month and all open ones before it. Raises InvalidInput (no month, no reason, a slip of the year),
    PeriodNotOver, ClosedPeriod."""
    open_from = month_after(month)
    if not reason.strip():
        msg = "say why the period is closed"
        raise InvalidInput(msg, field="reason")
    if open_from > at:
        msg = f"{month} ends at {shown(open_from)}: it cannot be closed before"
        raise PeriodNotOver(msg, field="month")
    if books is not None and open_from <= books.details.open_from:
        msg = f"{month} is closed already: all up to {books.details.month} is, by {books.details.closed_by}"
        raise ClosedPeriod(msg, field="month")
    if month < _FIRST_MONTH:
        msg = f"{month} is before any trade that is recorded here: look at the year"
        raise InvalidInput(msg, field="month")
    details = ClosedPeriods(id=BOOKS_ID, month=month, open_from=open_from, closed_by=by, reason=reason)
    if books is None:
        return Books._create(PeriodClosed, id=BOOKS_ID, timestamp=at, details=details)
    books.trigger_event(PeriodClosed, timestamp=at, originator_topic=Books.TOPIC, details=details)
    return books


def month_after(month: str) -> datetime:
    """When the month after "2026-10" begins. Raises InvalidInput."""
    match = _MONTH.fullmatch(month)
    if match is None:
        msg = f"{month!r} is no month: write it as 2026-10"
        raise InvalidInput(msg, field="month")
    year, number = int(match[1]), int(match[2])
    return datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)


def shown(moment: datetime) -> str:
    """Whole seconds, in UTC; years with four digits, which `%Y` does not always give."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def check_is_open(effective_at: datetime, *, open_from: datetime | None, now: datetime) -> None:
    """For what people post. Raises ClosedPeriod, naming the first open day, and InvalidInput for a time to come."""
    if open_from is not None and effective_at < open_from:
        msg = f"the ledger is closed before {shown(open_from)}: the first open day is {open_from.date()}"
        raise ClosedPeriod(msg, field="effective_at")
    if effective_at > now:
        msg = f"{shown(effective_at)} is still to come"
        raise InvalidInput(msg, field="effective_at")


def in_open_period(events: Sequence[Event], open_from: datetime | None) -> Sequence[Event]:
    """The same events, journals that would take effect in a closed period moved to the first open one."""
    if open_from is None:
        return events
    return [_moved(event, open_from) for event in events]


def _moved(event: Event, open_from: datetime) -> Event:
    if not isinstance(event, JournalPosted) or event.effective_at >= open_from:
        return event
    return replace(event, effective_at=open_from, occurred_at=event.effective_at)
