"""The ledger: accounts, journals and what makes a journal valid. Semantics section 6.

Amounts are signed minor units, credit above zero. A journal is one event in a stream of its own, named by its cause,
so that the same cause posted twice is a unique violation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from colink.domain.accounts import account_kind
from colink.domain.aggregates import Aggregate, Created
from colink.domain.errors import ColinkError
from colink.domain.value import value


class UnbalancedJournal(ColinkError):
    slug, title, status = "unbalanced-journal", "The postings of a journal must sum to zero per currency", 422


class Purpose(StrEnum):
    """Why a posting is there; shown on the ledger entry."""

    __hash__ = str.__hash__  # legs are keyed by it: the hash of an enum is computed in Python

    COLLECTED = "collected"
    PLATFORM_FEE = "platform_fee"
    COMMISSION = "commission"
    PAYMENT_FEE = "payment_fee"
    SELLER_TAKE = "seller_take"
    PASS_THROUGH = "pass_through"  # noqa: S105 - tax, shipping, tips: a purpose of money, no password
    RECEIVABLE = "receivable"
    CASH = "cash"
    PAYOUT = "payout"
    DISPUTE_FEE = "dispute_fee"
    SETTLEMENT = "settlement"
    SELLER_PAYMENT = "seller_payment"
    TRUE_UP = "true_up"
    MANUAL = "manual"
    WRITE_OFF = "write_off"
    FX = "fx"
    TAX = "tax"


class JournalKind(StrEnum):
    SALE = "sale"
    REFUND = "refund"
    CASH_REFUND = "cash_refund"
    HOLD = "hold"
    CLEARING = "clearing"
    PAYOUT_RESERVED = "payout_reserved"
    PAYOUT_RELEASED = "payout_released"
    PAYOUT_PAID = "payout_paid"
    PAYOUT_FEE = "payout_fee"
    PAYOUT_RETURNED = "payout_returned"
    DISPUTE = "dispute"
    DISPUTE_FEE = "dispute_fee"
    SETTLEMENT = "settlement"
    SELLER_PAYMENT = "seller_payment"
    TRUE_UP = "true_up"
    MANUAL = "manual"
    WRITE_OFF = "write_off"
    FX = "fx"
    TAX_WITHHELD = "tax_withheld"
    TAX_REMITTED = "tax_remitted"


PLATFORM_REVENUE = "platform:revenue"
PLATFORM_EXPENSE = "platform:expense"
PLATFORM_LOSS = "platform:loss"


def store_clearing(store_id: str) -> str:
    return f"store:{store_id}:clearing"


def seller_receivable(organization_id: str) -> str:
    return f"seller:{organization_id}:receivable"


def processor_fees(name: str) -> str:
    return f"processor:{name}:fees"


def processor_cash(name: str) -> str:
    return f"processor:{name}:cash"


def payee_pending(payee_id: str) -> str:
    return f"payee:{payee_id}:pending"


def payee_available(payee_id: str) -> str:
    return f"payee:{payee_id}:available"


def payee_in_transit(payee_id: str) -> str:
    return f"payee:{payee_id}:in_transit"


def tax_withheld(authority: str) -> str:
    return f"tax:{authority}:withheld"


def fx_liquidity(currency: str) -> str:
    return f"fx:{currency}:liquidity"


def payee_accounts(payee_id: str) -> tuple[str, ...]:
    """All accounts that a payee has."""
    return payee_pending(payee_id), payee_available(payee_id), payee_in_transit(payee_id)


def payee_of(account: str) -> str | None:
    """The payee whose account this is, if any."""
    owner, _, rest = account.partition(":")
    return rest.rpartition(":")[0] if owner == "payee" else None


def store_of(account: str) -> str | None:
    """The store whose account this is, if any."""
    owner, _, rest = account.partition(":")
    return rest.rpartition(":")[0] if owner == "store" else None


def seller_of(account: str) -> str | None:
    """The seller whose receivable this is, if any."""
    owner, _, rest = account.partition(":")
    return rest.rpartition(":")[0] if owner == "seller" else None


class Posted(Protocol):
    """A posting, as it is recorded or as an auditor reads it."""

    @property
    def account(self) -> str: ...
    @property
    def amount(self) -> int: ...
    @property
    def currency(self) -> str: ...


@value
class Posting:
    """One leg of a journal, and one ledger entry. `line_id` None: of no single line."""

    account: str
    amount: int
    currency: str
    purpose: Purpose
    line_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class JournalPosted(Created):
    """`organization_id`: whose business it is. Its cause is an order, a payout, or the stream `cause_id`.

    occurred_at: its own time, where a closed period moved `effective_at` (semantics section 9); corrects: the journal
    it corrects; reason: of whoever made it by hand. Most journals have none of these, so they are not stored then.
    """

    TOPIC: ClassVar[str] = "journal.posted"
    class_version: ClassVar[int] = 2
    omitted_when_none: ClassVar[tuple[str, ...]] = ("cause_id", "occurred_at", "corrects", "reason")
    kind: JournalKind
    effective_at: datetime
    postings: tuple[Posting, ...]
    organization_id: str | None = None
    order_id: str | None = None
    payout_id: str | None = None
    cause_id: str | None = None
    occurred_at: datetime | None = None
    corrects: str | None = None
    reason: str | None = None

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """What version 1 had no fields for did not happen to it: they are None."""


class Journal(Aggregate):
    """A balanced set of postings."""

    TOPIC: ClassVar[str] = "journal"
    kind: JournalKind
    effective_at: datetime
    postings: tuple[Posting, ...]

    @classmethod
    def post(
        cls,
        *,
        journal_id: str,
        kind: JournalKind,
        effective_at: datetime,
        postings: Sequence[Posting],
        at: datetime,
        organization_id: str | None = None,
        order_id: str | None = None,
        payout_id: str | None = None,
        cause_id: str | None = None,
        occurred_at: datetime | None = None,
        corrects: str | None = None,
        reason: str | None = None,
    ) -> Journal:
        """Raises UnbalancedJournal unless the postings sum to zero in each currency, InvalidInput for an account that
        is not in the chart (domain.accounts)."""
        check_postings_balance(postings)
        return cls._create(
            JournalPosted,
            id=journal_id,
            timestamp=at,
            kind=kind,
            effective_at=effective_at,
            postings=tuple(postings),
            organization_id=organization_id,
            order_id=order_id,
            payout_id=payout_id,
            cause_id=cause_id,
            occurred_at=occurred_at,
            corrects=corrects,
            reason=reason,
        )


def check_postings_balance(postings: Sequence[Posting]) -> None:
    sums: dict[str, int] = defaultdict(int)
    for posting in postings:
        account_kind(posting.account)
        sums[posting.currency] += posting.amount
    for currency, total in sums.items():
        if total:
            msg = f"{currency} postings sum to {total}, not to zero"
            raise UnbalancedJournal(msg)
    if len(postings) < 2:
        msg = f"a journal has two or more postings, not {len(postings)}"
        raise UnbalancedJournal(msg)
