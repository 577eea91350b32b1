"""Bookings: journals that people make. One proposes, another decides. Semantics section 6; decision 19.

A booking is a manual journal (its postings given), a write-off, a conversion between currencies, or tax paid to its
authority. It says everything its journal follows from, so an auditor derives the journal from the approval alone
(`booking_journals`). Nothing is posted before somebody else than the proposer approved it.

What belongs to automatic flows is not touched by hand: a payee's pending money is the claims' (min(N, K) of each
order line), what is in transit the payouts'. A payee's available account may be: the money is then no order's, it
counts for payouts like any other credit or debit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from colink.domain.accounts import account_kind, check_given_name
from colink.domain.aggregates import Aggregate, Created, Event
from colink.domain.errors import Conflict, Forbidden, InvalidInput
from colink.domain.ledger import (
    PLATFORM_LOSS,
    Posting,
    Purpose,
    check_postings_balance,
    fx_liquidity,
    payee_available,
    payee_of,
    processor_cash,
    seller_of,
    seller_receivable,
    tax_withheld,
)
from colink.domain.money import MAX_AMOUNT, currency_exponent, minor_units

BOOKING_ID = "bkg"  # the prefix of booking ids
MAX_POSTINGS = 100
_BY_FLOWS = frozenset({"pending", "in_transit"})
_RATE = re.compile(r"[0-9]{1,12}(\.[0-9]{0,12})?").fullmatch


class OwnBooking(Forbidden):
    slug, title = "self-approval", "Who proposed a journal may not approve it"


class BookingDecided(Conflict):
    slug, title = "booking-decided", "The journal was decided before"


class AlreadyReversed(Conflict):
    slug, title = "already-reversed", "The conversion was taken back before"


class BookingKind(StrEnum):
    MANUAL = "manual"
    WRITE_OFF = "write_off"
    FX = "fx"
    TAX_REMITTED = "tax_remitted"


class BookingStatus(StrEnum):
    PENDING = "pending"
    POSTED = "posted"
    REJECTED = "rejected"


@dataclass(frozen=True, kw_only=True)
class BookedPosting:
    """A posting of a manual journal: signed minor units, credit above zero."""

    account: str
    amount: int
    currency: str


@dataclass(frozen=True, kw_only=True)
class WriteOff:
    """A debt that is given up: of a payee (his available account) or of a seller (his receivable)."""

    account: str
    amount: int
    currency: str


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """`amount` of a payee in `currency` becomes `converted` in `into`. `rate`: units of `into` for one unit of
    `currency`, an exact decimal as text; `source` says whose it is, `rated_at` when it was so. `converted` is rounded
    once, half-to-even. `reverses`: the booking that this takes back, at its rate: the amounts are those of it."""

    payee_id: str
    amount: int
    currency: str
    converted: int
    into: str
    rate: str
    source: str
    rated_at: datetime
    reverses: str | None = None


@dataclass(frozen=True, kw_only=True)
class Remittance:
    """Withheld tax that is paid to its authority from a provider's or bank's account."""

    authority: str
    processor: str
    amount: int
    currency: str


@dataclass(frozen=True, kw_only=True)
class BookingDetails:
    """`organization_id`: whose business it is, None for the platform's own. `corrects`: a journal id. Exactly one of
    `postings`, `write_off`, `conversion` and `remittance` says what is booked. `note`: why it was rejected."""

    id: str
    kind: BookingKind
    status: BookingStatus
    reason: str
    effective_at: datetime
    proposed_by: str
    organization_id: str | None = None
    corrects: str | None = None
    postings: tuple[BookedPosting, ...] = ()
    write_off: WriteOff | None = None
    conversion: Conversion | None = None
    remittance: Remittance | None = None
    decided_by: str | None = None
    note: str | None = None


def booked_postings(details: BookingDetails) -> tuple[Posting, ...]:
    """What a booking posts."""
    if details.write_off is not None:
        off = details.write_off
        return _pair(PLATFORM_LOSS, off.account, off.amount, off.currency, Purpose.WRITE_OFF)
    if details.conversion is not None:
        return _conversion_postings(details.conversion)
    if details.remittance is not None:
        paid = details.remittance
        debited, credited = tax_withheld(paid.authority), processor_cash(paid.processor)
        return _pair(debited, credited, paid.amount, paid.currency, Purpose.TAX)
    return tuple(
        Posting(account=each.account, amount=each.amount, currency=each.currency, purpose=Purpose.MANUAL)
        for each in details.postings
    )


def _conversion_postings(conversion: Conversion) -> tuple[Posting, ...]:
    available = payee_available(conversion.payee_id)
    given, taken = fx_liquidity(conversion.currency), fx_liquidity(conversion.into)
    out = _pair(available, given, conversion.amount, conversion.currency, Purpose.FX)
    in_ = _pair(taken, available, conversion.converted, conversion.into, Purpose.FX)
    if conversion.reverses is None:
        return out + in_
    return tuple(
        Posting(account=each.account, amount=-each.amount, currency=each.currency, purpose=each.purpose)
        for each in in_ + out
    )


def _pair(debited: str, credited: str, amount: int, currency: str, purpose: Purpose) -> tuple[Posting, ...]:
    return (
        Posting(account=debited, amount=-amount, currency=currency, purpose=purpose),
        Posting(account=credited, amount=amount, currency=currency, purpose=purpose),
    )


def converted_amount(amount: int, currency: str, into: str, rate: str) -> int:
    """Minor units of `into` for minor units of `currency`, rounded once, half-to-even. Raises InvalidInput."""
    exact = exact_rate(rate)
    major = Decimal(amount).scaleb(-currency_exponent(currency))
    return minor_units(major * exact, into)


def exact_rate(rate: str) -> Decimal:
    """Above zero, with at most 12 digits before the point and 12 behind it. Raises InvalidInput."""
    exact = Decimal(rate) if _RATE(rate) else Decimal(0)
    if not exact > 0:
        msg = f"{rate!r} is no rate: write a decimal above zero, such as 0.2934, with at most 12 decimals"
        raise InvalidInput(msg, field="rate")
    return exact


@dataclass(frozen=True, kw_only=True)
class BookingProposed(Created):
    TOPIC: ClassVar[str] = "booking.proposed"
    details: BookingDetails


@dataclass(frozen=True, kw_only=True)
class BookingApproved(Event):
    """Its journal is posted with it (`booking_journals`)."""

    TOPIC: ClassVar[str] = "booking.approved"
    details: BookingDetails

    def apply(self, aggregate: Booking) -> None:
        aggregate.details = self.details


@dataclass(frozen=True, kw_only=True)
class BookingRejected(Event):
    TOPIC: ClassVar[str] = "booking.rejected"
    details: BookingDetails

    def apply(self, aggregate: Booking) -> None:
        aggregate.details = self.details


class Booking(Aggregate):
    """One journal of a person's, from the proposal to the decision."""

    TOPIC: ClassVar[str] = "booking"
    details: BookingDetails

    @classmethod
    def propose(cls, details: BookingDetails, *, at: datetime) -> Booking:
        """Raises InvalidInput and UnbalancedJournal."""
        check_booking(details)
        return cls._create(BookingProposed, id=details.id, timestamp=at, details=details)

    def approve(self, *, by: str, at: datetime) -> None:
        """Raises OwnBooking, BookingDecided."""
        self._check_is_pending("approved")
        if by == self.details.proposed_by:
            msg = f"{by} proposed {self.id}: somebody else has to approve it"
            raise OwnBooking(msg)
        details = replace(self.details, status=BookingStatus.POSTED, decided_by=by)
        self.trigger_event(BookingApproved, timestamp=at, details=details)

    def reject(self, *, by: str, note: str, at: datetime) -> None:
        """Also by who proposed it, who takes it back so. Raises BookingDecided."""
        self._check_is_pending("rejected")
        details = replace(self.details, status=BookingStatus.REJECTED, decided_by=by, note=note)
        self.trigger_event(BookingRejected, timestamp=at, details=details)

    def _check_is_pending(self, wanted: str) -> None:
        if self.details.status is not BookingStatus.PENDING:
            msg = f"{self.id} is {self.details.status}, by {self.details.decided_by}: it cannot be {wanted}"
            raise BookingDecided(msg)


def check_booking(details: BookingDetails) -> None:
    """Raises InvalidInput naming the field, UnbalancedJournal."""
    for number, posting in enumerate(details.postings):
        _check_by_hand(posting, field=f"postings.{number}")
    if details.write_off is not None:
        off = details.write_off
        _check_amount(off.amount, off.currency, field="amount")
        payee_id, seller = payee_of(off.account), seller_of(off.account)
        named = {payee_available(payee_id)} if payee_id else {seller_receivable(seller)} if seller else set()
        if off.account not in named:
            msg = "only a payee's available account or a seller's receivable holds a debt that can be written off"
            raise InvalidInput(msg, field="account")
    if details.conversion is not None:
        conversion = details.conversion
        _check_amount(conversion.amount, conversion.currency, field="amount")
        currency_exponent(conversion.into)
        if conversion.into == conversion.currency:
            msg = f"{conversion.into} is what is converted"
            raise InvalidInput(msg, field="into")
        if conversion.converted <= 0:
            msg = f"{conversion.amount} {conversion.currency} (minor units) comes to nothing in {conversion.into}"
            raise InvalidInput(msg, field="amount")
        if conversion.converted > MAX_AMOUNT:
            msg = f"{conversion.converted} {conversion.into} (minor units) is more than {MAX_AMOUNT}"
            raise InvalidInput(msg, field="rate")
    if details.remittance is not None:
        paid = details.remittance
        _check_amount(paid.amount, paid.currency, field="amount")
        check_given_name(processor_cash(paid.processor))
        check_given_name(tax_withheld(paid.authority))
    if len(details.postings) > MAX_POSTINGS:
        msg = f"a journal made by hand has at most {MAX_POSTINGS} postings"
        raise InvalidInput(msg, field="postings")
    check_postings_balance(booked_postings(details))


def _check_amount(amount: int, currency: str, *, field: str) -> None:
    currency_exponent(currency)
    if not 0 < amount <= MAX_AMOUNT:
        msg = f"an amount lies between 1 and {MAX_AMOUNT} minor units"
        raise InvalidInput(msg, field=field)


def _check_by_hand(posting: BookedPosting, *, field: str) -> None:
    """Raises InvalidInput for accounts of automatic flows, a foreign currency in a position, amounts of nothing."""
    try:
        kind = account_kind(posting.account)
        check_given_name(posting.account)
        _check_amount(abs(posting.amount), posting.currency, field="amount")
    except InvalidInput as error:
        raise InvalidInput(error.detail, field=f"{field}.{error.field}") from None
    if kind.purpose in _BY_FLOWS:
        msg = f"{posting.account} follows from orders and payouts: post to the payee's available account"
        raise InvalidInput(msg, field=f"{field}.account")
    if posting.account.startswith("fx:") and posting.account != fx_liquidity(posting.currency):
        msg = f"{posting.account} holds no {posting.currency}"
        raise InvalidInput(msg, field=f"{field}.currency")
