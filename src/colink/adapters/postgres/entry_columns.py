"""The ledger's two tables of an append: entries, and what a batch adds to each balance (format: columns.py).

Most columns of an entry are those of its journal, and a journal has all its postings. So entries are gathered column
by column, a journal at a time: this is the busiest part of an append.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from colink.adapters.postgres.columns import RowsByClass, Table, Value, delimited, text_of
from colink.domain.ledger import payee_available, payee_of
from colink.projections.inline import JournalRow

ENTRY_COLUMNS: Final = (
    "event",
    "ordinal",
    "journal_id",
    "kind",
    "account",
    "payee_id",
    "purpose",
    "amount",
    "currency",
    "organization_id",
    "order_id",
    "line_id",
    "payout_id",
    "effective_at",
    "credited",
    "occurred_at",
)


class _Change:
    """What a batch adds to one balance. `credited`: to its payee's line of cleared credits (domain.payout_funds),
    which only an available account has."""

    __slots__ = ("available", "credited", "credits", "debits", "entries", "last_event", "payee_id")

    def __init__(self, account: str) -> None:
        self.payee_id = payee_of(account)
        self.available = self.payee_id is not None and account == payee_available(self.payee_id)
        self.debits = self.credits = self.credited = self.entries = self.last_event = 0


class Entries:
    """The rows of colink.entries of a batch, column by column, and the changes of balances that follow from them."""

    def __init__(self, rows: RowsByClass) -> None:
        self.columns: dict[str, list[Value]] = {name: [] for name in ENTRY_COLUMNS}
        self.changes: dict[tuple[str, str], _Change] = {}
        self._moved = False
        journals: Sequence[tuple[int, JournalRow]] = rows.get(JournalRow, ())
        for event, journal in journals:
            self._add(event, journal)

    def __len__(self) -> int:
        return len(self.columns["event"])

    def delimited(self) -> list[str]:
        """One text a column (columns.Table)."""
        columns = dict(self.columns)
        if not self._moved:
            columns["occurred_at"] = []  # as nearly always: a column that says nothing is not sent
        return [delimited(name, column) if column else "" for name, column in columns.items()]

    def balances(self) -> Table:
        """One row an account and currency, sorted by them: the order in which they are locked."""
        table = Table(
            "balances", ("account", "currency", "amount", "debits", "credits", "credited", "version", "event")
        )
        for (account, currency), change in sorted(self.changes.items(), key=lambda item: item[0]):
            amount = change.debits + change.credits
            sums = (amount, change.debits, change.credits, change.credited, change.entries, change.last_event)
            table.rows.append((account, currency, *sums))
        return table

    def _add(self, event: int, journal: JournalRow) -> None:
        columns, changes, postings = self.columns, self.changes, journal.postings
        count = len(postings)
        columns["event"] += [str(event)] * count
        columns["ordinal"] += map(str, range(count))
        columns["journal_id"] += [journal.journal_id] * count
        columns["kind"] += [journal.kind] * count
        columns["organization_id"] += [journal.organization_id] * count
        columns["order_id"] += [journal.order_id] * count
        columns["payout_id"] += [journal.payout_id] * count
        columns["effective_at"] += [text_of(journal.effective_at)] * count
        columns["occurred_at"] += [text_of(journal.occurred_at)] * count
        self._moved = self._moved or journal.occurred_at is not None
        columns["account"] += [posting.account for posting in postings]
        columns["purpose"] += [posting.purpose for posting in postings]
        columns["amount"] += [str(posting.amount) for posting in postings]
        columns["currency"] += [posting.currency for posting in postings]
        columns["line_id"] += [posting.line_id for posting in postings]
        payees, credited = columns["payee_id"], columns["credited"]
        for posting in postings:
            amount, key = posting.amount, (posting.account, posting.currency)
            change = changes.get(key)
            if change is None:
                change = changes[key] = _Change(posting.account)
            change.entries += 1
            change.last_event = event
            payees.append(change.payee_id)
            if amount < 0:
                change.debits += amount
            else:
                change.credits += amount
            # A credit lengthens its payee's line, unless it is money that a payout gave back.
            if change.available and amount > 0 and journal.payout_id is None:
                change.credited += amount
                credited.append(change.credited)
            else:
                credited.append(None)
