"""What payees owe us, and since when: available accounts below zero, after refunds of what was paid out already."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from colink.projections.engine import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Debt:
    """Minor units, above zero. `since`: when what is owed now was first owed; it was below zero ever since."""

    payee_id: str
    currency: str
    amount: int
    since: datetime

    def days(self, now: datetime) -> int:
        """How old it is, in whole days."""
        return (now - self.since).days


_DEBTS = """
select split_part(b.account, ':', 2) as payee_id, b.currency, -b.amount as amount, fell.since
  from colink.balances b
 cross join lateral (
       select recorded_at as since
         from (select position, ordinal, recorded_at, amount,
                      sum(amount) over (order by position, ordinal) as after
                 from colink.entries where account = b.account and currency = b.currency) run
        where after < 0 and after - amount >= 0
        order by position desc, ordinal desc limit 1) fell
 where b.account like 'payee:%%:available' and b.amount < 0
   and (%(payee_id)s::text is null or b.account = 'payee:' || %(payee_id)s || ':available')
   and (%(first)s or (split_part(b.account, ':', 2), b.currency) > (%(after_payee)s, %(after_currency)s))
 order by payee_id, b.currency
 limit %(limit)s
"""


async def list_debts(
    connection: Connection,
    *,
    payee_id: str | None = None,
    after: tuple[str, str] | None = None,
    limit: int = 100,
) -> list[Debt]:
    """By payee and currency, those after the one given; of one payee, where given."""
    async with connection.cursor(row_factory=class_row(Debt)) as cursor:
        await cursor.execute(
            _DEBTS,
            {
                "payee_id": payee_id,
                "first": after is None,
                "after_payee": after[0] if after else "",
                "after_currency": after[1] if after else "",
                "limit": limit,
            },
        )
        return await cursor.fetchall()
