"""Who an event says decided something is who recorded it, for the pass `order`: rules of two people rest on that
name, and the log keeps it twice, in the event and beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from colink.domain.access import ApiKeyRevoked
from colink.domain.aggregates import Event
from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.bookings import BookingApproved, BookingProposed, BookingRejected
from colink.domain.order_decisions import OrderHeld, OrderReattributed, OrderReleased
from colink.domain.payout_accounts import PayoutAccountRegistered, PayoutAccountReplaced
from colink.domain.payouts import (
    AUTOMATIC,
    PayoutApproved,
    PayoutCancelled,
    PayoutHeld,
    PayoutHoldLifted,
    PayoutRejected,
    PayoutRequested,
)
from colink.domain.periods import PeriodClosed
from colink.domain.seller_billing import SellerInvoiceIssued, SellerPaymentReceived, SellerPaymentReturned
from colink.domain.true_ups import WORKER, TrueUpReleased
from colink.projections.audit.part import Part
from colink.projections.audit.reading import LogRow, Window

_Says = Callable[[Any], str | None]
SAYS: Mapping[type[Event], _Says] = {
    OrderHeld: lambda event: event.by,
    OrderReleased: lambda event: event.by,
    OrderReattributed: lambda event: event.by,
    PayoutAccountRegistered: lambda event: event.set_by,
    PayoutAccountReplaced: lambda event: event.set_by,
    PayoutRequested: lambda event: event.requested_by,
    PayoutApproved: lambda event: event.approved_by,
    PayoutHeld: lambda event: event.held_by,
    PayoutHoldLifted: lambda event: event.lifted_by,
    PayoutRejected: lambda event: event.rejected_by,
    PayoutCancelled: lambda event: event.cancelled_by,
    TrueUpReleased: lambda event: event.by,
    BookingProposed: lambda event: event.details.proposed_by,
    BookingApproved: lambda event: event.details.decided_by,
    BookingRejected: lambda event: event.details.decided_by,
    PeriodClosed: lambda event: event.details.closed_by,
    SellerPaymentReceived: lambda event: event.details.recorded_by,
    SellerPaymentReturned: lambda event: event.details.returned and event.details.returned.recorded_by,
    SellerInvoiceIssued: lambda event: event.details.issued_by,
    ApiKeyRevoked: lambda event: event.details.by,
}
"""What events say of who made them."""

_NOBODY: Mapping[type[Event], str | None] = {
    PayoutApproved: AUTOMATIC,  # whoever requested it
    PayoutCancelled: AUTOMATIC,  # as the account changed
    TrueUpReleased: WORKER,  # whatever brought the seller's money
    PayoutAccountRegistered: None,  # recorded before that was kept
    PayoutAccountReplaced: None,
}
"""Where a rule decides, and not who is at work then."""

_BY_TOPIC: Mapping[str, type[Event]] = {event.TOPIC: event for event in SAYS}


class AuthorCheck:
    """Of the rare events that say who made them."""

    def __init__(self, part: Part) -> None:
        self._result = part.results[Pass.ORDER]

    def check(self, window: Window) -> None:
        unread = PassResult(audit_pass=Pass.ORDER)  # one that cannot be read is found by the pass over its stream
        for row in window.rows:
            if row.topic in _BY_TOPIC:
                event = window.event(row, unread)
                if event is not None:
                    self._compare(row, event)

    def _compare(self, row: LogRow, event: Event) -> None:
        kind = type(event)
        said = SAYS[kind](event)
        if said != row.actor and not (kind in _NOBODY and said == _NOBODY[kind]):
            self._result.find(
                Kind.CHANGED,
                row.position,
                row.stream_id,
                f"{row.topic} at {row.position} names somebody else than who recorded it",
                recorded=said,
                derived=row.actor,
            )
