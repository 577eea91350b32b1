"""What there must be for a booking to be posted. Semantics section 6; decision 19.

A conversion and tax paid on take what is there, no more; a write-off gives up what is owed, no more; a journal by
hand leaves no account on the side where it may not be. Commands ask before they post, under guards, and an auditor
asks the same of the balance right after the journal.
"""

from __future__ import annotations

from collections.abc import Iterable

from colink.domain.accounts import account_kind
from colink.domain.bookings import BookingKind
from colink.domain.ledger import Posted, payee_of


def accounts_asked(kind: BookingKind, postings: Iterable[Posted]) -> tuple[tuple[str, str], ...]:
    """(account, currency) of those whose balance decides whether a booking may be posted. Raises InvalidInput for an
    account that is not in the chart."""
    return tuple(dict.fromkeys((each.account, each.currency) for each in postings if _is_asked(kind, each)))


def _is_asked(kind: BookingKind, posting: Posted) -> bool:
    match kind:
        case BookingKind.WRITE_OFF:
            return posting.amount > 0  # who owed it
        case BookingKind.FX:
            return posting.amount < 0 and payee_of(posting.account) is not None
        case BookingKind.TAX_REMITTED:
            return posting.amount < 0
        case BookingKind.MANUAL:
            return not account_kind(posting.account).may_go_negative


def takes_too_much(kind: BookingKind, account: str, after: int) -> bool:
    """Whether a booking takes more than there was of an account that is asked: `after` is its balance then, signed
    (credit > 0)."""
    match kind:
        case BookingKind.WRITE_OFF:
            return after > 0
        case BookingKind.FX | BookingKind.TAX_REMITTED:
            return after < 0
        case BookingKind.MANUAL:
            return account_kind(account).refuses(after)
