"""The pass `accounts`: every posting goes to an account of the chart (`domain/accounts.py`), in a currency it may
have, no account is ever on the side where it may not be, after any journal of the log, and no booking took more than
there was to take (`domain/booking_funds.py`).

What a part of the log adds to guarded accounts, and how low they came in it, is carried out and joined in order; so
the parts need not wait for each other. Where one went too low, the journals of that account alone are read again to
say where it began.
"""

from __future__ import annotations

from colink.domain.accounts import AccountKind, account_kind
from colink.domain.audit.balances import BalanceKey, Course
from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.booking_funds import takes_too_much
from colink.domain.booking_journals import BOOKED_AS
from colink.domain.bookings import BookingKind
from colink.domain.errors import ColinkError
from colink.domain.ledger import JournalPosted
from colink.projections.audit.journals import JournalRead, read_journal
from colink.projections.audit.part import Part
from colink.projections.audit.reading import Window
from colink.projections.audit.rows import each_row
from colink.projections.engine import Connection


class AccountCheck:
    """The account of each posting. `checked` counts postings."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._result = part.results.get(Pass.ACCOUNTS) or PassResult(audit_pass=Pass.ACCOUNTS)

    def check(self, window: Window) -> None:
        courses = self._part.courses
        for position, journal_id, _, journal in window.journals:
            self._result.checked += len(journal.postings)
            for key, added in self._guarded(position, journal_id, journal).items():
                before = courses.get(key, Course())
                courses[key] = before.then(Course(added, added))

    def _guarded(self, position: int, journal_id: str, journal: JournalRead) -> dict[BalanceKey, int]:
        """What a journal adds to each account that may not be below zero."""
        added: dict[BalanceKey, int] = {}
        for posting in journal.postings:
            account, currency = posting.account, posting.currency
            try:
                kind = account_kind(account)
            except ColinkError as error:
                self._result.find(Kind.UNKNOWN_ACCOUNT, position, journal_id, str(error), recorded=account)
                continue
            if account.startswith("fx:") and account.split(":")[1] != currency:
                self._result.find(
                    Kind.UNKNOWN_ACCOUNT, position, journal_id, f"{account} holds no {currency}", recorded=currency
                )
            if not kind.may_go_negative:
                key = (account, currency)
                added[key] = added.get(key, 0) + kind.shown(posting.amount)
        return added


async def find_overdrawn(conn: Connection, part: Part, *, last: int) -> None:
    """Where guarded accounts were first below zero."""
    result = part.results[Pass.ACCOUNTS]
    for (account, currency), course in part.courses.items():
        if course.lowest >= 0:
            continue
        position, amount = await _first_below(conn, account, currency, account_kind(account), last=last)
        result.find(
            Kind.OVERDRAWN,
            position,
            f"{account} {currency}",
            f"{account} was below zero in {currency}, which it may not be",
            recorded=amount,
            derived="not below 0",
        )


def find_drawn_too_much(part: Part, *, first: int) -> None:
    """Bookings from position `first` on that took more than there was. The command that posts one is guarded and is
    the first of its batch to touch the account, so it saw the balance that stood right before its journal. (What
    journals by hand leave behind is looked at by `find_overdrawn`.)"""
    result = part.results[Pass.ACCOUNTS]
    for each in part.drawn:
        booking = BOOKED_AS.get(each.kind)
        if booking and each.position >= first and takes_too_much(booking, each.account, each.after):
            result.find(
                Kind.OVERDRAWN,
                each.position,
                f"{each.account} {each.currency}",
                f"the {booking} at {each.position} takes more {each.currency} of {each.account} than there was",
                recorded=each.after,
                derived="not above 0" if booking is BookingKind.WRITE_OFF else "not below 0",
            )


async def _first_below(
    conn: Connection, account: str, currency: str, kind: AccountKind, *, last: int
) -> tuple[int, int]:
    amount = 0
    rows = each_row(
        conn,
        "SELECT position, schema_version, payload FROM colink.events WHERE topic = %s AND position <= %s"
        " AND strpos(payload, %s) > 0 ORDER BY position",
        (JournalPosted.TOPIC, last, account),
    )
    async for position, schema_version, payload in rows:
        journal = read_journal(schema_version, payload)
        postings = journal.postings if journal is not None else ()
        amount += sum(each.amount for each in postings if (each.account, each.currency) == (account, currency))
        if kind.refuses(amount):
            return position, amount
    return last, amount
