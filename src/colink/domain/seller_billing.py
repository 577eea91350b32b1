"""The papers between a seller who collects the money himself and us: his payments and our invoices, and the journals
that a payment and its return are. Semantics section 6. What a payment settles is `seller_accounts.py`'s business."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar

from colink.domain.aggregates import Aggregate, Created, Event
from colink.domain.errors import Conflict
from colink.domain.ids import natural_id
from colink.domain.ledger import Journal, JournalKind, Posting, Purpose, processor_cash, seller_receivable

BANK = "bank"  # where sellers pay to: the owner of the cash account


class PaymentReturned(Conflict):
    slug, title = "payment-returned", "The payment was returned before, and otherwise"


@dataclass(frozen=True, kw_only=True)
class PaymentReturn:
    """The bank took a payment back: when, why (as it said), and who recorded it."""

    returned_at: datetime
    reason: str
    recorded_by: str


@dataclass(frozen=True, kw_only=True)
class SellerPaymentDetails:
    """Money that arrived from a seller, in minor units; `reference` is the bank's, unique per organisation. What it
    names is settled first, in the order of the log; the rest settles the oldest orders."""

    id: str
    organization_id: str
    currency: str
    amount: int
    reference: str
    received_at: datetime
    invoice_id: str | None
    order_ids: tuple[str, ...]
    recorded_by: str
    returned: PaymentReturn | None = None


@dataclass(frozen=True, kw_only=True)
class SellerPaymentReceived(Created):
    TOPIC: ClassVar[str] = "seller_payment.received"
    class_version: ClassVar[int] = 2
    details: SellerPaymentDetails

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """None was returned yet."""
        state["details"]["returned"] = None


@dataclass(frozen=True, kw_only=True)
class SellerPaymentReturned(Event):
    """It bounced: `details` say when and why."""

    TOPIC: ClassVar[str] = "seller_payment.returned"
    details: SellerPaymentDetails

    def apply(self, aggregate: SellerPayment) -> None:
        aggregate.details = self.details


class SellerPayment(Aggregate):
    TOPIC: ClassVar[str] = "seller_payment"

    def __init__(self, details: SellerPaymentDetails) -> None:
        self.details = details

    @classmethod
    def receive(cls, details: SellerPaymentDetails, *, at: datetime) -> SellerPayment:
        return cls._create(SellerPaymentReceived, id=details.id, timestamp=at, details=details)

    def bounce(self, return_: PaymentReturn, *, at: datetime) -> bool:
        """Whether that is news: told again, it is not. Raises PaymentReturned where it is told otherwise."""
        known = self.details.returned
        if known is None:
            self.trigger_event(SellerPaymentReturned, details=replace(self.details, returned=return_), timestamp=at)
            return True
        if (known.returned_at, known.reason) != (return_.returned_at, return_.reason):
            msg = f"{self.id} was returned at {known.returned_at:%Y-%m-%dT%H:%M:%SZ}: {known.reason!r}"
            raise PaymentReturned(msg)
        return False


def payment_journal_id(payment_id: str) -> str:
    return natural_id("jrn", payment_id, "received")


def payment_journal(event: SellerPaymentReceived) -> Journal:
    """Dr processor:cash; Cr seller:receivable, at the time the money arrived. It follows from the event alone."""
    paid = event.details
    return Journal.post(
        journal_id=payment_journal_id(event.originator_id),
        kind=JournalKind.SELLER_PAYMENT,
        effective_at=paid.received_at,
        postings=(
            Posting(
                account=processor_cash(BANK),
                amount=-paid.amount,
                currency=paid.currency,
                purpose=Purpose.SELLER_PAYMENT,
            ),
            Posting(
                account=seller_receivable(paid.organization_id),
                amount=paid.amount,
                currency=paid.currency,
                purpose=Purpose.SELLER_PAYMENT,
            ),
        ),
        at=event.timestamp,
        organization_id=paid.organization_id,
        cause_id=event.originator_id,
    )


def return_journal_id(payment_id: str) -> str:
    return natural_id("jrn", payment_id, "returned")


def return_journal(event: SellerPaymentReturned) -> Journal:
    """The payment's journal the other way, once, at the time the bank took it back. It follows from the event alone;
    raises ValueError for one that says nothing of a return."""
    paid, back = event.details, event.details.returned
    if back is None:
        msg = f"{event.originator_id} does not say when it was returned"
        raise ValueError(msg)
    return Journal.post(
        journal_id=return_journal_id(event.originator_id),
        kind=JournalKind.SELLER_PAYMENT,
        effective_at=back.returned_at,
        postings=(
            Posting(
                account=seller_receivable(paid.organization_id),
                amount=-paid.amount,
                currency=paid.currency,
                purpose=Purpose.SELLER_PAYMENT,
            ),
            Posting(
                account=processor_cash(BANK),
                amount=paid.amount,
                currency=paid.currency,
                purpose=Purpose.SELLER_PAYMENT,
            ),
        ),
        at=event.timestamp,
        organization_id=paid.organization_id,
        cause_id=event.originator_id,
        corrects=payment_journal_id(event.originator_id),
        reason=back.reason,
    )


@dataclass(frozen=True, kw_only=True)
class InvoiceLine:
    """What was charged for an order since the invoice before; below zero: credited, after a refund."""

    order_id: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class ReceivableStatement:
    """The receivable of one organisation and currency between two positions of the log, `from_position` excluded.
    Minor units, what the seller owes above zero. opening: owed at the start; paid: by the seller, less what was
    returned; other: trued up, or booked by people, say written off (above zero: owed less)."""

    from_position: int
    to_position: int
    opening: int
    lines: tuple[InvoiceLine, ...]
    paid: int
    other: int

    @property
    def due(self) -> int:
        """Owed at the end; below zero: what the seller has paid too much, to his credit."""
        return self.opening + sum(line.amount for line in self.lines) - self.paid - self.other


def receivable_between(
    posted: Iterable[tuple[int, str | None, str, int]], *, from_position: int, opening: int, most_lines: int
) -> ReceivableStatement:
    """The statement of entries of one receivable in the order of the log: position, order, purpose, and the amount as
    posted (credit above zero). It ends before an entry of one order more than `most_lines`."""
    charged: dict[str, int] = {}
    paid = other = 0
    to_position = from_position
    for position, order_id, purpose, amount in posted:
        if order_id is not None and purpose == Purpose.RECEIVABLE:
            if order_id not in charged and len(charged) == most_lines:
                break
            charged[order_id] = charged.get(order_id, 0) - amount
        elif purpose == Purpose.SELLER_PAYMENT:
            paid += amount
        else:
            other += amount
        to_position = position
    return ReceivableStatement(
        from_position=from_position,
        to_position=to_position,
        opening=opening,
        lines=tuple(InvoiceLine(order_id=order_id, amount=amount) for order_id, amount in charged.items() if amount),
        paid=paid,
        other=other,
    )


@dataclass(frozen=True, kw_only=True)
class SellerInvoiceDetails:
    """`period` is the calendar month (`2026-03`) that it bills. `due`: to be paid."""

    id: str
    organization_id: str
    currency: str
    period: str
    statement: ReceivableStatement
    due: int
    issued_by: str


@dataclass(frozen=True, kw_only=True)
class SellerInvoiceIssued(Created):
    TOPIC: ClassVar[str] = "seller_invoice.issued"
    details: SellerInvoiceDetails


class SellerInvoice(Aggregate):
    TOPIC: ClassVar[str] = "seller_invoice"

    def __init__(self, details: SellerInvoiceDetails) -> None:
        self.details = details

    @classmethod
    def issue(cls, details: SellerInvoiceDetails, *, at: datetime) -> SellerInvoice:
        return cls._create(SellerInvoiceIssued, id=details.id, timestamp=at, details=details)
