"""A stretch of the log as every export begins: what stood in the accounts before it and after it, and its journals.

Responsible for reading; the journals come from the log itself, the balances from where they are kept, so that a book
whose assertions hold has compared the two. Not responsible for how a format spells anything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import uuid4

import msgspec
from psycopg import AsyncServerCursor
from psycopg.rows import TupleRow

from colink.domain.ledger import JournalPosted
from colink.projections.balances_in_time import Balance, list_balances
from colink.projections.engine import Connection

_ROWS_A_TRIP = 2_000


class PostingRead(msgspec.Struct, gc=False, frozen=True):
    account: str
    amount: int
    currency: str
    purpose: str
    line_id: str | None = None


class JournalRead(msgspec.Struct, gc=False, frozen=True):
    """A journal as its event tells it, with the position and time it was recorded at. All shapes of the event have
    these fields; those that a shape lacks are None."""

    kind: str
    effective_at: datetime
    postings: tuple[PostingRead, ...]
    organization_id: str | None = None
    order_id: str | None = None
    payout_id: str | None = None
    cause_id: str | None = None
    occurred_at: datetime | None = None
    corrects: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """A journal in the log."""

    position: int
    journal_id: str
    recorded_at: datetime
    journal: JournalRead


@dataclass(frozen=True, kw_only=True)
class Extract:
    """Positions `first` to `last`, and the balances before and after them. `since` and `until`: the days (UTC) of the
    first and last effective time among its journals."""

    first: int
    last: int
    opening: Sequence[Balance]
    closing: Sequence[Balance]
    since: date
    until: date

    @property
    def currencies(self) -> list[str]:
        return sorted({balance.currency for balance in self.closing})

    @property
    def accounts(self) -> list[str]:
        return sorted({balance.account for balance in self.closing})


async def find_extract(conn: Connection, *, first: int, last: int) -> Extract:
    """In the caller's snapshot."""
    opening = await list_balances(conn, at_position=first - 1) if first > 1 else []
    cursor = await conn.execute(
        "SELECT min(effective_at), max(effective_at) FROM colink.entries WHERE position BETWEEN %s AND %s",
        (first, last),
    )
    since, until = await cursor.fetchone() or (None, None)
    if since is None or until is None:
        cursor = await conn.execute("SELECT recorded_at FROM colink.events WHERE position = %s", (last,))
        row = await cursor.fetchone()
        since = until = row[0] if row is not None else datetime(1970, 1, 1, tzinfo=UTC)
    return Extract(
        first=first,
        last=last,
        opening=opening,
        closing=await list_balances(conn, at_position=last),
        since=since.astimezone(UTC).date(),
        until=until.astimezone(UTC).date(),
    )


async def journals(conn: Connection, extract: Extract) -> AsyncIterator[Recorded]:
    """In the order of the log."""
    decode = msgspec.json.Decoder(JournalRead).decode
    rows = read_rows(
        conn,
        "SELECT position, stream_id, recorded_at, payload FROM colink.events"
        " WHERE position BETWEEN %s AND %s AND topic = %s ORDER BY position",
        (extract.first, extract.last, JournalPosted.TOPIC),
    )
    async for position, journal_id, recorded_at, payload in rows:
        yield Recorded(position, journal_id, recorded_at, decode(payload))


async def read_rows(conn: Connection, query: str, values: Sequence[object]) -> AsyncIterator[TupleRow]:
    """Rows of a query, however many, a few thousand in memory at a time."""
    async with AsyncServerCursor(conn, f"export_{uuid4().hex}") as cursor:
        cursor.itersize = _ROWS_A_TRIP
        await cursor.execute(query.encode(), values)
        async for row in cursor:
            yield row
