"""Passes over the ledger: each journal sums to zero, entries are exactly the postings, balances exactly their fold.

Journals and entries are compared window by window; what the journals of a part of the log add to balances is carried
out of it, added up, and compared with the rows in the end. Memory grows with the number of accounts alone.

`credited_after` of an entry depends on all journals before it. A part that does not begin the log takes the length of
each payee's line from its first entry, compares the others with that, and says what it assumed: the parts before must
say the same, else it is verified again with what they say (`verify.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import LiteralString, NamedTuple

from colink.domain.audit.balances import Balance, BalanceBook, BalanceKey, sums
from colink.domain.audit.periods import PeriodBook
from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.booking_funds import accounts_asked
from colink.domain.booking_journals import BOOKED_AS
from colink.domain.ledger import JournalKind, payee_of
from colink.domain.sealing.encoding import epoch_microseconds
from colink.projections.audit.journals import JournalRead
from colink.projections.audit.part import Drawn, Part
from colink.projections.audit.reading import Window
from colink.projections.audit.rows import each_row
from colink.projections.engine import Connection


class Entry(NamedTuple):
    """A row of colink.entries, its columns in this order; times in microseconds since 1970."""

    position: int
    ordinal: int
    journal_id: str
    kind: str
    account: str
    payee_id: str | None
    purpose: str
    amount: int
    currency: str
    organization_id: str | None
    order_id: str | None
    line_id: str | None
    payout_id: str | None
    effective_at: int
    recorded_at: int
    credited_after: int | None
    occurred_at: int | None


_MICROSECONDS: LiteralString = "(extract(epoch from {}) * 1000000)::bigint"
_ENTRY = ", ".join(_MICROSECONDS.format(name) if name.endswith("_at") else name for name in Entry._fields)
_DRAWING = (BOOKED_AS.keys() - {JournalKind.MANUAL}) | {JournalKind.PAYOUT_RESERVED}
"""Beside journals by hand: what decides about those is looked at after every journal."""
_LENGTH = Entry._fields.index("credited_after")


class JournalCheck:
    """The pass `journals`: each sums to zero, and none took effect in a period that was closed. And what balances are
    made of, and what bookings and payouts drew of them."""

    def __init__(self, part: Part, periods: PeriodBook) -> None:
        self._part = part
        self._periods = periods
        self._result = part.results.get(Pass.JOURNALS)

    def check(self, window: Window) -> None:
        for position, journal_id, _, journal in window.journals:
            if self._result is not None:
                _check_zero_sum(self._result, position, journal_id, journal)
                _check_period(self._result, position, journal_id, journal, self._periods.open_at(position))
            self._part.balances.add(position, journal.postings, of_payout=journal.payout_id is not None)
            if journal.kind in _DRAWING:
                self._note_drawn(position, journal_id, journal)
        if self._result is not None:
            for row in window.unreadable_journals:
                window.event(row, self._result)

    def _note_drawn(self, position: int, journal_id: str, journal: JournalRead) -> None:
        balances, name = self._part.balances.balances, journal.payout_id or journal_id
        keys: Iterable[BalanceKey]
        if journal.kind is JournalKind.PAYOUT_RESERVED:
            taken = dict.fromkeys((each.account, each.currency) for each in journal.postings if each.amount < 0)
            keys = [key for key in taken if balances[key].has_line]
        else:
            keys = accounts_asked(BOOKED_AS[journal.kind], journal.postings)
        for account, currency in keys:
            after = balances[account, currency].amount
            self._part.drawn.append(Drawn(position, journal.kind, name, account, currency, after))


def _check_zero_sum(result: PassResult, position: int, journal_id: str, journal: JournalRead) -> None:
    result.checked += 1
    for currency, total in sums(journal.postings).items():
        if total:
            result.find(
                Kind.UNBALANCED,
                position,
                journal_id,
                f"the {currency} postings of {journal_id} sum to {total}, not to zero",
                recorded=total,
                derived=0,
            )
    if len(journal.postings) < 2:
        result.find(Kind.UNBALANCED, position, journal_id, f"{journal_id} has no two postings")


def _check_period(
    result: PassResult, position: int, journal_id: str, journal: JournalRead, open_from: datetime | None
) -> None:
    effective_at, occurred_at = journal.effective_at, journal.occurred_at
    if open_from is not None and effective_at < open_from:
        message = f"{journal_id} takes effect in a period that was closed before it"
    elif occurred_at is not None and (effective_at != open_from or occurred_at >= effective_at):
        message = f"{journal_id} has a time of its own and was not moved by a closed period"
    else:
        return
    result.find(Kind.CLOSED_PERIOD, position, journal_id, message, recorded=effective_at, derived=open_from)


async def check_open_from(conn: Connection, result: PassResult, periods: PeriodBook) -> None:
    """What the append refuses by is what the closings say."""
    cursor = await conn.execute("SELECT open_from, position FROM colink.log_head")
    for open_from, position in await cursor.fetchall():
        if open_from != periods.open_from:
            result.find(
                Kind.CHANGED,
                position,
                "log_head",
                "the ledger is not open from when its closings say",
                recorded=open_from,
                derived=periods.open_from,
            )


class EntryCheck:
    """The pass `entries`. `lines`: how long the payees' lines are before the part; None where nobody knows yet."""

    def __init__(self, part: Part, *, lines: Mapping[BalanceKey, int] | None) -> None:
        self._part = part
        self._result = part.results[Pass.ENTRIES]
        self._before = dict(lines) if lines is not None else None
        self._book = BalanceBook()

    def check(self, window: Window) -> None:
        recorded = window.reader.rows(
            f"SELECT {_ENTRY} FROM colink.entries WHERE position BETWEEN %s AND %s ORDER BY position, ordinal",
            window.first,
            window.last,
        )
        derived = self._derived(window, {(row[0], row[1]): row[_LENGTH] for row in recorded})
        self._result.checked += len(derived)
        if derived != recorded:
            _find_differences(self._result, recorded, derived)

    def _derived(self, window: Window, lengths: Mapping[tuple[int, int], int | None]) -> list[Entry]:
        entries = []
        times = {row.position: row.recorded_at for row in window.rows}
        for position, journal_id, _, journal in window.journals:
            grown = self._book.add(position, journal.postings, of_payout=journal.payout_id is not None)
            kind, effective_at = journal.kind.value, epoch_microseconds(journal.effective_at)
            occurred_at = None if journal.occurred_at is None else epoch_microseconds(journal.occurred_at)
            for ordinal, (posting, length) in enumerate(zip(journal.postings, grown, strict=True)):
                account, currency = posting.account, posting.currency
                credited_after = None
                if length is not None:
                    recorded = lengths.get((position, ordinal))
                    credited_after = length + self._length_before((account, currency), length, recorded)
                entries.append(
                    Entry(
                        position,
                        ordinal,
                        journal_id,
                        kind,
                        account,
                        payee_of(account),
                        posting.purpose.value,
                        posting.amount,
                        currency,
                        journal.organization_id,
                        journal.order_id,
                        posting.line_id,
                        journal.payout_id,
                        effective_at,
                        times[position],
                        credited_after,
                        occurred_at,
                    )
                )
        return entries

    def _length_before(self, key: BalanceKey, grown: int, recorded: int | None) -> int:
        if self._before is not None:
            return self._before.get(key, 0)
        assumed = self._part.assumed_lines
        if key not in assumed and recorded is not None:
            assumed[key] = recorded - grown
        return assumed.get(key, 0)


def _find_differences(result: PassResult, recorded: Sequence[tuple[object, ...]], derived: Sequence[Entry]) -> None:
    """By merging the two, which are ordered by position and ordinal."""
    rows = iter(map(Entry._make, recorded))
    row = next(rows, None)
    for posting in derived:
        while row is not None and row[:2] < posting[:2]:
            find_extra(result, row)
            row = next(rows, None)
        if row is None or row[:2] != posting[:2]:
            result.find(
                Kind.MISSING,
                posting.position,
                f"{posting.journal_id} {posting.ordinal}",
                f"entry {posting.ordinal} of {posting.journal_id} is missing",
                derived=f"{posting.account} {posting.amount} {posting.currency}",
            )
            continue
        for name, was, should in zip(Entry._fields, row, posting, strict=True):
            if was != should:
                result.find(
                    Kind.CHANGED,
                    row.position,
                    f"{posting.journal_id} {posting.ordinal}",
                    f"{name} of entry {posting.ordinal} of {posting.journal_id} is not what was posted",
                    recorded=was,
                    derived=should,
                )
        row = next(rows, None)
    while row is not None:
        find_extra(result, row)
        row = next(rows, None)


def find_extra(result: PassResult, row: Entry) -> None:
    result.find(
        Kind.EXTRA,
        row.position,
        f"{row.journal_id} {row.ordinal}",
        f"entry {row.ordinal} of {row.journal_id} belongs to no posting",
        recorded=f"{row.account} {row.amount} {row.currency}",
    )


async def check_entries_outside(conn: Connection, result: PassResult, *, head: int, whole_log: bool) -> None:
    """Entries that name positions the log does not have: no window holds them."""
    rows = each_row(
        conn,
        f"SELECT {_ENTRY} FROM colink.entries WHERE position > %s OR (%s AND position < 1)"
        " ORDER BY position, ordinal",
        (head, whole_log),
    )
    async for row in rows:
        find_extra(result, Entry._make(row))


async def check_balances(conn: Connection, result: PassResult, book: BalanceBook) -> None:
    """The rows of balances are the fold of all journals, both ways."""
    unseen = dict(book.balances)
    result.checked = len(unseen)
    rows = each_row(
        conn,
        "SELECT account, currency, amount, debits, credits, credited, version, position FROM colink.balances"
        " ORDER BY position, account, currency",
    )
    async for account, currency, amount, debits, credits_, credited, version, position in rows:
        subject = f"{account} {currency}"
        derived = unseen.pop((account, currency), None)
        recorded = Balance(
            amount=amount, debits=debits, credits=credits_, credited=credited, entries=version, position=position
        )
        if derived is None:
            result.find(Kind.EXTRA, position, subject, f"nothing was posted to {subject}", recorded=recorded)
        elif derived != recorded:
            result.find(
                Kind.CHANGED,
                derived.position,
                subject,
                f"the balance of {subject} is not the fold of its postings",
                recorded=recorded,
                derived=derived,
            )
    for (account, currency), derived in unseen.items():
        subject = f"{account} {currency}"
        result.find(Kind.MISSING, derived.position, subject, f"{subject} has no balance row", derived=derived)
