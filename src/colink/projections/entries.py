"""Ledger entries: inline rows of every journal, and how they are asked for. Balances: `balances_in_time.py`.

Amounts are signed minor units, credit above zero. An entry's status is not stored: it is derived when read
(semantics section 6), by whoever has the order's claims and the payouts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row

from colink.domain.ledger import JournalPosted, payee_accounts
from colink.projections.conditions import Where
from colink.projections.inline import JournalRow, projects

Cursor = tuple[int, int]  # (position, ordinal) of the last entry of the page before


@projects(JournalPosted)
def journal_posted(event: JournalPosted) -> Sequence[JournalRow]:
    return [
        JournalRow(
            journal_id=event.originator_id,
            kind=event.kind.value,
            organization_id=event.organization_id,
            order_id=event.order_id,
            payout_id=event.payout_id,
            effective_at=event.effective_at,
            postings=event.postings,
            occurred_at=event.occurred_at,
        )
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A ledger entry as recorded. `occurred_at`: its own time, where a closed period moved it.
    `credited_after`: length of the payee's line of cleared credits after it, for
    entries that lengthen it (domain.payout_funds)."""

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
    recorded_at: datetime
    credited_after: int | None
    occurred_at: datetime | None

    @property
    def cursor(self) -> Cursor:
        return self.position, self.ordinal


IN_ORDERS = (
    "position = any(array(select position from colink.entries where order_id = any(%(order_ids)s) and ordinal = 0))"
)
"""Condition on entries: of these orders. All entries of a journal have its order; only its first is indexed by it."""

_ENTRY = (
    "select position, ordinal, journal_id, kind, account, payee_id, purpose, amount, currency, organization_id, "
    "order_id, line_id, payout_id, effective_at, recorded_at, credited_after, occurred_at from colink.entries"
)


async def list_entries(
    connection: AsyncConnection[TupleRow],
    *,
    order_id: str | None = None,
    payee_id: str | None = None,
    account: str | None = None,
    organization_id: str | None = None,
    after: Cursor | None = None,
    limit: int = 100,
) -> list[Entry]:
    """Entries that fit everything given, in log order, those after the cursor."""
    where = Where()
    where.equals(organization_id=organization_id, account=account)
    if order_id is not None:
        where.add(IN_ORDERS, order_ids=[order_id])
    if after is not None:
        where.add("(position, ordinal) > (%(position)s, %(ordinal)s)", position=after[0], ordinal=after[1])
    if payee_id is None:
        query = f"{_ENTRY}{where} order by position, ordinal limit %(limit)s"
    else:
        query = _merged(where, payee_accounts(payee_id))
    async with connection.cursor(row_factory=class_row(Entry)) as cursor:
        await cursor.execute(query, where.values | {"limit": limit})
        return await cursor.fetchall()


def _merged(where: Where, accounts: Sequence[str]) -> str:
    """Entries of these accounts, each read in the order of its index and no further than the page."""
    parts = []
    for number, account in enumerate(accounts):
        name = f"account_{number}"
        where.values[name] = account
        of_account = where.and_(f"account = %({name})s")
        parts.append(f"({_ENTRY}{of_account} order by position, ordinal limit %(limit)s)")
    return f"{' union all '.join(parts)} order by position, ordinal limit %(limit)s"


async def list_credits(
    connection: AsyncConnection[TupleRow],
    *,
    account: str,
    currency: str,
    start: int,
    end: int,
    after: int | None = None,
    limit: int = 100,
) -> list[Entry]:
    """The entries of the stretch [start, end) of an available account's line of cleared credits, oldest first, those
    after the entry with `credited_after` = `after`. The first and the last may lie in it only in part."""
    async with connection.cursor(row_factory=class_row(Entry)) as cursor:
        await cursor.execute(
            f"{_ENTRY} where account = %(account)s and currency = %(currency)s and credited_after > %(after)s "
            "and credited_after - amount < %(end)s order by credited_after limit %(limit)s",
            {
                "account": account,
                "currency": currency,
                "after": max(start, after or 0),
                "end": end,
                "limit": limit,
            },
        )
        return await cursor.fetchall()
