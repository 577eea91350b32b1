"""What an approved booking posts. A journal follows from the approval alone and is named by the booking, so an
approval repeated is one journal; the reversal of a conversion is named by what it takes back, which is taken back
once."""

from __future__ import annotations

from colink.domain.bookings import BookingApproved, BookingDetails, BookingKind, booked_postings
from colink.domain.ids import natural_id
from colink.domain.ledger import Journal, JournalKind

_KINDS = {
    BookingKind.MANUAL: JournalKind.MANUAL,
    BookingKind.WRITE_OFF: JournalKind.WRITE_OFF,
    BookingKind.FX: JournalKind.FX,
    BookingKind.TAX_REMITTED: JournalKind.TAX_REMITTED,
}
BOOKED_AS = {journal: booking for booking, journal in _KINDS.items()}
"""Journals of these kinds are bookings."""


def booking_journal_id(details: BookingDetails) -> str:
    reverses = details.conversion.reverses if details.conversion else None
    return reversal_journal_id(reverses) if reverses else natural_id("jrn", details.id, "posted")


def reversal_journal_id(booking_id: str) -> str:
    """Of the one journal that takes a conversion back."""
    return natural_id("jrn", booking_id, "reversed")


def booking_journals(event: BookingApproved) -> list[Journal]:
    """The one journal of an approval."""
    details = event.details
    return [
        Journal.post(
            journal_id=booking_journal_id(details),
            kind=_KINDS[details.kind],
            effective_at=details.effective_at,
            postings=booked_postings(details),
            at=event.timestamp,
            organization_id=details.organization_id,
            cause_id=event.originator_id,
            corrects=details.corrects,
            reason=details.reason,
        )
    ]
