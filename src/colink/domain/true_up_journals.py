"""What each step of a true-up posts: creator against seller, by the seller's own account where we hold the money, by
what it owes where it collects itself. A journal follows from its event alone and is named by it."""

from __future__ import annotations

from colink.domain import ledger
from colink.domain.ledger import Journal, JournalKind, Posting, Purpose
from colink.domain.split import Claim
from colink.domain.true_up_counts import Count
from colink.domain.true_ups import TrueUpCleared, TrueUpCounted, TrueUpRecounted, TrueUpReleased

TrueUpEvent = TrueUpCounted | TrueUpRecounted | TrueUpCleared | TrueUpReleased


def journals_of(event: TrueUpEvent) -> list[Journal]:
    """The journal of one step; none where no money moves."""
    postings = _postings(event.before, event.count, event)
    if isinstance(event, TrueUpReleased) or not postings:
        return []  # what is released moves when it is due
    clearing = isinstance(event, TrueUpCleared)
    return [
        Journal.post(
            journal_id=f"jrn_{event.originator_id}.{event.originator_version}.0",
            kind=JournalKind.CLEARING if clearing else JournalKind.TRUE_UP,
            effective_at=event.due_at if isinstance(event, TrueUpCleared) else event.effective_at,
            postings=postings,
            at=event.timestamp,
            organization_id=event.organization_id,
            cause_id=event.originator_id,
        )
    ]


def _postings(before: Count, after: Count, event: TrueUpEvent) -> list[Posting]:
    was = {claim.payee_id: claim for claim in before.claims}
    legs: list[tuple[str, int]] = []
    for claim in after.claims:
        known = was.get(claim.payee_id) or Claim(line_id=None, payee_id=claim.payee_id, net=0)
        legs += [
            (ledger.payee_available(claim.payee_id), claim.available - known.available),
            (ledger.payee_pending(claim.payee_id), claim.pending - known.pending),
        ]
    legs.append((ledger.seller_receivable(event.organization_id), before.receivable - after.receivable))
    return [
        Posting(account=account, amount=amount, currency=event.currency, purpose=Purpose.TRUE_UP)
        for account, amount in legs
        if amount
    ]
