"""Close a month of the ledger, for finance. Semantics section 9; decision 19."""

from __future__ import annotations

from dataclasses import dataclass

from colink.application.configure.checks import check_text
from colink.application.ports import Decision, Facts, Needs, Request
from colink.application.representations import shown
from colink.domain.periods import BOOKS_ID, Books, close_month


@dataclass(frozen=True, kw_only=True)
class ClosePeriod(Request):
    """Close `month` ("2026-10", in UTC) and all open ones before it. Answers with what is closed now.

    Raises PeriodNotOver for the current and later months, ClosedPeriod where it is closed, InvalidInput."""

    month: str
    reason: str

    def needs(self) -> Needs:
        return Needs(streams=(BOOKS_ID,))

    def decide(self, facts: Facts) -> Decision:
        reason = check_text(self.reason, field="reason")
        books = close_month(
            facts.aggregate(Books, BOOKS_ID), self.month, reason=reason, by=self.caller.actor, at=facts.now
        )
        return Decision(answer=shown(books.details), events=books.new_events())
