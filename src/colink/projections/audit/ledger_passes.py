"""Passes over the ledger: each journal sums to zero, entries are exactly the postings, balances exactly their fold.

One reading of the journals serves all three. Entries are compared by merging two streams ordered by (position,
ordinal), so memory does not grow with the log; it grows with the number of accounts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import NamedTuple

from colink.domain.audit.balances import Balance, BalanceBook, sums
from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.ledger import JournalPosted, payee_of
from colink.projections.audit.context import Verification


class _Entry(NamedTuple):
    """A row of colink.entries, its columns in this order."""

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
    effective_at: datetime
    credited_after: int | None


async def check_ledger(v: Verification) -> None:
    """The passes `journals`, `entries` and `balances`."""
    journals, entries = v.results[Pass.JOURNALS], v.results[Pass.ENTRIES]
    book = BalanceBook()
    recorded = _entry_rows(v)
    row = await anext(recorded, None)
    async for seen in v.events(Pass.JOURNALS, (JournalPosted.TOPIC,), from_start=True):
        journal = seen.event
        if not isinstance(journal, JournalPosted):
            continue
        lengths = book.add(seen.position, journal)
        if not v.in_range(seen.position):
            continue
        if journal.order_id is not None or journal.payout_id is not None:
            v.unexplained_journals[hash(journal.originator_id)] = seen.position
        _check_zero_sum(journals, seen.position, journal)
        for posting in _postings(seen.position, journal, lengths):
            entries.checked += 1
            while row is not None and row[:2] < posting[:2]:
                _extra(entries, row)
                row = await anext(recorded, None)
            if row is None or row[:2] != posting[:2]:
                entries.find(
                    Kind.MISSING,
                    posting.position,
                    f"{posting.journal_id} {posting.ordinal}",
                    f"entry {posting.ordinal} of {posting.journal_id} is missing",
                    derived=f"{posting.account} {posting.amount} {posting.currency}",
                )
                continue
            _compare(entries, row, posting)
            row = await anext(recorded, None)
    while row is not None:
        _extra(entries, row)
        row = await anext(recorded, None)
    if v.whole_log:
        await _check_balances(v, book)
    else:
        v.results[Pass.BALANCES].needs_whole_log()


def _check_zero_sum(result: PassResult, position: int, journal: JournalPosted) -> None:
    result.checked += 1
    for currency, total in sums(journal).items():
        if total:
            result.find(
                Kind.UNBALANCED,
                position,
                journal.originator_id,
                f"the {currency} postings of {journal.originator_id} sum to {total}, not to zero",
                recorded=total,
                derived=0,
            )
    if len(journal.postings) < 2:
        result.find(Kind.UNBALANCED, position, journal.originator_id, f"{journal.originator_id} has no two postings")


def _postings(position: int, journal: JournalPosted, lengths: list[int | None]) -> Iterator[_Entry]:
    for ordinal, (posting, length) in enumerate(zip(journal.postings, lengths, strict=True)):
        yield _Entry(
            position=position,
            ordinal=ordinal,
            journal_id=journal.originator_id,
            kind=journal.kind.value,
            account=posting.account,
            payee_id=payee_of(posting.account),
            purpose=posting.purpose.value,
            amount=posting.amount,
            currency=posting.currency,
            organization_id=journal.organization_id,
            order_id=journal.order_id,
            line_id=posting.line_id,
            payout_id=journal.payout_id,
            effective_at=journal.effective_at,
            credited_after=length,
        )


async def _entry_rows(v: Verification) -> AsyncIterator[_Entry]:
    async with v.conn.cursor(name="audit_entries") as cursor:
        cursor.itersize = 2_000
        await cursor.execute(
            f"SELECT {', '.join(_Entry._fields)} FROM colink.entries WHERE position >= %s"
            " AND (position <= %s OR position > %s) ORDER BY position, ordinal",
            (v.first if v.first > 1 else -1, v.last, v.head),
        )
        async for row in cursor:
            yield _Entry._make(row)


def _extra(result: PassResult, row: _Entry) -> None:
    result.find(
        Kind.EXTRA,
        row.position,
        f"{row.journal_id} {row.ordinal}",
        f"entry {row.ordinal} of {row.journal_id} belongs to no posting",
        recorded=f"{row.account} {row.amount} {row.currency}",
    )


def _compare(result: PassResult, row: _Entry, posting: _Entry) -> None:
    for name, recorded, derived in zip(_Entry._fields, row, posting, strict=True):
        if recorded != derived:
            result.find(
                Kind.CHANGED,
                row.position,
                f"{posting.journal_id} {posting.ordinal}",
                f"{name} of entry {posting.ordinal} of {posting.journal_id} is not what was posted",
                recorded=recorded,
                derived=derived,
            )


async def _check_balances(v: Verification, book: BalanceBook) -> None:
    result = v.results[Pass.BALANCES]
    unseen = dict(book.balances)
    result.checked = len(unseen)
    async with v.conn.cursor(name="audit_balances") as cursor:
        await cursor.execute(
            "SELECT account, currency, amount, debits, credits, credited, version, position FROM colink.balances"
            " ORDER BY position, account, currency"
        )
        async for account, currency, amount, debits, credits_, credited, version, position in cursor:
            subject = f"{account} {currency}"
            derived = unseen.pop((account, currency), None)
            recorded = Balance(
                amount=amount,
                debits=debits,
                credits=credits_,
                credited=credited,
                entries=version,
                position=position,
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
