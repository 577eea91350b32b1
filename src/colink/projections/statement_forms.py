"""A payee's statement written down: JSON, CSV, and HTML that prints. A stream of bytes each, made in one snapshot, so
that a statement of any length takes the same memory.

JSON has minor units; CSV and HTML have the decimals of the currency. HTML escapes everything it is given, and loads
nothing from anywhere.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from colink.application.privacy.people import People
from colink.domain.money import currency_exponent, decimal_text
from colink.projections.engine import Connection
from colink.projections.exports.tables import csv_lines
from colink.projections.statements import Line, Standing, Statement, lines, make_statement

if TYPE_CHECKING:
    from jinja2 import Template

_LINES_A_PIECE = 200
_encode = msgspec.json.Encoder().encode


class StatementFormat(StrEnum):
    JSON = "json"
    CSV = "csv"
    HTML = "html"

    @property
    def media_type(self) -> str:
        return {"json": "application/json", "csv": "text/csv", "html": "text/html"}[self]


async def statement_pieces(
    conn: Connection,
    form: StatementFormat,
    *,
    people: People,
    payee_id: str,
    start: datetime,
    end: datetime,
    currency: str | None = None,
    at_position: int | None = None,
) -> AsyncGenerator[bytes, None]:
    """`conn` is in no transaction; `people` opens the payee's name. Raises what `make_statement` raises,
    before the first piece."""
    async with conn.transaction():
        await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        statement = await make_statement(
            conn, people, payee_id=payee_id, start=start, end=end, currency=currency, at_position=at_position
        )
        write = {StatementFormat.JSON: _json, StatementFormat.CSV: _csv, StatementFormat.HTML: _html}[form]
        async for piece in write(statement, lines(conn, statement)):
            yield piece


async def _json(statement: Statement, entries: AsyncIterator[Line]) -> AsyncIterator[bytes]:
    """One document; its entries come last, as they are read."""
    yield _encode(statement_document(statement)).removesuffix(b"}") + b',"entries":['
    first = True
    async for some in _some(entries):
        yield (b"" if first else b",") + b",".join(map(_encode, some))
        first = False
    yield b"]}"


def statement_document(statement: Statement) -> dict[str, Any]:
    checkpoint = statement.checkpoint
    return {
        "payee": {"id": statement.payee_id, "name": statement.payee_name},
        "currency": statement.currency,
        "from": statement.start,
        "to": statement.end,
        "basis": {
            "time": "effective",
            "recorded_up_to": statement.position,
            "checkpoint": checkpoint.note if checkpoint is not None else None,
        },
        "opening": _standing_document(statement.opening),
        "closing": _standing_document(statement.closing),
        "payouts": [asdict(payout) for payout in statement.payouts],
    }


def _standing_document(standing: Standing) -> dict[str, int]:
    return {**asdict(standing), "owed": standing.owed}


_CSV_COLUMNS = (
    "row",
    "effective_at",
    "recorded_at",
    "position",
    "order_number",
    "order_id",
    "line_id",
    "payout_id",
    "journal_id",
    "kind",
    "purpose",
    "reason",
    "status",
    "account",
    "amount",
    "balance",
    "currency",
)


async def _csv(statement: Statement, entries: AsyncIterator[Line]) -> AsyncIterator[bytes]:
    """Rows of one width: opening, the entries, closing, payouts, as `row` says. A header comes first."""
    yield csv_lines([_CSV_COLUMNS, *_standing_rows("opening", statement.start, statement.opening, statement)])
    async for some in _some(entries):
        yield csv_lines([_entry_row(line, statement.currency) for line in some])
    closing = _standing_rows("closing", statement.end, statement.closing, statement)
    payouts = [
        _csv_row(
            row="payout",
            effective_at=payout.requested_at,
            recorded_at=payout.changed_at,
            payout_id=payout.id,
            status=payout.status,
            amount=_decimal(payout.amount, statement.currency),
            currency=statement.currency,
        )
        for payout in statement.payouts
    ]
    yield csv_lines([*closing, *payouts])


def _standing_rows(row: str, at: datetime, standing: Standing, statement: Statement) -> list[tuple[object, ...]]:
    """One for each account, as recorded up to the statement's position."""
    return [
        _csv_row(
            row=row,
            effective_at=at,
            position=statement.position,
            account=account,
            amount=_decimal(amount, statement.currency),
            balance=_decimal(standing.owed, statement.currency),
            currency=statement.currency,
        )
        for account, amount in asdict(standing).items()
    ]


def _entry_row(line: Line, currency: str) -> tuple[object, ...]:
    cells = {name: value for name, value in asdict(line).items() if name in _CSV_COLUMNS}
    cells |= {"amount": _decimal(line.amount, currency), "balance": _decimal(line.balance, currency)}
    return _csv_row(row="entry", currency=currency, **cells)


def _csv_row(**cells: object) -> tuple[object, ...]:
    return tuple(cells.get(column) for column in _CSV_COLUMNS)


def _decimal(amount: int, currency: str) -> Decimal:
    """A number, not a text: a minus sign at its beginning is no formula."""
    return Decimal(decimal_text(amount, currency))


async def _html(statement: Statement, entries: AsyncIterator[Line]) -> AsyncIterator[bytes]:
    piece: list[str] = []
    async for text in _template().generate_async(statement=statement, entries=entries):
        piece.append(text)
        if len(piece) >= 20 * _LINES_A_PIECE:
            yield "".join(piece).encode()
            piece = []
    yield "".join(piece).encode()


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("colink.projections"),
        autoescape=True,
        enable_async=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"money": _grouped, "moment": _moment, "words": lambda text: text.replace("_", " ")}
    return environment.get_template("statement.html")


def _grouped(amount: int, currency: str) -> str:
    """As people read it: `-1,234.50`."""
    return f"{Decimal(decimal_text(amount, currency)):,.{currency_exponent(currency)}f}"


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


async def _some(entries: AsyncIterator[Line]) -> AsyncIterator[list[Line]]:
    some: list[Line] = []
    async for line in entries:
        some.append(line)
        if len(some) == _LINES_A_PIECE:
            yield some
            some = []
    if some:
        yield some
