"""The inbox: every platform delivery as it came, its body sealed, for listing and for reading again. Commands write
its rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row

from colink.application.deliveries import inbox_id
from colink.application.privacy.envelope import CannotBeOpened, PersonKeys, owner_of_body
from colink.projections.conditions import Where
from colink.projections.person_keys import is_erased, wrapped_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledDelivery:
    """A delivery without its body. `headers`, `problem` and `answer` are JSON texts."""

    seq: int
    source: str
    delivery_id: str
    topic: str
    headers: str
    received_at: datetime
    status: str
    problem: str | None
    answer: str
    order_id: str | None
    replayed_at: datetime | None


_COLUMNS = "seq, source, delivery_id, topic, headers, received_at, status, problem, answer, order_id, replayed_at"


async def list_deliveries(
    connection: AsyncConnection[TupleRow],
    *,
    source: str | None = None,
    status: str | None = None,
    order_id: str | None = None,
    after: int | None = None,
    limit: int = 100,
) -> list[FiledDelivery]:
    """Deliveries that fit everything given, by arrival; `after` is the `seq` of the last one seen."""
    where = Where()
    where.add("seq > 0")  # as the index of these lists says, so that nothing else uses it
    where.equals(source=source, status=status, order_id=order_id)
    if after is not None:
        where.add("seq > %(after)s", after=after)
    async with connection.cursor(row_factory=class_row(FiledDelivery)) as cursor:
        await cursor.execute(
            f"select {_COLUMNS} from colink.inbox{where} order by seq limit %(limit)s",
            where.values | {"limit": limit},
        )
        return await cursor.fetchall()


async def delivery(
    connection: AsyncConnection[TupleRow], source: str, delivery_id: str
) -> tuple[FiledDelivery, bytes] | None:
    """One delivery with its body as it is kept."""
    async with connection.cursor(row_factory=class_row(FiledDelivery)) as cursor:
        await cursor.execute(
            f"select {_COLUMNS} from colink.inbox where source = %s and delivery_id = %s", (source, delivery_id)
        )
        filed = await cursor.fetchone()
    if filed is None:
        return None
    row = await (
        await connection.execute(
            "select body from colink.inbox where source = %s and delivery_id = %s", (source, delivery_id)
        )
    ).fetchone()
    return (filed, bytes(row[0])) if row else None


async def open_body(
    connection: AsyncConnection[TupleRow], keys: PersonKeys, source: str, delivery_id: str, body: bytes
) -> bytes | None:
    """A kept body, byte for byte as it came; None where it was erased. Raises CannotBeOpened."""
    owner = owner_of_body(body)
    if owner is None:
        return body  # kept before bodies were sealed
    place = inbox_id(source, delivery_id)
    wrapped = await wrapped_keys(connection, [(owner, place)])
    if wrapped:
        return keys.unwrapped(wrapped[owner, place]).open_body(body, place=place)
    if not await is_erased(connection, owner):
        msg = f"the key to the body of {place} is gone, and nobody erased it"
        raise CannotBeOpened(msg)
    return None
