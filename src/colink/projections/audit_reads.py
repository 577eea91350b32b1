"""What auditors read, and who read personal data: recorded one by one, and listed.

No projection of the log: reading changes nothing that the log is about. Rows come in by one function of the database
and never change (migration 0013).
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from datetime import datetime

from psycopg.rows import class_row

from colink.projections.conditions import Where
from colink.projections.engine import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One request. `reader`: `key:{id}` or `cli:{user}`; `route`: the template of what answered, or the command;
    `status` as HTTP says it; `items`: how many the answer listed, None where it was no list. No body is kept."""

    read_at: datetime
    reader: str
    role: str
    method: str
    route: str
    path: str
    query: str
    status: int
    items: int | None
    correlation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRead(Read):
    """`seq`: their order of arrival."""

    seq: int


async def log_read(conn: Connection, read: Read) -> None:
    """Keep it. Whoever answers does so only afterwards, so that nothing is read without a trace."""
    await conn.execute("SELECT colink.log_read(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)", astuple(read))


async def list_reads(
    conn: Connection,
    *,
    reader: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    after: int | None = None,
    limit: int = 100,
) -> list[KeptRead]:
    """By arrival, from `since` on and before `until`; those behind number `after`."""
    where = Where()
    where.equals(reader=reader)
    if since is not None:
        where.add("read_at >= %(since)s", since=since)
    if until is not None:
        where.add("read_at < %(until)s", until=until)
    if after is not None:
        where.add("seq > %(after)s", after=after)
    async with conn.cursor(row_factory=class_row(KeptRead)) as cursor:
        await cursor.execute(
            "SELECT seq, read_at, reader, role, method, route, path, query, status, items, correlation_id"
            f" FROM colink.audit_reads{where} ORDER BY seq LIMIT %(limit)s",
            where.values | {"limit": limit},
        )
        return await cursor.fetchall()
