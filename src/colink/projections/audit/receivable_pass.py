"""The pass `receivables`: what sellers who collect the money themselves paid, settled and were billed.

Each event of a seller's account must follow from the one before it and from what it says happened; each payment is
credited once, each allocation is exactly what its orders say was settled of them, each invoice bills what was posted.
That an order allowed a settlement is verified with the order (pass `clearing`); journals by the pass `derivation`.
"""

from __future__ import annotations

from colink.domain.aggregates import Event
from colink.domain.audit.orders import ExpectedJournal
from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.ledger import JournalPosted, seller_receivable
from colink.domain.order_decisions import OrderSettled
from colink.domain.postings import Draft
from colink.domain.seller_accounts import (
    MOST_LINES,
    SellerAccountAllocated,
    SellerAccountCredited,
    SellerAccountDetails,
    SellerAccountInvoiced,
    SellerAccountOpened,
    allocated,
    credited,
    seller_account_id,
    seller_invoice_id,
    seller_payment_id,
)
from colink.domain.seller_billing import (
    SellerInvoiceDetails,
    SellerInvoiceIssued,
    SellerPaymentReceived,
    payment_journal,
    receivable_between,
)
from colink.domain.value import replace
from colink.projections.audit.derivation import DerivationCheck
from colink.projections.audit.part import Part
from colink.projections.audit.reading import Window

_OF_ACCOUNT = (SellerAccountOpened, SellerAccountCredited, SellerAccountAllocated, SellerAccountInvoiced)
_TOPICS = frozenset(event.TOPIC for event in (*_OF_ACCOUNT, SellerPaymentReceived, SellerInvoiceIssued, OrderSettled))
AccountEvent = SellerAccountOpened | SellerAccountCredited | SellerAccountAllocated | SellerAccountInvoiced


class SellerCheck:
    """Carries out what two events say each, where only one of them was seen; `derivation` is told the journals that
    must follow from payments."""

    def __init__(self, part: Part, derivation: DerivationCheck | None) -> None:
        self._part = part
        self._result = part.results.get(Pass.RECEIVABLES) or PassResult(audit_pass=Pass.RECEIVABLES)
        self._derivation = derivation

    def check(self, window: Window) -> None:
        accounts: dict[str, SellerAccountDetails | None] = {}
        for position, event in window.events(window.rows, _TOPICS, self._result):
            match event:
                case OrderSettled():
                    self._part.match(
                        (event.account_id, str(event.number), event.originator_id), event.amount, position
                    )
                case SellerPaymentReceived():
                    self._check_payment(position, event)
                case SellerInvoiceIssued():
                    self._check_invoice(window, position, event)
                case (
                    SellerAccountOpened()
                    | SellerAccountCredited()
                    | SellerAccountAllocated()
                    | SellerAccountInvoiced()
                ):
                    id_ = event.originator_id
                    if id_ not in accounts:
                        accounts[id_] = _newest(window.earlier_events(id_))
                    self._check_account(position, event, accounts[id_])
                    accounts[id_] = event.details
                case _:
                    pass

    def _check_account(self, position: int, event: AccountEvent, before: SellerAccountDetails | None) -> None:
        self._result.checked += 1
        now, id_ = event.details, event.originator_id
        wrong: str | None = None
        derived: SellerAccountDetails | None = None
        if isinstance(event, SellerAccountOpened):
            derived = SellerAccountDetails(
                id=seller_account_id(now.organization_id, now.currency),
                organization_id=now.organization_id,
                currency=now.currency,
            )
        elif before is not None:
            match event:
                case SellerAccountCredited():
                    derived = credited(before, event.amount)
                    self._part.match((event.payment_id, id_), -event.amount, position)
                case SellerAccountAllocated():
                    derived = allocated(
                        before, event.allocations, credited_to=now.credited_to, settled_to=now.settled_to
                    )
                    if now.credit < 0:
                        wrong = f"{id_} settled {-now.credit} more than was paid"
                    elif now.credited_to < before.credited_to or now.settled_to < before.settled_to:
                        wrong = f"{id_} went back in the log"
                    for each in event.allocations:
                        self._part.match((id_, str(now.allocations), each.order_id), -each.amount, position)
                case SellerAccountInvoiced():
                    derived = replace(before, invoiced_to=now.invoiced_to)
                    self._part.match((event.invoice_id, id_), -_told(before.invoiced_to, now.invoiced_to), position)
        if wrong is None and now != derived:
            wrong = f"{id_} is not what follows from what it was and from what happened to it"
        if wrong is not None:
            self._result.find(Kind.DERIVED_DIFFERENTLY, position, id_, wrong, recorded=now, derived=derived)

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
        if self._derivation is not None:
            self._derivation.expect(
                [
                    ExpectedJournal(
                        journal_id=journal.originator_id,
                        position=position,
                        draft=Draft(kind=journal.kind, effective_at=journal.effective_at, postings=journal.postings),
                    )
                    for journal in payment_journal(event).collect_events()
                    if isinstance(journal, JournalPosted)
                ]
            )

    def _check_invoice(self, window: Window, position: int, event: SellerInvoiceIssued) -> None:
        """Of the entries, which the pass `entries` compares with the journals."""
        self._result.checked += 1
        invoice, statement = event.details, event.details.statement
        account_id = seller_account_id(invoice.organization_id, invoice.currency)
        told = _told(statement.from_position, statement.to_position)
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


def _told(from_position: int, to_position: int) -> int:
    """What an invoice and its account say of each other, as one number that is never zero."""
    return to_position - from_position + 1


def _newest(events: list[tuple[int, Event]]) -> SellerAccountDetails | None:
    found = [event.details for _, event in events if isinstance(event, _OF_ACCOUNT)]
    return found[-1] if found else None


def find_unmatched(part: Part, *, whole_log: bool) -> None:
    """What only one of two events says. At the ends of a range the other one may lie outside."""
    result = part.results[Pass.RECEIVABLES]
    if not whole_log:
        if part.unmatched:
            result.leaves_out(f"{len(part.unmatched)} events name what lies outside the range")
        return
    for pair, (difference, position) in sorted(part.unmatched.items(), key=lambda item: item[1][1]):
        result.find(
            Kind.DERIVED_DIFFERENTLY,
            position,
            pair[0],
            f"the two events of {' and '.join(pair)} do not say the same",
            recorded=difference,
            derived=0,
        )
