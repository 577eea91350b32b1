"""What is a payee's own among the inline documents: a creator's links and coupons, anyone's payout accounts."""

from __future__ import annotations

from typing import Any

from psycopg.rows import class_row

from colink.domain.payout_accounts import PayoutAccountDetails
from colink.projections.conditions import Where
from colink.projections.documents import Document, kind_of
from colink.projections.engine import Connection


async def promotions_of_creator(
    conn: Connection,
    details_class: type[Any],
    *,
    creator_id: str,
    organization_id: str | None = None,
    after_id: str | None = None,
    limit: int = 100,
) -> list[Document]:
    """A creator's links or coupons (of one organisation, where given) by id, those after `after_id`."""
    where = Where()
    where.equals(kind=kind_of(details_class), organization_id=organization_id)
    where.add("body::jsonb ->> 'creator_id' = %(creator_id)s", creator_id=creator_id)
    return await _current(conn, where, after_id=after_id, limit=limit)


async def payout_accounts(
    conn: Connection, *, payee_id: str | None = None, after_id: str | None = None, limit: int = 100
) -> list[Document]:
    """Payout accounts (of one payee, where given) by id, those after `after_id`."""
    where = Where()
    where.equals(kind=kind_of(PayoutAccountDetails))
    if payee_id is not None:
        where.add("body::jsonb ->> 'payee_id' = %(payee_id)s", payee_id=payee_id)
    return await _current(conn, where, after_id=after_id, limit=limit)


async def _current(conn: Connection, where: Where, *, after_id: str | None, limit: int) -> list[Document]:
    where.add("current")
    if after_id is not None:
        where.add("id > %(after_id)s", after_id=after_id)
    async with conn.cursor(row_factory=class_row(Document)) as cursor:
        await cursor.execute(
            "select kind, id, version, key, organization_id, body, position from colink.documents"
            f"{where} order by id limit %(limit)s",
            where.values | {"limit": limit},
        )
        return await cursor.fetchall()
