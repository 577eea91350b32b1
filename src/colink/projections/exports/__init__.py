"""Exports of the ledger for other people's tools: hledger, beancount, CSV, NDJSON, Parquet; and the raw log.

    journal.py (journals of a stretch of the log, balances before and after) -> books.py (hledger, beancount)
                                                                             -> tables.py (CSV, NDJSON, Parquet)
    raw.py (events as recorded, with their hashes)
    account_names.py (our names in theirs, and back)

Every export is a stream of bytes made in one snapshot with flat memory; who asks for it writes it somewhere. Amounts
are exact: books carry them with the decimals of their currency, tables in minor units with the number of decimals.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum

from colink.domain.errors import InvalidInput
from colink.projections.engine import Connection, Log, head
from colink.projections.exports.books import beancount, hledger
from colink.projections.exports.journal import find_extract
from colink.projections.exports.raw import raw_events
from colink.projections.exports.tables import csv_rows, ndjson_rows, parquet_rows


class ExportFormat(StrEnum):
    HLEDGER = "hledger"
    BEANCOUNT = "beancount"
    CSV = "csv"
    NDJSON = "ndjson"
    PARQUET = "parquet"


async def export(
    conn: Connection,
    form: ExportFormat,
    *,
    from_position: int = 1,
    to_position: int | None = None,
    events: bool = False,
) -> AsyncIterator[bytes]:
    """Positions `from_position` to `to_position` (the head, where None) in pieces, all of one snapshot. `conn` is in
    no transaction. `events`: the raw events with their hashes, which NDJSON alone can carry.

    Books begin with the balances before the range and assert those after it. Raises InvalidInput for a range that is
    none, or that the log does not have.
    """
    if events and form is not ExportFormat.NDJSON:
        raise InvalidInput("raw events come as ndjson: give that format, or leave out events", field="events")
    async with conn.transaction():
        await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        end = await head(conn, Log.COMMERCE)
        last = end if to_position is None else to_position
        if from_position < 1 or last > end or from_position > max(last, 1):  # an empty log is exported too
            msg = f"positions {from_position} to {last} are no range of the log, which ends at {end}"
            raise InvalidInput(msg, field="from" if last <= end else "to")
        extract = await find_extract(conn, first=from_position, last=last)
        match form:
            case ExportFormat.HLEDGER:
                pieces = hledger(conn, extract)
            case ExportFormat.BEANCOUNT:
                pieces = beancount(conn, extract)
            case ExportFormat.CSV:
                pieces = csv_rows(conn, extract)
            case ExportFormat.PARQUET:
                pieces = parquet_rows(conn, extract)
            case ExportFormat.NDJSON:
                pieces = raw_events(conn, extract) if events else ndjson_rows(conn, extract)
        async for piece in pieces:
            yield piece
