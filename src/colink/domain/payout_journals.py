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
)
from colink.domain.payouts import (
    RELEASED,
    PayoutEvent,
    PayoutPaid,
    PayoutRequested,
    PayoutReturned,
)


def journals_of(event: PayoutEvent) -> list[Journal]:
    """The journals of one step; none where no money moves."""
    available, in_transit = payee_available(event.payee_id), payee_in_transit(event.payee_id)
    match event:
        case PayoutRequested():
            return [_moved(event, JournalKind.PAYOUT_RESERVED, "reserved", available, in_transit)]
        case PayoutPaid():
            cash = processor_cash(event.rail)
            paid = _moved(event, JournalKind.PAYOUT_PAID, "paid", in_transit, cash)
            if event.fee == 0:
                return [paid]
            fee = _moved(event, JournalKind.PAYOUT_FEE, "fee", PLATFORM_EXPENSE, cash, amount=event.fee)
            return [paid, fee]
        case PayoutReturned():
            cash = processor_cash(event.rail)
            return [_moved(event, JournalKind.PAYOUT_RETURNED, "returned", cash, available)]
        case _ if event.status in RELEASED:
            return [_moved(event, JournalKind.PAYOUT_RELEASED, "released", in_transit, available)]
        case _:
            return []


def _moved(
    event: PayoutEvent, kind: JournalKind, step: str, debited: str, credited: str, *, amount: int | None = None
) -> Journal:
    moved = event.amount if amount is None else amount
    return Journal.post(
        journal_id=natural_id("jrn", event.originator_id, step),
        kind=kind,
        effective_at=event.timestamp,
        postings=(
            Posting(account=debited, amount=-moved, currency=event.currency, purpose=Purpose.PAYOUT),
            Posting(account=credited, amount=moved, currency=event.currency, purpose=Purpose.PAYOUT),
        ),
        at=event.timestamp,
        organization_id=event.organization_id,
        payout_id=event.originator_id,
    )
