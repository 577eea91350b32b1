"""Events of a seller's account derived again: what it came to, what others must say of it, and what it should not
have taken over. Pure; the pass `receivables` feeds them (projections/audit/seller_account_pass.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from colink.domain.seller_account_events import (
    SellerAccountAdopted,
    SellerAccountAllocated,
    SellerAccountBooked,
    SellerAccountCovered,
    SellerAccountCredited,
    SellerAccountDetails,
    SellerAccountInvoiced,
    SellerAccountOpened,
    SellerAccountReturned,
    SellerAccountTakenBack,
    adopted,
    allocated,
    booked,
    covered,
    credited,
    returned,
    taken_back,
    uncovered_by,
)
from colink.domain.seller_accounts import seller_account_id
from colink.domain.seller_billing import payment_journal_id, return_journal_id

AccountEvent = (
    SellerAccountOpened
    | SellerAccountCredited
    | SellerAccountAdopted
    | SellerAccountBooked
    | SellerAccountCovered
    | SellerAccountAllocated
    | SellerAccountReturned
    | SellerAccountTakenBack
    | SellerAccountInvoiced
)
Charges = Sequence[tuple[str, int]]
"""What was posted beside orders and payments, by journal."""
Pair = tuple[str, ...]


def billed(from_position: int, to_position: int) -> int:
    """What an invoice and its account say of each other, as one number that is never zero."""
    return to_position - from_position + 1


def opened_again(now: SellerAccountDetails) -> SellerAccountDetails:
    """An account at its beginning: with nothing to adopt, or all."""
    return SellerAccountDetails(
        id=seller_account_id(now.organization_id, now.currency),
        organization_id=now.organization_id,
        currency=now.currency,
        since=None if now.since is None else 0,
    )


def derived_again(before: SellerAccountDetails, event: AccountEvent, *, charges: Charges) -> SellerAccountDetails:
    """The account after the event. `charges`: those that an adoption is of."""
    now, after = event.details, before
    match event:
        case SellerAccountCredited():
            after = credited(before, event.amount)
        case SellerAccountAdopted():
            after = adopted(before, sum([amount for _, amount in charges]), position=event.position)
        case SellerAccountBooked():
            amount = event.amount if event.journal_id else 0
            after = booked(before, amount, held=event.held, uncovered=_uncovered(event) or 0)
        case SellerAccountCovered():
            after = covered(before, event.amount, uncounted=event.uncounted)
        case SellerAccountAllocated():
            after = allocated(before, event.allocations, credited_to=now.credited_to, settled_to=now.settled_to)
        case SellerAccountReturned():
            after = returned(before, event.amount)
        case SellerAccountTakenBack():
            after = taken_back(before, event.allocations, exhausted=event.exhausted, settled_to=now.settled_to)
        case SellerAccountInvoiced():
            after = replace(before, invoiced_to=now.invoiced_to)
        case _:
            pass
    return after


def said_of_others(before: SellerAccountDetails, event: AccountEvent, *, charges: Charges) -> list[tuple[Pair, int]]:
    """What payments, journals, true-ups, orders and invoices must say too: what names it, and the amount."""
    id_, pairs = event.originator_id, list[tuple[Pair, int]]()
    match event:
        case SellerAccountCredited():
            causes = (event.payment_id, payment_journal_id(event.payment_id))
            pairs = [((cause, id_), event.amount) for cause in causes]
        case SellerAccountAdopted():
            pairs = [((journal_id, id_), amount) for journal_id, amount in charges]
        case SellerAccountBooked():
            pairs = [((event.cause_id, id_, "held"), event.held)]
            if event.journal_id is not None:
                pairs.append(((event.journal_id, id_), event.amount))
        case SellerAccountCovered():
            names = (event.true_up_id, id_)
            pairs = [
                ((*names, "held"), 0 if event.uncounted else -event.amount),
                ((*names, "covered"), event.amount),
                ((*names, "uncounted"), event.uncounted),
            ]
        case SellerAccountReturned():
            pairs = [
                ((event.payment_id, id_, "returned"), event.amount),
                ((return_journal_id(event.payment_id), id_), -event.amount),
            ]
        case SellerAccountAllocated() | SellerAccountTakenBack():
            number = str(event.details.allocations)
            pairs = [((id_, number, each.order_id), each.amount) for each in event.allocations]
        case SellerAccountInvoiced():
            pairs = [((event.invoice_id, id_), billed(before.invoiced_to, event.details.invoiced_to))]
        case _:
            pass
    return pairs


def refused(before: SellerAccountDetails, event: AccountEvent) -> str | None:
    """What is wrong with taking the event over, if anything is."""
    now, wrong = event.details, None
    match event:
        case SellerAccountAllocated() if now.credit < 0 and any(each.amount > 0 for each in event.allocations):
            wrong = f"settled orders with {-now.credit} more than was paid"
        case SellerAccountAllocated() if now.credited_to < before.credited_to or now.settled_to < before.settled_to:
            wrong = "went back in the log"
        case SellerAccountTakenBack() if now.returned < 0 or any(each.amount >= 0 for each in event.allocations):
            wrong = "took back more than was returned"
        case SellerAccountTakenBack() if now.settled_to > before.settled_to:
            wrong = "went forward in the log, taking back"
        case SellerAccountAdopted() if before.since is not None:
            wrong = "adopted twice what was charged before"
        case SellerAccountBooked() | SellerAccountCovered() | SellerAccountReturned() | SellerAccountTakenBack() if (
            before.since is None
        ):
            wrong = "has not adopted what was charged before"
        case SellerAccountBooked() if event.uncovered != _uncovered(event):
            wrong = "says of something that it waits, or that it does not"
        case SellerAccountCovered() if event.amount > before.coverable(uncounted=event.uncounted):
            wrong = f"had not covered {event.amount} of {event.true_up_id}"
        case _:
            pass
    return wrong


def _uncovered(event: SellerAccountBooked) -> int | None:
    """What it says of that, if it is not of before."""
    if event.uncovered is None:
        return None
    return uncovered_by(event.cause_id, event.amount if event.journal_id else 0, held=event.held)
