"""Sums of money are `numeric` in the database, so that none overflows, and `int` here: they are whole.

Responsible for how a connection reads `numeric`; whoever opens one calls `read_whole_numbers`.
"""

from __future__ import annotations

from decimal import Decimal

from psycopg import AsyncConnection, Connection
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.rows import TupleRow


class _NumberLoader(Loader):
    def load(self, data: Buffer) -> int | Decimal:
        text = bytes(data)
        return int(text) if text.lstrip(b"-").isdigit() else Decimal(text.decode())


def read_whole_numbers(connection: Connection[TupleRow] | AsyncConnection[TupleRow]) -> None:
    connection.adapters.register_loader("numeric", _NumberLoader)
