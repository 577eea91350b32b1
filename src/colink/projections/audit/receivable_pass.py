"""The pass `receivables`: what sellers who collect the money themselves paid, settled and were billed.

Each payment is credited once, each allocation is exactly what its orders say was settled of them, each invoice bills
what was posted; accounts follow from what happened to them (seller_account_pass.py). That an order allowed a
settlement is verified with the order (pass `clearing`); journals by the pass `derivation`.
"""

from __future__ import annotations

from colink.domain.audit.orders import ExpectedJournal
from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.audit.seller_accounts import billed
from colink.domain.ledger import Journal, JournalPosted, seller_receivable
from colink.domain.order_decisions import OrderSettled, OrderSettlementTakenBack
from colink.domain.postings import Draft
from colink.domain.seller_accounts import MOST_LINES, seller_account_id, seller_invoice_id, seller_payment_id
from colink.domain.seller_billing import (
    SellerInvoiceDetails,
    SellerInvoiceIssued,
    SellerPaymentReceived,
    SellerPaymentReturned,
    payment_journal,
    receivable_between,
    return_journal,
)
from colink.domain.value import replace
from colink.projections.audit.derivation import DerivationCheck
from colink.projections.audit.part import Part
from colink.projections.audit.reading import Window
from colink.projections.audit.seller_account_pass import SellerAccountCheck

_TOPICS = frozenset(
    event.TOPIC
    for event in (
        SellerPaymentReceived,
        SellerPaymentReturned,
        SellerInvoiceIssued,
        OrderSettled,
        OrderSettlementTakenBack,
    )
)


class SellerCheck:
    """Carries out what two events say each, where only one of them was seen; `derivation` is told the journals that
    must follow from payments."""

    def __init__(self, part: Part, derivation: DerivationCheck | None) -> None:
        self._part = part
        self._result = part.results.get(Pass.RECEIVABLES) or PassResult(audit_pass=Pass.RECEIVABLES)
        self._derivation = derivation
        self._accounts = SellerAccountCheck(part, self._result)

    def check(self, window: Window) -> None:
        self._accounts.check(window)
        events = window.events(window.rows, _TOPICS, self._result)
        self._payments = [(position, event) for position, event in events if not isinstance(event, OrderSettled)]
        for position, event in events:
            match event:
                case OrderSettled() | OrderSettlementTakenBack():
                    amount = event.amount if isinstance(event, OrderSettled) else -event.amount
                    self._part.match((event.account_id, str(event.number), event.originator_id), amount, position)
                case SellerPaymentReceived():
                    self._check_payment(position, event)
                case SellerPaymentReturned():
                    self._check_return(window, position, event)
                case SellerInvoiceIssued():
                    self._check_invoice(window, position, event)
                case _:
                    pass

    def _check_payment(self, position: int, event: SellerPaymentReceived) -> None:
        self._result.checked += 1
        paid = event.details
        account_id = seller_account_id(paid.organization_id, paid.currency)
        self._part.match((event.originator_id, account_id), paid.amount, position)
        named = seller_payment_id(paid.organization_id, paid.reference)
        if {event.originator_id, paid.id} != {named} or paid.amount <= 0:
            self._result.find(
                Kind.DERIVED_DIFFERENTLY,
                position,
                event.originator_id,
                f"{event.originator_id} is not the payment that it says it is",
                recorded=paid,
                derived=named,
            )
        self._expect(position, payment_journal(event))

    def _check_return(self, window: Window, position: int, event: SellerPaymentReturned) -> None:
        """Once, of a payment that was received and is otherwise as it was."""
        self._result.checked += 1
        paid, back = event.details, event.details.returned
        account_id = seller_account_id(paid.organization_id, paid.currency)
        self._part.match((event.originator_id, account_id, "returned"), paid.amount, position)
        before = [
            each.details
            for at, each in (*window.earlier_events(event.originator_id), *self._payments)
            if isinstance(each, SellerPaymentReceived | SellerPaymentReturned)
            and each.originator_id == event.originator_id
            and at < position
        ]
        known = before[-1] if before else None
        if (
            known is None
            or back is None
            or known.returned is not None
            or replace(known, returned=back) != paid
            or not known.received_at <= back.returned_at <= event.timestamp
        ):
            self._result.find(
                Kind.DERIVED_DIFFERENTLY,
                position,
                event.originator_id,
                f"{event.originator_id} cannot have been returned so, or was returned before",
                recorded=paid,
                derived=known,
            )
        if back is not None:
            self._expect(position, return_journal(event))

    def _expect(self, position: int, journal: Journal) -> None:
        if self._derivation is not None:
            self._derivation.expect(
                [
                    ExpectedJournal(
                        journal_id=posted.originator_id,
                        position=position,
                        draft=Draft(kind=posted.kind, effective_at=posted.effective_at, postings=posted.postings),
                        beside=(posted.cause_id, posted.corrects, posted.reason),
                    )
                    for posted in journal.collect_events()
                    if isinstance(posted, JournalPosted)
                ]
            )

    def _check_invoice(self, window: Window, position: int, event: SellerInvoiceIssued) -> None:
        """Of the entries, which the pass `entries` compares with the journals."""
        self._result.checked += 1
        invoice, statement = event.details, event.details.statement
        account_id = seller_account_id(invoice.organization_id, invoice.currency)
        told = billed(statement.from_position, statement.to_position)
        self._part.match((event.originator_id, account_id), told, position)
        values = (seller_receivable(invoice.organization_id), invoice.currency, statement.from_position)
        [(opening,)] = window.reader.rows(
            "SELECT coalesce(-sum(amount), 0)::bigint FROM colink.entries"
            " WHERE account = %s AND currency = %s AND position <= %s",
            *values,
        )
        posted = window.reader.rows(
            "SELECT position, order_id, purpose, amount FROM colink.entries"
            " WHERE account = %s AND currency = %s AND position > %s AND position <= %s ORDER BY position",
            *values,
            statement.to_position,
        )
        derived = receivable_between(
            ((row[0], row[1], row[2], row[3]) for row in posted),
            from_position=statement.from_position,
            opening=opening,
            most_lines=MOST_LINES,
        )
        again = SellerInvoiceDetails(
            id=seller_invoice_id(invoice.organization_id, invoice.currency, invoice.period),
            organization_id=invoice.organization_id,
            currency=invoice.currency,
            period=invoice.period,
            statement=derived,
            due=derived.due,
            issued_by=invoice.issued_by,
        )
        if invoice != again or event.originator_id != again.id:
            self._result.find(
                Kind.DERIVED_DIFFERENTLY,
                position,
                event.originator_id,
                f"{event.originator_id} bills something else than was posted",
                recorded=invoice,
                derived=again,
            )
