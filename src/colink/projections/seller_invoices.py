"""What there is to bill of sellers who collect the money themselves: the statement of a receivable, and whose month
is over. Read from entries and balances, which are inline.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from colink.application.seller_invoices import Bill, Billable
from colink.domain.errors import InvalidInput
from colink.domain.ledger import seller_receivable
from colink.domain.local_time import last_month, period_bounds
from colink.domain.money import currency_exponent
from colink.domain.organizations import OrganizationDetails
from colink.domain.seller_account_events import SellerAccountDetails
from colink.domain.seller_accounts import MOST_LINES, seller_account_id, seller_invoice_id
from colink.domain.seller_billing import ReceivableStatement, SellerInvoiceDetails, receivable_between
from colink.projections.balances_in_time import list_balances
from colink.projections.documents import document_by_id, kind_of
from colink.projections.engine import Connection, Pool

_MONTH = re.compile(r"2[0-9]{3}-(0[1-9]|1[0-2])", re.ASCII).fullmatch
_POSTED: LiteralString = """
select position, order_id, purpose, amount from colink.entries
 where account = %(account)s and currency = %(currency)s and position > %(after)s and recorded_at < %(before)s
 order by position
"""


_LAST_PERIOD: LiteralString = """
select max(body::jsonb ->> 'period') from colink.documents
 where kind = %s and current and organization_id = %s and body::jsonb ->> 'currency' = %s
"""
_BILLABLE: LiteralString = """
select o.id, o.body::jsonb ->> 'timezone', b.currency, account.invoiced_to, last.period, next.recorded_at,
       b.amount <> 0
  from colink.balances b
  join colink.documents o on o.kind = %(organization)s and o.current
   and o.id = substr(b.account, 8, length(b.account) - 18)
  left join lateral (select (a.body::jsonb ->> 'invoiced_to')::bigint as invoiced_to from colink.documents a
                      where a.kind = %(account)s and a.current and a.organization_id = o.id
                        and a.body::jsonb ->> 'currency' = b.currency) account on true
  left join lateral (select max(i.body::jsonb ->> 'period') as period from colink.documents i
                      where i.kind = %(invoice)s and i.current and i.organization_id = o.id
                        and i.body::jsonb ->> 'currency' = b.currency) last on true
  left join lateral (select e.recorded_at from colink.entries e
                      where e.account = b.account and e.currency = b.currency
                        and e.position > coalesce(account.invoiced_to, 0)
                      order by e.position limit 1) next on true
 where b.account >= 'seller:' and b.account < 'seller;' and (b.account, b.currency) > (%(after)s, %(of)s)
   and (b.amount <> 0 or next.recorded_at is not null)
 order by b.account, b.currency
 limit %(limit)s
"""


@dataclass(frozen=True)
class InvoiceTables:
    """An `InvoiceQueue` read from the database."""

    pool: Pool

    async def billable(self, *, after: Billable | None, limit: int) -> Sequence[Billable]:
        values = {
            "organization": kind_of(OrganizationDetails),
            "account": kind_of(SellerAccountDetails),
            "invoice": kind_of(SellerInvoiceDetails),
            "after": seller_receivable(after.organization_id) if after else "",
            "of": after.currency if after else "",
            "limit": limit,
        }
        async with self.pool.connection() as connection:
            cursor = await connection.execute(_BILLABLE, values)
            return [
                Billable(
                    organization_id=organization_id,
                    timezone=timezone,
                    currency=currency,
                    invoiced_to=invoiced_to or 0,
                    last_period=last_period,
                    unbilled_since=unbilled_since,
                    is_open=is_open,
                )
                for organization_id, timezone, currency, invoiced_to, last_period, unbilled_since, is_open in (
                    await cursor.fetchall()
                )
            ]

    async def statement(self, seller: Billable, period: str) -> ReceivableStatement:
        async with self.pool.connection() as connection:
            return await receivable_statement(
                connection,
                organization_id=seller.organization_id,
                currency=seller.currency,
                from_position=seller.invoiced_to,
                before=period_bounds(period, seller.timezone)[1],
            )


async def bill_for(
    connection: Connection, *, organization_id: str, currency: str, period: str | None, now: datetime
) -> Bill:
    """What an invoice for a month bills, by default for the last that is over. Raises InvalidInput."""
    organization = await document_by_id(connection, OrganizationDetails, organization_id)
    if organization is None:
        msg = f"there is no organization {organization_id!r}"
        raise InvalidInput(msg, field="organization_id")
    if period is not None and not _MONTH(period):
        msg = f"{period!r} is no month: write it like 2026-03"
        raise InvalidInput(msg, field="period")
    currency_exponent(currency)
    timezone = organization.details(OrganizationDetails).timezone
    period = period or last_month(now, timezone)
    _, ends_at = period_bounds(period, timezone)
    if ends_at > now:
        msg = f"{period} is not over in {timezone}: an invoice bills a whole month"
        raise InvalidInput(msg, field="period")
    cursor = await connection.execute(_LAST_PERIOD, (kind_of(SellerInvoiceDetails), organization_id, currency))
    [(billed,)] = await cursor.fetchall()
    if billed is not None and period < billed:
        invoice_id = seller_invoice_id(organization_id, currency, period)
        if await document_by_id(connection, SellerInvoiceDetails, invoice_id) is None:
            msg = f"{billed} is billed already, and what {period} left open with it"
            raise InvalidInput(msg, field="period")
    account = await document_by_id(connection, SellerAccountDetails, seller_account_id(organization_id, currency))
    statement = await receivable_statement(
        connection,
        organization_id=organization_id,
        currency=currency,
        from_position=account.details(SellerAccountDetails).invoiced_to if account else 0,
        before=ends_at,
    )
    return Bill(organization_id=organization_id, currency=currency, period=period, statement=statement)


async def receivable_statement(
    connection: Connection, *, organization_id: str, currency: str, from_position: int, before: datetime
) -> ReceivableStatement:
    """What was posted to a seller's receivable after `from_position`, as far as it was recorded before that time.
    Ends earlier where it tells of more than MOST_LINES orders: what follows is the next one's."""
    account = seller_receivable(organization_id)
    opening = await list_balances(connection, account=account, at_position=from_position)
    cursor = await connection.execute(
        _POSTED, {"account": account, "currency": currency, "after": from_position, "before": before}
    )
    return receivable_between(
        await cursor.fetchall(),
        from_position=from_position,
        opening=-sum(balance.amount for balance in opening if balance.currency == currency),
        most_lines=MOST_LINES,
    )
