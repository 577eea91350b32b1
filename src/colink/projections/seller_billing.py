"""What sellers who collect the money themselves owe and have paid: pages of orders to settle, the statement of a
receivable, and what is open of an order. Read from entries, which are inline; nothing here is stored but documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

import msgspec

from colink.application.seller_billing import OpenPage
from colink.domain.ledger import seller_receivable
from colink.domain.seller_accounts import MOST_LINES, MOST_ORDERS, SellerAccountDetails
from colink.domain.seller_billing import ReceivableStatement, receivable_between
from colink.projections.balances_in_time import list_balances
from colink.projections.documents import kind_of
from colink.projections.engine import Connection, Pool

_ENTRIES_A_PAGE = 1_000
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
_POSTED: LiteralString = """
select position, order_id, purpose, amount from colink.entries
 where account = %(account)s and currency = %(currency)s and position > %(after)s and recorded_at < %(before)s
 order by position
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
