"""What each step of a payout posts. Semantics section 6, the payout rows of the journal table.

A journal follows from its event alone and is named by it, so a step taken twice is one journal.
"""

from __future__ import annotations

from colink.domain.ids import natural_id
from colink.domain.ledger import (
    PLATFORM_EXPENSE,
    Journal,
    JournalKind,
    Posting,
    Purpose,
    payee_available,
    payee_in_transit,
    processor_cash,
    tax_withheld,
)
from colink.domain.payouts import (
    RELEASED,
    PayoutChanged,
    PayoutEvent,
    PayoutPaid,
    PayoutRequested,
    PayoutReturned,
    PayoutSubmitted,
)
from colink.domain.withholding import WithheldTax


def journals_of(event: PayoutEvent) -> list[Journal]:
    """The journals of one step; none where no money moves."""
    available, in_transit = payee_available(event.payee_id), payee_in_transit(event.payee_id)
    match event:
        case PayoutRequested():
            return [_moved(event, JournalKind.PAYOUT_RESERVED, "reserved", available, in_transit)]
        case PayoutSubmitted(tax=WithheldTax() as tax) if event.attempt == 1:
            withheld = tax_withheld(tax.authority)
            return [_moved(event, JournalKind.TAX_WITHHELD, "withheld", in_transit, withheld, amount=tax.amount)]
        case PayoutPaid():
            cash = processor_cash(event.rail)
            paid = _moved(event, JournalKind.PAYOUT_PAID, "paid", in_transit, cash, amount=event.net)
            fee = _moved(event, JournalKind.PAYOUT_FEE, "fee", PLATFORM_EXPENSE, cash, amount=event.fee)
            return [paid, fee] if event.fee else [paid]
        case PayoutReturned():
            cash = processor_cash(event.rail)
            return [_given_back(event, JournalKind.PAYOUT_RETURNED, "returned", cash)]
        case PayoutChanged() if event.status in RELEASED:
            return [_given_back(event, JournalKind.PAYOUT_RELEASED, "released", in_transit)]
        case _:
            return []


def _given_back(event: PayoutChanged, kind: JournalKind, step: str, debited: str) -> Journal:
    """All of it, with the tax that was withheld of it."""
    available = payee_available(event.payee_id)
    tax = event.tax if event.tax is not None and event.tax.withheld else None
    if tax is None:
        return _moved(event, kind, step, debited, available)
    return _journal(
        event,
        kind,
        step,
        _posting(debited, -event.net, event.currency),
        _posting(tax_withheld(tax.authority), -tax.amount, event.currency, Purpose.TAX),
        _posting(available, event.amount, event.currency),
    )


def _moved(
    event: PayoutEvent, kind: JournalKind, step: str, debited: str, credited: str, *, amount: int | None = None
) -> Journal:
    moved = event.amount if amount is None else amount
    purpose = Purpose.TAX if kind is JournalKind.TAX_WITHHELD else Purpose.PAYOUT
    return _journal(
        event,
        kind,
        step,
        _posting(debited, -moved, event.currency, purpose),
        _posting(credited, moved, event.currency, purpose),
    )


def _posting(account: str, amount: int, currency: str, purpose: Purpose = Purpose.PAYOUT) -> Posting:
    return Posting(account=account, amount=amount, currency=currency, purpose=purpose)


def _journal(event: PayoutEvent, kind: JournalKind, step: str, *postings: Posting) -> Journal:
    return Journal.post(
        journal_id=natural_id("jrn", event.originator_id, step),
        kind=kind,
        effective_at=event.timestamp,
        postings=postings,
        at=event.timestamp,
        organization_id=event.organization_id,
        payout_id=event.originator_id,
    )
