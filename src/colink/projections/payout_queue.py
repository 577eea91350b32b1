"""What the worker has to do about payouts: whom the schedule pays, and which payouts wait for a next step.

Read from the inline tables of payouts, balances and payout accounts; nothing here is stored.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from colink.application.payout_jobs import PayoutDue, PayoutRef
from colink.domain.payout_accounts import PayoutAccountDetails
from colink.domain.payouts import AT_PROVIDER, RELEASED, PayoutStatus
from colink.projections.documents import kind_of
from colink.projections.engine import Pool
from colink.projections.payouts import list_payouts

_PAYABLE = """
select account.payee_id, account.currency
  from (select d.body::jsonb ->> 'payee_id' as payee_id, d.body::jsonb ->> 'currency' as currency,
               coalesce((d.body::jsonb #>> '{minimum,amount}')::bigint, 1) as minimum, d.position
          from colink.documents d where d.kind = %(kind)s and d.current) account
  join colink.balances balance
    on balance.account = 'payee:' || account.payee_id || ':available' and balance.currency = account.currency
  left join lateral (select p.status, p.created_position from colink.payouts p
                      where p.payee_id = account.payee_id and p.currency = account.currency
                      order by p.created_position desc limit 1) newest on true
 where balance.amount >= greatest(account.minimum, 1)
   and (newest.status is null or newest.status = any(%(gone)s)
        or (newest.status = any(%(released)s) and account.position > newest.created_position))
   and (%(first)s or (account.payee_id, account.currency) > (%(payee_id)s, %(currency)s))
 order by account.payee_id, account.currency
 limit %(limit)s
"""
_PAID_SINCE = """
with recursive search (low, high) as (
    select 1::bigint, position + 1 from colink.log_head
    union all
    select case when e.recorded_at < %(since)s then e.position + 1 else s.low end,
           case when e.recorded_at < %(since)s then s.high else e.position end
      from search s join colink.events e on e.position = (s.low + s.high) / 2
     where s.low < s.high
)
select payout_id, payee_id, currency, status, created_position
  from colink.payouts
 where status = %(paid)s and created_position > %(after)s
   and position >= (select low from search where low >= high)
 order by created_position
 limit %(limit)s
"""
"""`search` finds the first position recorded since: positions have no gaps and their times never go back."""


@dataclass(frozen=True)
class PayoutTables:
    """A `PayoutQueue` read from the database."""

    pool: Pool

    async def payable(self, *, after: PayoutDue | None, limit: int) -> Sequence[PayoutDue]:
        values = {
            "kind": kind_of(PayoutAccountDetails),
            "gone": [status.value for status in AT_PROVIDER | {PayoutStatus.PAID}],
            "released": [status.value for status in RELEASED],
            "first": after is None,
            "payee_id": after.payee_id if after else "",
            "currency": after.currency if after else "",
            "limit": limit,
        }
        async with self.pool.connection() as connection:
            cursor = await connection.execute(_PAYABLE, values)
            return [PayoutDue(payee_id=payee, currency=currency) for payee, currency in await cursor.fetchall()]

    async def in_status(
        self, statuses: Collection[PayoutStatus], *, after: int | None, limit: int
    ) -> Sequence[PayoutRef]:
        async with self.pool.connection() as connection:
            filed = await list_payouts(
                connection, status=[status.value for status in statuses], after=after, limit=limit
            )
        return [
            PayoutRef(
                payout_id=payout.payout_id,
                payee_id=payout.payee_id,
                currency=payout.currency,
                status=PayoutStatus(payout.status),
                position=payout.created_position,
            )
            for payout in filed
        ]

    async def paid_since(self, moment: datetime, *, after: int | None, limit: int) -> Sequence[PayoutRef]:
        values = {"since": moment, "paid": PayoutStatus.PAID.value, "after": after or 0, "limit": limit}
        async with self.pool.connection() as connection:
            cursor = await connection.execute(_PAID_SINCE, values)
            return [
                PayoutRef(
                    payout_id=payout_id,
                    payee_id=payee_id,
                    currency=currency,
                    status=PayoutStatus(status),
                    position=position,
                )
                for payout_id, payee_id, currency, status, position in await cursor.fetchall()
            ]
