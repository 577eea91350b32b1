"""Journals that people make: one proposes, another approves or rejects. Semantics section 6; decision 19.

Every approval checks against what is open and what there is, under guards: a booking that was right when it was
proposed may not be when it is approved. What it posts to a seller's receivable is on his account in the same append.
All answer with the booking as the API shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from colink.application.configure.checks import check_text
from colink.application.ports import AccountBalance, BalanceUnchanged, Decision, Facts, Needs, Request
from colink.application.representations import shown
from colink.application.seller_accounts import SellerAccounts, needs_of_accounts
from colink.domain.aggregates import Event
from colink.domain.booking_funds import accounts_asked, takes_too_much
from colink.domain.booking_journals import booking_journal_id, booking_journals, reversal_journal_id
from colink.domain.bookings import (
    AlreadyReversed,
    BookedPosting,
    Booking,
    BookingApproved,
    BookingDetails,
    BookingKind,
    BookingStatus,
    Conversion,
    Remittance,
    WriteOff,
    booked_postings,
    converted_amount,
)
from colink.domain.creators import CreatorDetails
from colink.domain.errors import InsufficientFunds, InvalidInput, NotFound
from colink.domain.ledger import Journal, payee_of, seller_of, store_of
from colink.domain.money import Money
from colink.domain.organizations import OrganizationDetails, StoreDetails
from colink.domain.periods import check_is_open
from colink.domain.seller_accounts import beside_orders

Accounts = tuple[tuple[str, str], ...]
"""(account, currency) pairs."""


def _accounts_checked(details: BookingDetails) -> Accounts:
    """Those whose balance decides whether a booking may be posted."""
    return accounts_asked(details.kind, booked_postings(details))


def _checked(details: BookingDetails, facts: Facts) -> tuple[BalanceUnchanged, ...]:
    """What must stand still for the booking to be posted. Raises InsufficientFunds where there is less than it takes,
    ClosedPeriod, InvalidInput."""
    check_is_open(details.effective_at, open_from=facts.open_from, now=facts.now)
    guards = []
    for account, currency in _accounts_checked(details):
        balance = facts.balance(account, currency)
        _check_balance(details, account, currency, balance)
        guards.append(balance.unchanged(account, currency))
    return tuple(guards)


def _check_balance(details: BookingDetails, account: str, currency: str, balance: AccountBalance) -> None:
    added = sum(
        posting.amount
        for posting in booked_postings(details)
        if (posting.account, posting.currency) == (account, currency)
    )
    if takes_too_much(details.kind, account, balance.amount + added):
        msg = f"{account} has {balance.amount} {currency} (minor units, credit above zero): {added} is too much"
        raise InsufficientFunds(msg, field="amount")


@dataclass(frozen=True, kw_only=True)
class ProposeBooking(Request):
    """The parts that every proposal has. `effective_at` None: now."""

    booking_id: str
    reason: str
    effective_at: datetime | None = None
    organization_id: str | None = None

    def needs(self) -> Needs:
        documents: tuple[tuple[type, str], ...] = ()
        if self.organization_id is not None:
            documents = ((OrganizationDetails, self.organization_id),)
        return Needs(streams=(self.booking_id,), documents=documents)

    def proposed(
        self,
        facts: Facts,
        kind: BookingKind,
        *,
        corrects: str | None = None,
        postings: tuple[BookedPosting, ...] = (),
        write_off: WriteOff | None = None,
        conversion: Conversion | None = None,
        remittance: Remittance | None = None,
    ) -> Decision:
        if self.organization_id is not None and facts.document(OrganizationDetails, self.organization_id) is None:
            msg = f"organization_id {self.organization_id!r} is unknown"
            raise InvalidInput(msg, field="organization_id")
        effective_at = self.effective_at or facts.now
        check_is_open(effective_at, open_from=facts.open_from, now=facts.now)
        details = BookingDetails(
            id=self.booking_id,
            kind=kind,
            status=BookingStatus.PENDING,
            reason=check_text(self.reason, field="reason", longest=1_000),
            effective_at=effective_at,
            proposed_by=self.caller.actor,
            organization_id=self.organization_id,
            corrects=corrects,
            postings=postings,
            write_off=write_off,
            conversion=conversion,
            remittance=remittance,
        )
        booking = Booking.propose(details, at=facts.now)
        return Decision(
            answer=shown(booking.details), events=booking.new_events(), organization_id=details.organization_id
        )


@dataclass(frozen=True, kw_only=True)
class ProposeJournal(ProposeBooking):
    """A journal by hand. Raises InvalidInput (an account of an automatic flow, an unknown payee, seller, store or
    journal), UnbalancedJournal, ClosedPeriod."""

    postings: Sequence[BookedPosting]
    corrects: str | None = None

    @property
    def _payees(self) -> list[str]:
        return list(dict.fromkeys(filter(None, (payee_of(posting.account) for posting in self.postings))))

    @property
    def _sellers(self) -> list[str]:
        return list(dict.fromkeys(filter(None, (seller_of(posting.account) for posting in self.postings))))

    @property
    def _stores(self) -> list[str]:
        return list(dict.fromkeys(filter(None, (store_of(posting.account) for posting in self.postings))))

    def needs(self) -> Needs:
        needs = super().needs()
        sellers = tuple((OrganizationDetails, seller_id) for seller_id in self._sellers)
        stores = tuple((StoreDetails, store_id) for store_id in self._stores)
        documents = tuple(dict.fromkeys((*needs.documents, *payee_documents(self._payees), *sellers, *stores)))
        return Needs(streams=needs.streams, documents=documents, reads=(self.corrects,) if self.corrects else ())

    def decide(self, facts: Facts) -> Decision:
        for payee_id in self._payees:
            check_payee_is_known(facts, payee_id, field="postings")
        for seller_id in self._sellers:
            if facts.document(OrganizationDetails, seller_id) is None:
                msg = f"{seller_id!r} is no organization"
                raise InvalidInput(msg, field="postings")
        for store_id in self._stores:
            if facts.document(StoreDetails, store_id) is None:
                msg = f"{store_id!r} is no store"
                raise InvalidInput(msg, field="postings")
        if self.corrects is not None and facts.aggregate(Journal, self.corrects) is None:
            msg = f"there is no journal {self.corrects!r} to correct"
            raise InvalidInput(msg, field="corrects")
        return self.proposed(facts, BookingKind.MANUAL, postings=tuple(self.postings), corrects=self.corrects)


@dataclass(frozen=True, kw_only=True)
class ProposeWriteOff(ProposeBooking):
    """Give up what a payee or a seller owes: Dr platform:loss, Cr the account that holds the debt."""

    account: str
    amount: Money

    def decide(self, facts: Facts) -> Decision:
        off = WriteOff(account=self.account, amount=self.amount.amount, currency=self.amount.currency)
        return self.proposed(facts, BookingKind.WRITE_OFF, write_off=off)


@dataclass(frozen=True, kw_only=True)
class ProposeConversion(ProposeBooking):
    """Convert a payee's available money into another currency, at a rate recorded with its source and time."""

    payee_id: str
    amount: Money
    into: str
    rate: str
    source: str
    rated_at: datetime

    def needs(self) -> Needs:
        needs = super().needs()
        return Needs(streams=needs.streams, documents=(*needs.documents, *payee_documents([self.payee_id])))

    def decide(self, facts: Facts) -> Decision:
        check_payee_is_known(facts, self.payee_id, field="payee_id")
        if self.rated_at > facts.now:
            msg = "a rate of a time to come is none"
            raise InvalidInput(msg, field="rated_at")
        amount, currency = self.amount.amount, self.amount.currency
        conversion = Conversion(
            payee_id=self.payee_id,
            amount=amount,
            currency=currency,
            converted=converted_amount(amount, currency, self.into, self.rate),
            into=self.into,
            rate=self.rate,
            source=check_text(self.source, field="source"),
            rated_at=self.rated_at,
        )
        return self.proposed(facts, BookingKind.FX, conversion=conversion)


@dataclass(frozen=True, kw_only=True)
class ProposeReversal(ProposeBooking):
    """Take a conversion back, at the rate it was made at: the same amounts, the other way."""

    reverses: str

    def needs(self) -> Needs:
        needs = super().needs()
        return Needs(
            streams=needs.streams,
            documents=(*needs.documents, (BookingDetails, self.reverses)),
            reads=(reversal_journal_id(self.reverses),),
        )

    def decide(self, facts: Facts) -> Decision:
        made = facts.document(BookingDetails, self.reverses)
        if made is None or made.conversion is None or made.conversion.reverses is not None:
            msg = "there is no such conversion"
            raise NotFound(msg)
        if made.status is not BookingStatus.POSTED:
            msg = f"{self.reverses} is {made.status}: only a conversion that was posted is taken back"
            raise InvalidInput(msg, field="id")
        if facts.aggregate(Journal, reversal_journal_id(self.reverses)) is not None:
            msg = f"{self.reverses} was taken back before"
            raise AlreadyReversed(msg)
        conversion = Conversion(**{**vars(made.conversion), "reverses": self.reverses})
        return self.proposed(facts, BookingKind.FX, conversion=conversion, corrects=booking_journal_id(made))


@dataclass(frozen=True, kw_only=True)
class ProposeRemittance(ProposeBooking):
    """Pay withheld tax to its authority, from a provider's or bank's account."""

    authority: str
    processor: str
    amount: Money

    def decide(self, facts: Facts) -> Decision:
        remittance = Remittance(
            authority=self.authority,
            processor=self.processor,
            amount=self.amount.amount,
            currency=self.amount.currency,
        )
        return self.proposed(facts, BookingKind.TAX_REMITTED, remittance=remittance)


@dataclass(frozen=True, kw_only=True)
class DecideBooking(Request):
    """A step of a booking that was proposed. `known`: its details as they were read, which name what is looked at;
    they never change but for the decision."""

    known: BookingDetails

    def needs(self) -> Needs:
        needs = Needs(streams=(self.known.id,), balances_of=_accounts_checked(self.known))
        return needs.joined(needs_of_accounts(beside_orders(booked_postings(self.known))))

    def booking(self, facts: Facts) -> Booking:
        booking = facts.aggregate(Booking, self.known.id)
        if booking is None:
            msg = "there is no such journal"
            raise NotFound(msg)
        return booking


@dataclass(frozen=True, kw_only=True)
class ApproveBooking(DecideBooking):
    """Post it. Raises OwnBooking for who proposed it, BookingDecided, AlreadyReversed, ClosedPeriod,
    InsufficientFunds."""

    def needs(self) -> Needs:
        return super().needs().joined(Needs(reads=(booking_journal_id(self.known),)))

    def decide(self, facts: Facts) -> Decision:
        booking = self.booking(facts)
        booking.approve(by=self.caller.actor, at=facts.now)
        if facts.aggregate(Journal, booking_journal_id(booking.details)) is not None:
            msg = f"the conversion that {booking.id} would take back was taken back before"
            raise AlreadyReversed(msg)
        guards = _checked(booking.details, facts)
        accounts = SellerAccounts(facts)
        events: list[Event] = []
        for event in booking.new_events():
            events.append(event)
            if isinstance(event, BookingApproved):
                journals = [posted for journal in booking_journals(event) for posted in journal.new_events()]
                events += journals
                accounts.book(journals)
        return Decision(
            answer=shown(booking.details),
            events=[*events, *accounts.new_events()],
            organization_id=booking.details.organization_id,
            guards=guards,
        )


@dataclass(frozen=True, kw_only=True)
class RejectBooking(DecideBooking):
    """Refuse it, or take one's own back; nothing is posted. Raises BookingDecided."""

    note: str = ""

    def decide(self, facts: Facts) -> Decision:
        booking = self.booking(facts)
        booking.reject(by=self.caller.actor, note=self.note, at=facts.now)
        return Decision(
            answer=shown(booking.details),
            events=booking.new_events(),
            organization_id=booking.details.organization_id,
        )


def payee_documents(payee_ids: Sequence[str]) -> tuple[tuple[type, str], ...]:
    return tuple((type_, payee_id) for payee_id in payee_ids for type_ in (CreatorDetails, OrganizationDetails))


def check_payee_is_known(facts: Facts, payee_id: str, *, field: str) -> None:
    """Raises InvalidInput: nobody could ever be paid what is posted to a name nobody has."""
    if not any(facts.document(type_, id_) for type_, id_ in payee_documents([payee_id])):
        msg = f"{payee_id!r} is neither a creator nor an organization"
        raise InvalidInput(msg, field=field)
