"""Journals that people make, as documents: their newest state by id, and lists of them."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from colink.domain.bookings import BookingDetails, BookingStatus
from colink.projections.conditions import Where
from colink.projections.documents import kind_of

_decode = msgspec.json.Decoder(BookingDetails).decode
Connection: TypeAlias = AsyncConnection[TupleRow]


async def booking_by_id(connection: Connection, booking_id: str) -> BookingDetails | None:
    cursor = await connection.execute(
        "select body from colink.documents where kind = %s and id = %s and current",
        (kind_of(BookingDetails), booking_id),
    )
    row = await cursor.fetchone()
    return _decode(row[0]) if row else None


async def list_bookings(
    connection: Connection,
    *,
    status: BookingStatus | None = None,
    after_id: str | None = None,
    limit: int = 100,
) -> list[BookingDetails]:
    """By id, which is by when they were proposed, those after `after_id`."""
    where = Where()
    where.add("kind = %(kind)s and current", kind=kind_of(BookingDetails))
    if status is not None:
        where.add("body::json ->> 'status' = %(status)s", status=status)
    if after_id is not None:
        where.add("id > %(after_id)s", after_id=after_id)
    cursor = await connection.execute(
        f"select body from colink.documents{where} order by id limit %(limit)s", where.values | {"limit": limit}
    )
    return [_decode(body) for (body,) in await cursor.fetchall()]
