"""Journals that people made, for the pass `derivation`: each follows from its approval, says what was proposed, and
was approved by somebody else than who proposed it."""

from __future__ import annotations

from dataclasses import replace

from colink.domain.aggregates import Event
from colink.domain.audit.orders import ExpectedJournal
from colink.domain.audit.report import Kind, Pass
from colink.domain.booking_journals import booking_journals
from colink.domain.bookings import BookingApproved, BookingProposed, BookingRejected, BookingStatus
from colink.domain.errors import ColinkError
from colink.domain.ledger import JournalPosted
from colink.domain.postings import Draft
from colink.projections.audit.derivation import DerivationCheck
from colink.projections.audit.part import Part
from colink.projections.audit.reading import Window

_TOPICS = frozenset({BookingProposed.TOPIC, BookingApproved.TOPIC, BookingRejected.TOPIC})


class BookingCheck:
    """`derivation` is told the journals that must follow."""

    def __init__(self, part: Part, derivation: DerivationCheck) -> None:
        self._result = part.results[Pass.DERIVATION]
        self._derivation = derivation

    def check(self, window: Window) -> None:
        for stream_id, rows in window.streams.items():
            if rows[0].topic not in _TOPICS:
                continue
            events = window.events(rows, _TOPICS, self._result)
            for position, event in events:
                if isinstance(event, BookingApproved):
                    self._expect_journals(position, event)
            self._check_decisions([*window.earlier_events(stream_id), *events], since=rows[0].position)

    def _expect_journals(self, position: int, event: BookingApproved) -> None:
        try:
            self._derivation.expect(_journals(position, event))
        except ColinkError as error:
            self._result.find(
                Kind.DERIVED_DIFFERENTLY,
                position,
                event.originator_id,
                f"{event.originator_id} approves what cannot be posted: {error.detail}",
                recorded=event.details,
            )

    def _check_decisions(self, events: list[tuple[int, Event]], *, since: int) -> None:
        first = events[0][1] if events else None
        if not isinstance(first, BookingProposed):
            return  # a stream without its beginning is found by the pass `order`
        for number, (position, event) in enumerate(events[1:], start=1):
            if position < since or not isinstance(event, BookingApproved | BookingRejected):
                continue
            proposed, decided = first.details, event.details
            approved = isinstance(event, BookingApproved)
            status = BookingStatus.POSTED if approved else BookingStatus.REJECTED
            expected = replace(proposed, status=status, decided_by=decided.decided_by, note=decided.note)
            own = approved and decided.decided_by in {None, proposed.proposed_by}
            self._result.checked += 1
            if decided != expected or own or number > 1:
                self._result.find(
                    Kind.DERIVED_DIFFERENTLY,
                    position,
                    event.originator_id,
                    f"{event.originator_id} was not decided as it was proposed, once and by somebody else",
                    recorded=decided,
                    derived=expected,
                )


def _journals(position: int, event: BookingApproved) -> list[ExpectedJournal]:
    return [
        ExpectedJournal(
            journal_id=posted.originator_id,
            position=position,
            draft=Draft(kind=posted.kind, effective_at=posted.effective_at, postings=posted.postings),
            beside=(posted.cause_id, posted.corrects, posted.reason),
        )
        for journal in booking_journals(event)
        for posted in journal.new_events()
        if isinstance(posted, JournalPosted)
    ]
