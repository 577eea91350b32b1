"""What sellers who collect the money themselves have paid, and which of their orders that settles: pages of orders to
settle or to take back, and what is open of those that are named. Read from rows that are written inline, and from the
log itself; nothing here is stored but documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

import msgspec

from colink.application.seller_settlement import OpenPage, ReturnPage
from colink.domain.ledger import seller_receivable
from colink.domain.seller_account_events import SellerAccountDetails, returned
from colink.domain.seller_accounts import MOST_ORDERS, seller_account_id
from colink.domain.seller_billing import (
    SellerInvoiceDetails,
    SellerPaymentDetails,
)
from colink.projections.documents import document_by_id, kind_of
from colink.projections.engine import Connection, Pool

_ENTRIES_A_PAGE = 1_000
_ANY_POSITION = 2**63 - 1
CHARGES: LiteralString = "left(account, 7) = 'seller:' and purpose not in ('receivable', 'seller_payment')"
"""Entries of receivables that are neither orders' own nor payments; spelled as the index does (migration 0014)."""

# Purpose and sign are written out so that the partial indexes serve (migration 0012).
_BEHIND: LiteralString = (
    "select from colink.entries e where e.account = 'seller:' || d.organization_id || ':receivable'"
    " and e.currency = d.body::jsonb ->> 'currency' and e.purpose = 'receivable'"
)
_ACCOUNTS_WITH_WORK: LiteralString = f"""
select d.body from colink.documents d
 where d.kind = %(kind)s and d.current
   and (((d.body::jsonb ->> 'credit')::bigint > 0
         and exists ({_BEHIND} and e.position > (d.body::jsonb ->> 'settled_to')::bigint))
        or exists ({_BEHIND} and e.amount > 0 and e.position > (d.body::jsonb ->> 'credited_to')::bigint))
 order by d.position, d.id
 limit %(limit)s
"""
_PAGE: LiteralString = """
select position, order_id from colink.entries
 where account = %(account)s and currency = %(currency)s and purpose = 'receivable' and position > %(after)s
 order by position limit %(limit)s
"""
_PAGE_OF_CREDITS: LiteralString = _PAGE.replace("and position", "and amount > 0 and position")
_OF_BEFORE: LiteralString = f"""
select distinct substr(account, 8, length(account) - 18), currency
  from colink.entries e
 where {CHARGES}
   and not exists (select from colink.documents d
                    where d.kind = %(kind)s and d.current
                      and e.account = 'seller:' || d.organization_id || ':receivable'
                      and d.body::jsonb ->> 'currency' = e.currency and d.body::jsonb ->> 'since' is not null)
 limit %(limit)s
"""
_TO_TAKE_BACK: LiteralString = """
select body from colink.documents
 where kind = %(kind)s and current and (body::jsonb ->> 'returned')::bigint > 0
 order by position, id
 limit %(limit)s
"""
RETURNABLE: LiteralString = """
select o.order_id, receivable.first, settling.settled - claimed.available
  from colink.orders o
 cross join lateral (select min(position) as first from colink.entries
                      where order_id = o.order_id and account = 'seller:' || o.organization_id || ':receivable'
                        and currency = %s and purpose = 'receivable' and position <= %s) receivable
 cross join lateral (select (payload::jsonb ->> 'settled')::bigint as settled from colink.events
                      where stream_id = o.order_id and position <= %s
                        and topic in ('order.settled', 'order.settlement_taken_back')
                      order by version desc limit 1) settling
 cross join lateral (select coalesce(payload::jsonb -> 'claims', payload::jsonb -> 'split' -> 'claims') as claims
                       from colink.events
                      where stream_id = o.order_id and position <= %s
                        and topic in ('order.settled', 'order.settlement_taken_back', 'order.split', 'order.cleared')
                      order by version desc limit 1) claiming
 cross join lateral (select coalesce(sum(greatest(least(claim.net, claim.cleared), 0)), 0)::bigint as available,
                            bool_or(claim.net > claim.cleared) as waits
                       from jsonb_to_recordset(claiming.claims) as claim (net bigint, cleared bigint)) claimed
 where o.organization_id = %s and receivable.first is not null and claimed.waits
   and settling.settled > claimed.available
 order by o.order_id = any(%s::text[]) desc, receivable.first desc
"""
"""Orders that something may be taken back of (`Order.returnable`), and what: those named first, then the newest.
Parameters: the currency, three times the position as of which, the organisation, the orders named. Reads
two events of each order of a seller: payments are returned rarely."""
_OPEN: LiteralString = """
select line.order_id
  from unnest(%s::text[]) with ordinality line (order_id, number)
 cross join lateral (select -sum(amount) as owed from colink.entries e
                      where e.order_id = line.order_id and account = %s and currency = %s
                        and purpose = 'receivable') receivable
  left join lateral (select (payload::jsonb ->> 'settled')::bigint as settled from colink.events
                      where stream_id = line.order_id
                        and topic in ('order.settled', 'order.settlement_taken_back')
                      order by version desc limit 1) settling on true
 where receivable.owed > coalesce(settling.settled, 0)
 order by line.number
 limit %s
"""
_LAST_RETURN: LiteralString = """
select body from colink.documents
 where kind = %(kind)s and current and organization_id = %(organization_id)s
   and body::jsonb ->> 'currency' = %(currency)s and body::jsonb -> 'returned' <> 'null'
 order by position desc limit 1
"""


@dataclass(frozen=True)
class SettlementTables:
    """A `SettlementQueue` read from the database."""

    pool: Pool

    async def open_pages(self, *, limit: int) -> Sequence[OpenPage]:
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                _ACCOUNTS_WITH_WORK, {"kind": kind_of(SellerAccountDetails), "limit": limit}
            )
            accounts = [msgspec.json.decode(body, type=SellerAccountDetails) for (body,) in await cursor.fetchall()]
            return [await open_page(connection, account) for account in accounts]

    async def return_pages(self, *, limit: int) -> Sequence[ReturnPage]:
        async with self.pool.connection() as connection:
            values = {"kind": kind_of(SellerAccountDetails), "limit": limit}
            cursor = await connection.execute(_TO_TAKE_BACK, values)
            accounts = [msgspec.json.decode(body, type=SellerAccountDetails) for (body,) in await cursor.fetchall()]
            return [await self._return_page(connection, account) for account in accounts]

    async def _return_page(self, connection: Connection, account: SellerAccountDetails) -> ReturnPage:
        values = {
            "kind": kind_of(SellerPaymentDetails),
            "organization_id": account.organization_id,
            "currency": account.currency,
        }
        cursor = await connection.execute(_LAST_RETURN, values)
        found = await cursor.fetchone()
        payment = msgspec.json.decode(found[0], type=SellerPaymentDetails) if found else None
        named = await orders_named_by(connection, payment) if payment else ()
        return await _page_to_take_back(connection, account, named=named, amount=account.returned)

    async def of_before(self, *, limit: int) -> Sequence[tuple[str, str]]:
        async with self.pool.connection() as connection:
            values = {"kind": kind_of(SellerAccountDetails), "limit": limit}
            cursor = await connection.execute(_OF_BEFORE, values)
            return [(organization_id, currency) for organization_id, currency in await cursor.fetchall()]


async def open_page(connection: Connection, account: SellerAccountDetails) -> OpenPage:
    """The next orders behind the positions that the account has reached."""
    giving, credited_to = await _page(connection, _PAGE_OF_CREDITS, account, after=account.credited_to)
    taking, settled_to = await _page(connection, _PAGE, account, after=account.settled_to)
    return OpenPage(
        account=account,
        giving=tuple(giving),
        credited_to=credited_to,
        taking=tuple((position, order_id) for order_id, position in taking.items()),
        settled_to=settled_to,
    )


async def return_page(connection: Connection, payment: SellerPaymentDetails) -> ReturnPage:
    """What may be taken back of orders when this payment is returned, as far as one page goes."""
    account_id = seller_account_id(payment.organization_id, payment.currency)
    document = await document_by_id(connection, SellerAccountDetails, account_id)
    if document is None:
        return ReturnPage(account=None, orders=(), exhausted=False)
    account = document.details(SellerAccountDetails)
    amount = returned(account, payment.amount).returned
    named = await orders_named_by(connection, payment)
    return await _page_to_take_back(connection, account, named=named, amount=amount)


async def receivable_currencies(connection: Connection, organization_id: str) -> tuple[str, ...]:
    """Those in which something was posted to the seller's receivable."""
    cursor = await connection.execute(
        "select currency from colink.balances where account = %s order by 1", (seller_receivable(organization_id),)
    )
    return tuple(currency for (currency,) in await cursor.fetchall())


async def open_orders_of(connection: Connection, invoice_id: str, *, organization_id: str) -> tuple[str, ...]:
    """The first orders of an invoice of which something is open; what it is, the command decides. None of an invoice
    that is not the organisation's."""
    document = await document_by_id(connection, SellerInvoiceDetails, invoice_id)
    if document is None or document.organization_id != organization_id:
        return ()
    invoice = document.details(SellerInvoiceDetails)
    lines = [line.order_id for line in invoice.statement.lines]
    values = (lines, seller_receivable(organization_id), invoice.currency, MOST_ORDERS)
    cursor = await connection.execute(_OPEN, values)
    return tuple(order_id for (order_id,) in await cursor.fetchall())


async def orders_named_by(connection: Connection, payment: SellerPaymentDetails) -> tuple[str, ...]:
    """The orders that a payment named, or those of the invoice that it named."""
    if payment.invoice_id is None:
        return payment.order_ids
    document = await document_by_id(connection, SellerInvoiceDetails, payment.invoice_id)
    lines = document.details(SellerInvoiceDetails).statement.lines if document else ()
    return tuple(line.order_id for line in lines)


async def _page_to_take_back(
    connection: Connection, account: SellerAccountDetails, *, named: Sequence[str], amount: int
) -> ReturnPage:
    """As many orders as it takes for that amount, and one page holds."""
    now = (_ANY_POSITION,) * 3
    cursor = await connection.execute(RETURNABLE, (account.currency, *now, account.organization_id, list(named)))
    orders: list[tuple[int, str]] = []
    found = await cursor.fetchall() if amount > 0 else []
    for order_id, first, returnable in found:
        if amount <= 0 or len(orders) == MOST_ORDERS:
            break
        orders.append((first, order_id))
        amount -= returnable
    return ReturnPage(account=account, orders=tuple(orders), exhausted=len(orders) == len(found))


async def _page(
    connection: Connection, query: LiteralString, account: SellerAccountDetails, *, after: int
) -> tuple[dict[str, int], int]:
    """The first orders, with the position of their first entry, and how far the entries were read for them."""
    values = {
        "account": seller_receivable(account.organization_id),
        "currency": account.currency,
        "after": after,
        "limit": _ENTRIES_A_PAGE,
    }
    cursor = await connection.execute(query, values)
    orders: dict[str, int] = {}
    read_to = after
    for position, order_id in await cursor.fetchall():
        if order_id not in orders and len(orders) == MOST_ORDERS:
            break
        orders.setdefault(order_id, position)
        read_to = position
    return orders, read_to
