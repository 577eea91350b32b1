"""The promise: what an order reads does not grow with the log.

Plans of the statements that write are made once a connection, while the tables are empty in a new installation, and
are kept. One that finds its rows by the wrong index is quick that day and slow ever after; only what it reads tells.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest
from tests.api.sale import MUG, TSHIRT, make_sale
from tests.api.shop import Shop, open_shop
from tests.conftest import TestDatabase

from colink.adapters.postgres.provision import Database
from colink.cli.shopify_traffic import RefundedItem

pytestmark = pytest.mark.anyio

FEW, MANY = 40, 160


async def test_an_order_reads_no_more_in_an_older_log(make_database: Callable[..., TestDatabase]) -> None:
    few = await rows_read(make_database(), orders=FEW)
    many = await rows_read(make_database(), orders=MANY)
    assert many < few * MANY / FEW * 1.1


async def rows_read(database: TestDatabase, *, orders: int) -> int:
    """Rows and index entries that a new installation has read when so many orders were clicked, sold, changed and
    refunded in it."""
    async with open_shop(Database(owner_dsn=database.owner_dsn, app_dsn=database.app_dsn)) as shop:
        await sell(shop, orders)
    with psycopg.connect(database.superuser_dsn) as connection:  # all others have ended, and told what they read
        row = connection.execute(
            "select (select sum(seq_tup_read) from pg_stat_user_tables)"
            " + (select sum(idx_tup_read) from pg_stat_user_indexes)"
        ).fetchone()
    assert row is not None
    return int(row[0])


async def sell(shop: Shop, orders: int) -> None:
    sale = await make_sale(shop)
    for number in range(1, orders + 1):
        shop.clock.time += timedelta(minutes=1)
        shop.http.cookies.clear()  # another shopper: the newest touches of one are read for each order
        click = await shop.follow(sale.link)
        told = {"order_id": number, "items": [TSHIRT, MUG], "click_id": click}
        await shop.order(sale.store, **told)
        await shop.order(sale.store, **told, shipping="9.00")
        await shop.refund(sale.store, order_id=number, refund_id=number, items=[RefundedItem(item=MUG)])
        await shop.link(sale.creator)
