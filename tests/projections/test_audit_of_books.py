"""Verification decides bookings, closings and withheld tax again, and finds where they were changed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.projections.test_audit import found, position_of, verified
from tests.projections.test_audit_of_facts import change
from tests.projections.world import AINA, CALLER, MONDAY, ORGANIZATION, STORE, World

from colink.application import book as application_book
from colink.application.book import (
    ApproveBooking,
    ProposeBooking,
    ProposeConversion,
    ProposeJournal,
    ProposeRemittance,
    ProposeReversal,
    ProposeWriteOff,
    RejectBooking,
)
from colink.application.clear_order import ClearOrder
from colink.application.close_period import ClosePeriod
from colink.application.payout_attempts import SubmitPayout
from colink.application.payouts import ApprovePayout, RegisterPayoutAccount, RequestPayout
from colink.application.ports import Caller, Decision, Facts, Recorded
from colink.application.withholding import SetWithholding
from colink.domain.audit.report import Kind, Pass
from colink.domain.bookings import BookedPosting, BookingKind
from colink.domain.errors import InsufficientFunds
from colink.domain.ledger import Journal, JournalKind, Posting, Purpose
from colink.domain.money import Money
from colink.domain.payout_accounts import Rail
from colink.projections.bookings import booking_by_id

pytestmark = pytest.mark.anyio

CHECKER = Caller(actor="checker", correlation_id="cor_2")
APRIL = datetime(2026, 4, 20, tzinfo=UTC)
DERIVED = (Pass.DERIVATION, Kind.DERIVED_DIFFERENTLY)
TAXED = (Pass.PAYOUTS, Kind.DERIVED_DIFFERENTLY)


async def cleared(world: World, number: int) -> None:
    await world.commerce.submit(ClearOrder(caller=CALLER, order_id=f"ord_{STORE}.{number}"))


# Bookings


async def decide(world: World, booking_id: str, command: type[ApproveBooking | RejectBooking]) -> None:
    async with world.pool.connection() as connection:
        known = await booking_by_id(connection, booking_id)
    assert known is not None
    await world.commerce.submit(command(caller=CHECKER, known=known))


async def book(world: World, proposed: ProposeBooking) -> None:
    await world.commerce.submit(proposed)
    await decide(world, proposed.booking_id, ApproveBooking)


def goodwill(booking_id: str = "bkg_1") -> ProposeJournal:
    return ProposeJournal(
        caller=CALLER,
        booking_id=booking_id,
        reason="goodwill",
        postings=(
            BookedPosting(account="platform:expense", amount=-1_250, currency="MYR"),
            BookedPosting(account=f"payee:{AINA}:available", amount=1_250, currency="MYR"),
        ),
    )


@pytest.mark.parametrize(
    ("topic", "old", "new"),
    [
        ("booking.proposed", '"reason":"goodwill"', '"reason":"a gift"'),
        ("booking.proposed", '"amount":1250', '"amount":1251'),
        ("booking.proposed", '"proposed_by":"test"', '"proposed_by":"checker"'),
        ("booking.approved", '"decided_by":"checker"', '"decided_by":"test"'),
        ("booking.approved", '"decided_by":"checker"', '"decided_by":null'),
        ("booking.approved", '"status":"posted"', '"status":"rejected"'),
        ("booking.approved", '"amount":1250', '"amount":1251'),
    ],
    ids=["reason", "amount", "by its checker", "by its maker", "by nobody", "rejected", "another amount"],
)
async def test_a_journal_that_was_not_approved_as_proposed_by_another(
    world: World, topic: str, old: str, new: str
) -> None:
    await book(world, goodwill())
    assert (await verified(world)).findings == []
    await change(world, await position_of(world, topic), old, new)
    findings = found(await verified(world))
    assert (*DERIVED, await position_of(world, "booking.approved")) in findings
    assert (Pass.DOCUMENTS, Kind.CHANGED, await position_of(world, topic)) in findings


async def test_a_rejection_that_became_another_and_a_second_decision(world: World) -> None:
    await world.commerce.submit(goodwill())
    await decide(world, "bkg_1", RejectBooking)
    rejected = await position_of(world, "booking.rejected")
    assert (await verified(world)).findings == []
    await change(world, rejected, '"status":"rejected"', '"status":"posted"')
    assert (*DERIVED, rejected) in found(await verified(world))


async def test_a_posted_journal_that_says_something_else_than_its_approval(world: World) -> None:
    await book(world, goodwill())
    journal = await position_of(world, "booking.approved") + 1
    await change(world, journal, '"reason":"goodwill"', '"reason":"a gift"')
    assert found(await verified(world)) == {(*DERIVED, journal)}


async def test_a_range_may_begin_between_an_approval_and_its_journal(world: World) -> None:
    """Of the reversal too, whose journal is named after the conversion that it takes back."""
    await book(world, goodwill())
    rate = {"rate": "0.3", "source": "BNM", "rated_at": MONDAY}
    converted = ProposeConversion(
        caller=CALLER, booking_id="bkg_2", reason="r", payee_id=AINA, amount=Money(1_000, "MYR"), into="SGD", **rate
    )
    await book(world, converted)
    await world.order(1, 10_000)
    await world.commerce.submit(
        ProposeReversal(caller=CALLER, booking_id="bkg_3", reason="by mistake", reverses="bkg_2")
    )
    await decide(world, "bkg_3", ApproveBooking)
    for number in (1, 2, 3):
        journal = await position_of(world, "booking.approved", nth=number) + 1
        assert found(await verified(world, from_position=journal, only=[Pass.DERIVATION])) == set()
    approved = journal - 1
    world.tamper_with_log(
        f"UPDATE colink.events SET stream_id = 'jrn_bkg_9.reversed' WHERE position = {journal}",
    )
    assert found(await verified(world, from_position=journal, only=[Pass.DERIVATION])) == {
        (Pass.DERIVATION, Kind.EXTRA, journal)
    }
    assert (Pass.DERIVATION, Kind.MISSING, approved) in found(await verified(world))


@dataclass(frozen=True, kw_only=True)
class Paid(ProposeBooking):
    """A journal by hand that brings an account to a balance."""

    account: str
    amount: int

    def decide(self, facts: Facts) -> Decision:
        legs = ((self.account, self.amount), ("processor:bank:cash", -self.amount))
        postings = tuple(BookedPosting(account=account, amount=each, currency="MYR") for account, each in legs)
        return self.proposed(facts, BookingKind.MANUAL, postings=postings)


AVAILABLE, WITHHELD = f"payee:{AINA}:available", "tax:lhdn:withheld"
RATE = {"rate": "0.3", "source": "BNM", "rated_at": MONDAY}


def drawing(kind: BookingKind, amount: int) -> ProposeBooking:
    booked: dict[str, Any] = {"caller": CALLER, "booking_id": "bkg_drawn", "reason": "r"}
    money = Money(amount, "MYR")
    match kind:
        case BookingKind.FX:
            return ProposeConversion(**booked, payee_id=AINA, amount=money, into="SGD", **RATE)
        case BookingKind.WRITE_OFF:
            return ProposeWriteOff(**booked, account=AVAILABLE, amount=money)
        case _:
            return ProposeRemittance(**booked, authority="lhdn", processor="bank", amount=money)


@pytest.mark.parametrize(
    ("kind", "account", "there_is"),
    [
        (BookingKind.FX, AVAILABLE, 1_423),
        (BookingKind.WRITE_OFF, AVAILABLE, -1_423),
        (BookingKind.TAX_REMITTED, WITHHELD, 1_423),
    ],
)
@pytest.mark.parametrize("more", [0, 1, 500_000])
async def test_a_booking_of_more_than_there_is(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: BookingKind, account: str, there_is: int, more: int
) -> None:
    """By a program that forgot to ask. What comes to the account later is of no use."""
    monkeypatch.setattr(application_book, "takes_too_much", lambda *_: False)
    before = Paid(caller=CALLER, booking_id="bkg_before", reason="r", account=account, amount=there_is)
    await book(world, before)
    await book(world, drawing(kind, abs(there_is) + more))
    position = await position_of(world, "booking.approved", nth=2) + 1
    await book(world, replace(before, booking_id="bkg_after", amount=there_is * 1_000))
    expected = {(Pass.ACCOUNTS, Kind.OVERDRAWN, position)} if more else set()
    assert found(await verified(world)) == expected
    assert found(await verified(world, only=[Pass.ACCOUNTS])) == expected
    assert found(await verified(world, from_position=position)) == expected
    assert found(await verified(world, from_position=position + 1)) == set()


async def test_a_conversion_taken_back_beyond_what_is_left_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await book(world, goodwill())
    await book(world, drawing(BookingKind.FX, 1_000))
    spent = ProposeConversion(
        caller=CALLER,
        booking_id="bkg_spent",
        reason="r",
        payee_id=AINA,
        amount=Money(1, "SGD"),
        into="MYR",
        rate="3.3",
        source="BNM",
        rated_at=MONDAY,
    )
    await book(world, spent)
    assert (await verified(world)).findings == []
    monkeypatch.setattr(application_book, "takes_too_much", lambda *_: False)
    await book(world, ProposeReversal(caller=CALLER, booking_id="bkg_back", reason="r", reverses="bkg_drawn"))
    position = await position_of(world, "booking.approved", nth=4) + 1
    assert found(await verified(world)) == {(Pass.ACCOUNTS, Kind.OVERDRAWN, position)}


async def test_bookings_at_once_are_each_held_against_what_the_others_left(world: World) -> None:
    """In one batch or in several, in whatever order: what is guarded stands where what it saw still stood."""
    await book(world, Paid(caller=CALLER, booking_id="bkg_1", reason="r", account=AVAILABLE, amount=1_000))
    known = []
    for number in range(6):
        one = replace(drawing(BookingKind.FX, 300), booking_id=f"bkg_fx_{number}")
        more = Paid(caller=CALLER, booking_id=f"bkg_paid_{number}", reason="r", account=AVAILABLE, amount=-50)
        for proposed in (one, more):
            await world.commerce.submit(proposed)
            async with world.pool.connection() as connection:
                known.append(await booking_by_id(connection, proposed.booking_id))
    approvals = [ApproveBooking(caller=CHECKER, known=each) for each in known if each is not None]
    answers = await asyncio.gather(*map(world.commerce.submit, approvals), return_exceptions=True)
    assert any(isinstance(each, InsufficientFunds) for each in answers)
    assert sum(isinstance(each, Recorded) for each in answers) >= 8
    assert (await verified(world)).findings == []


@pytest.mark.parametrize("kind", [JournalKind.MANUAL, JournalKind.SALE])
@pytest.mark.parametrize("cause_id", [None, "zzz_1", "bkg_1"])
async def test_a_journal_that_nothing_led_to(world: World, kind: JournalKind, cause_id: str | None) -> None:
    """Whatever it says of itself. It is sealed, balanced and in every table as it should be."""
    await book(world, goodwill())
    forged = Journal.post(
        journal_id="jrn_forged.1",
        kind=kind,
        effective_at=MONDAY,
        postings=(
            Posting(account="processor:bank:cash", amount=-100_000, currency="MYR", purpose=Purpose.MANUAL),
            Posting(account=f"payee:{AINA}:available", amount=100_000, currency="MYR", purpose=Purpose.MANUAL),
        ),
        at=MONDAY,
        cause_id=cause_id,
    )
    position = (await world.record(*forged.new_events())).position
    assert found(await verified(world)) == {(Pass.DERIVATION, Kind.EXTRA, position)}
    assert found(await verified(world, from_position=position)) == {(Pass.DERIVATION, Kind.EXTRA, position)}


# Closed periods


async def a_late_clearing(world: World) -> int:
    """Orders of March; March is closed, then the second is cleared. Where that journal is."""
    for number in (1, 2):
        await world.order(number, 10_000)
    world.clock.time = APRIL
    await cleared(world, 1)
    await world.commerce.submit(ClosePeriod(caller=CALLER, month="2026-03", reason="signed"))
    await cleared(world, 2)
    assert (await verified(world)).findings == []
    [(position,)] = await world.rows(
        "SELECT min(position) FROM colink.entries WHERE occurred_at IS NOT NULL AND kind = 'clearing'"
    )
    return int(position)


async def test_a_journal_moved_back_into_a_closed_month(world: World) -> None:
    late = await a_late_clearing(world)
    await change(world, late, '"effective_at":"2026-04-01T00:00:00Z"', '"effective_at":"2026-03-31T23:59:59Z"')
    findings = found(await verified(world))
    assert findings >= {(Pass.JOURNALS, Kind.CLOSED_PERIOD, late), (*DERIVED, late)}
    assert {position for _, _, position in findings} == {late}


async def test_a_late_journal_without_its_own_time_or_with_another(world: World) -> None:
    late = await a_late_clearing(world)
    [(payload,)] = await world.rows("SELECT payload FROM colink.events WHERE position = %s", late)
    _, _, rest = payload.partition('"occurred_at":')
    told = '"occurred_at":' + rest[: rest.index('"', 1) + 1]
    for other in ('"occurred_at":null', '"occurred_at":"2026-03-01T00:00:00Z"'):
        await change(world, late, told, other)
        findings = found(await verified(world))
        assert findings >= {(*DERIVED, late), (Pass.ENTRIES, Kind.CHANGED, late)}
        assert {position for _, _, position in findings} == {late}
        await change(world, late, other, told)
    assert (await verified(world)).findings == []


async def test_what_is_open_is_what_was_closed(world: World) -> None:
    late = await a_late_clearing(world)
    closed = await position_of(world, "ledger.period_closed")
    [(head,)] = await world.rows("SELECT position FROM colink.log_head")
    for other in ("'2026-03-01Z'", "'2026-05-01Z'", "null"):
        world.tamper(f"UPDATE colink.log_head SET open_from = {other}")
        assert found(await verified(world)) == {(Pass.JOURNALS, Kind.CHANGED, head)}
    world.tamper("UPDATE colink.log_head SET open_from = '2026-04-01Z'")
    await change(world, closed, '"open_from":"2026-04-01T00:00:00Z"', '"open_from":"2026-03-01T00:00:00Z"')
    findings = found(await verified(world))
    assert findings >= {
        (Pass.DOCUMENTS, Kind.CHANGED, closed),
        (Pass.JOURNALS, Kind.CHANGED, head),
        (*DERIVED, late),
    }


# Withheld tax


async def withhold(world: World, rate_bps: int) -> None:
    await world.commerce.submit(
        SetWithholding(
            caller=CALLER, organization_id=ORGANIZATION, currency="MYR", authority="lhdn", rate_bps=rate_bps
        )
    )


async def a_taxed_payout(world: World, *, automatic: bool = False) -> None:
    """1 % was withheld before it was requested, 10 % when it was approved, 20 % before it was handed in."""
    account = RegisterPayoutAccount(
        caller=CALLER, payee_id=ORGANIZATION, rail=Rail.SANDBOX, currency="MYR", details={}
    )
    await world.commerce.submit(account)
    await world.order(1, 10_005)
    world.clock.time = APRIL
    await cleared(world, 1)
    await withhold(world, 100)
    await withhold(world, 1_000)
    payout = {"payout_id": "pyt_1", "payee_id": ORGANIZATION, "currency": "MYR"}
    await world.commerce.submit(RequestPayout(caller=CALLER, automatic_approval=automatic, **payout))
    if not automatic:
        await world.commerce.submit(ApprovePayout(caller=CHECKER, **payout))
    await withhold(world, 2_000)
    await world.commerce.submit(SubmitPayout(caller=CHECKER, **payout))


async def tax_told(world: World, position: int) -> str:
    [(payload,)] = await world.rows("SELECT payload FROM colink.events WHERE position = %s", position)
    _, _, rest = str(payload).partition('"tax":')
    return '"tax":' + rest[: rest.index("}") + 1]


@pytest.mark.parametrize("automatic", [False, True])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"rate_bps":1000', '"rate_bps":1001'),
        ('"authority":"lhdn"', '"authority":"irs"'),
        ('"version":2', '"version":1'),
        ('"version":2', '"version":3'),
        ('"amount":', '"amount":1'),
    ],
    ids=["rate", "authority", "an older version", "a version to come", "amount"],
)
async def test_an_approval_that_withholds_something_else_than_its_setting_says(
    world: World, old: str, new: str, automatic: bool
) -> None:
    await a_taxed_payout(world, automatic=automatic)
    assert (await verified(world)).findings == []
    approved = await position_of(world, "payout.approved")
    told = await tax_told(world, approved)
    await change(world, approved, told, told.replace(old, new))
    submitted = await position_of(world, "payout.submitted")
    assert found(await verified(world)) == {(*TAXED, approved), (*TAXED, submitted)}


@pytest.mark.parametrize(
    ("topic", "old", "new"),
    [
        ("payout.requested", '"requested_by":"test"', '"requested_by":"checker"'),
        ("payout_account.registered", '"set_by":"test"', '"set_by":"checker"'),
        ("payout.approved", '"details":[]', '"details":[["account_number","2"]]'),
        ("payout.approved", '"version":1', '"version":2'),
    ],
    ids=["asked for it", "set the account", "another account", "a version never set"],
)
async def test_a_payout_that_one_approved_alone_or_to_another_account(
    world: World, topic: str, old: str, new: str
) -> None:
    await a_taxed_payout(world)
    await change(world, await position_of(world, topic), old, new)
    approved = await position_of(world, "payout.approved")
    assert (Pass.PAYOUTS, Kind.DERIVED_DIFFERENTLY, approved) in found(await verified(world))


async def test_an_approval_that_forgot_its_tax_though_the_setting_stood(world: World) -> None:
    await a_taxed_payout(world)
    approved, submitted = [await position_of(world, f"payout.{step}") for step in ("approved", "submitted")]
    for position in (approved, submitted):
        await change(world, position, await tax_told(world, position), '"tax":null')
    assert (*TAXED, approved) in found(await verified(world))


async def test_a_submission_that_withholds_nothing_or_something_else(world: World) -> None:
    await a_taxed_payout(world)
    submitted = await position_of(world, "payout.submitted")
    told = await tax_told(world, submitted)
    for other in (told.replace("true", "false"), told.replace('"version":2', '"version":3'), '"tax":null'):
        await change(world, submitted, told, other)
        assert (*TAXED, submitted) in found(await verified(world))
        await change(world, submitted, other, told)
    assert (await verified(world)).findings == []


async def test_a_setting_that_was_changed_after_a_payout_was_approved_by_it(world: World) -> None:
    await a_taxed_payout(world)
    setting = await position_of(world, "withholding.set", nth=2)
    await change(world, setting, '"rate_bps":1000', '"rate_bps":900')
    approved = await position_of(world, "payout.approved")
    assert found(await verified(world)) == {(Pass.DOCUMENTS, Kind.CHANGED, setting), (*TAXED, approved)}
