"""The ledger's entries as a table: CSV, NDJSON, Parquet. One row a posting, in the order of the log.

`amount` is in minor units, credit above zero, and `exponent` the decimals of its currency: both are integers, so no
tool can round them. In CSV a text that a spreadsheet would take for a formula gets an apostrophe in front.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple, get_args, get_type_hints

import msgspec

from colink.domain.ledger import payee_of
from colink.domain.money import currency_exponent
from colink.projections.engine import Connection
from colink.projections.exports.journal import Extract, Recorded, journals

_ROWS_A_PIECE = 2_000
_ROWS_A_GROUP = 65_536  # of Parquet: what is in memory at a time
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class EntryRow(NamedTuple):
    """A column each, in this order."""

    position: int
    ordinal: int
    journal_id: str
    kind: str
    account: str
    payee_id: str | None
    purpose: str
    amount: int
    currency: str
    exponent: int
    organization_id: str | None
    order_id: str | None
    line_id: str | None
    payout_id: str | None
    cause_id: str | None
    corrects: str | None
    reason: str | None
    effective_at: datetime
    occurred_at: datetime | None
    recorded_at: datetime


def _rows_of(recorded: Recorded) -> list[EntryRow]:
    journal = recorded.journal
    return [
        EntryRow(
            position=recorded.position,
            ordinal=ordinal,
            journal_id=recorded.journal_id,
            kind=journal.kind,
            account=posting.account,
            payee_id=payee_of(posting.account),
            purpose=posting.purpose,
            amount=posting.amount,
            currency=posting.currency,
            exponent=currency_exponent(posting.currency),
            organization_id=journal.organization_id,
            order_id=journal.order_id,
            line_id=posting.line_id,
            payout_id=journal.payout_id,
            cause_id=journal.cause_id,
            corrects=journal.corrects,
            reason=journal.reason,
            effective_at=journal.effective_at,
            occurred_at=journal.occurred_at,
            recorded_at=recorded.recorded_at,
        )
        for ordinal, posting in enumerate(journal.postings)
    ]


async def _pieces(conn: Connection, extract: Extract, *, size: int) -> AsyncIterator[list[EntryRow]]:
    """The last one may be empty."""
    rows: list[EntryRow] = []
    async for recorded in journals(conn, extract):
        rows += _rows_of(recorded)
        if len(rows) >= size:
            yield rows
            rows = []
    yield rows


async def csv_rows(conn: Connection, extract: Extract) -> AsyncIterator[bytes]:
    """RFC 4180, UTF-8, with a header."""
    yield csv_lines([EntryRow._fields])
    async for rows in _pieces(conn, extract, size=_ROWS_A_PIECE):
        yield csv_lines(rows)


def csv_lines(rows: Sequence[tuple[object, ...]]) -> bytes:
    """Rows as CSV: None is empty, times RFC 3339, and no text is a formula."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([[_cell(value) for value in row] for row in rows])
    return text.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


async def ndjson_rows(conn: Connection, extract: Extract) -> AsyncIterator[bytes]:
    """A JSON object a line."""
    encode = msgspec.json.Encoder().encode_lines
    async for rows in _pieces(conn, extract, size=_ROWS_A_PIECE):
        yield encode([row._asdict() for row in rows])


async def parquet_rows(conn: Connection, extract: Extract) -> AsyncIterator[bytes]:
    """Integers of 64 bits, times as UTC microseconds, repeated texts by dictionary."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {int: pa.int64(), str: pa.string(), datetime: pa.timestamp("us", tz="UTC")}
    schema = pa.schema(
        [
            pa.field(name, types[(get_args(kind) or (kind,))[0]], nullable=type(None) in get_args(kind))
            for name, kind in get_type_hints(EntryRow).items()
        ],
        metadata={"colink.positions": f"{extract.first}-{extract.last}"},
    )
    sink = _Drain()
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        async for rows in _pieces(conn, extract, size=_ROWS_A_GROUP):
            if rows:
                values = zip(*rows, strict=True)
                arrays = [pa.array(column, type=field.type) for column, field in zip(values, schema, strict=True)]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
                yield sink.drained()
    yield sink.drained()


class _Drain(io.RawIOBase):
    """Keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(memoryview(data))  # type: ignore[arg-type]  # whatever buffer pyarrow hands over
        self._parts.append(part)
        self._written += len(part)
        return len(part)

    def tell(self) -> int:
        return self._written

    def drained(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)
