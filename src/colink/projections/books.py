"""What finance reads of the ledger as a whole: its accounts with gross sums, and what is closed of it.

Rows are written inline with the events (entries and documents); here are only the queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row

from colink.domain.accounts import AccountKind, account_kind
from colink.domain.periods import ClosedPeriods
from colink.projections.conditions import Where
from colink.projections.documents import CLOSED_PERIODS


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSums:
    """An account in one currency, in minor units: all debits and all credits (both above zero), and the balance
    (credit > 0)."""

    account: str
    currency: str
    debits: int
    credits: int
    amount: int

    @property
    def kind(self) -> AccountKind:
        return account_kind(self.account)


async def list_accounts(
    connection: AsyncConnection[TupleRow],
    *,
    prefix: str | None = None,
    after: tuple[str, str] | None = None,
    limit: int | None = None,
) -> list[AccountSums]:
    """Accounts that were posted to, by account and currency, those after (account, currency)."""
    where = Where()
    if prefix is not None:
        where.add("starts_with(account, %(prefix)s)", prefix=prefix)
    if after is not None:
        where.add("(account, currency) > (%(account)s, %(currency)s)", account=after[0], currency=after[1])
    async with connection.cursor(row_factory=class_row(AccountSums)) as cursor:
        await cursor.execute(
            f"select account, currency, -debits as debits, credits, amount from colink.balances{where}"
            " order by account, currency limit %(limit)s",
            where.values | {"limit": limit},
        )
        return await cursor.fetchall()


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """When what was closed; `position` in the log."""

    details: ClosedPeriods
    position: int
    recorded_at: datetime


async def list_closings(connection: AsyncConnection[TupleRow]) -> list[Closing]:
    """Every closing, the oldest first."""
    cursor = await connection.execute(
        "select d.body, d.position, e.recorded_at from colink.documents d join colink.events e using (position)"
        " where d.kind = %s order by d.version",
        (CLOSED_PERIODS,),
    )
    return [
        Closing(details=msgspec.json.decode(body, type=ClosedPeriods), position=position, recorded_at=at)
        for body, position, at in await cursor.fetchall()
    ]
