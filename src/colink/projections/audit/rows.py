"""Rows of tables compared with what the log says: read a few thousand at a time, or by their keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import fields
from itertools import count
from typing import Any, LiteralString

from psycopg.rows import TupleRow

from colink.domain.audit.report import Kind, PassResult, Status
from colink.projections.audit.reading import WindowReader
from colink.projections.engine import Connection

_ROWS_A_TRIP = 2_000
_numbers = count(1)


def compare_rows(
    reader: WindowReader, result: PassResult, table: LiteralString, key: LiteralString, states: Mapping[str, Any]
) -> None:
    """The rows of these keys say exactly what was folded; `states` are dataclasses with the columns as fields."""
    if not states:
        return
    result.checked += len(states)
    names = [column.name for column in fields(next(iter(states.values())))]
    rows = {
        row[names.index(key)]: row
        for row in reader.rows(f"SELECT {', '.join(names)} FROM colink.{table} WHERE {key} = ANY(%s)", list(states))
    }
    for id_, state in states.items():
        row = rows.get(id_)
        if row is None:
            result.find(Kind.MISSING, state.position, id_, f"{id_} has no row in {table}")
            continue
        for name, recorded in zip(names, row, strict=True):
            derived = getattr(state, name)
            if recorded != derived:
                result.find(
                    Kind.CHANGED,
                    state.position,
                    id_,
                    f"{name} of {id_} in {table} is not what the log says",
                    recorded=recorded,
                    derived=derived,
                )


async def find_extra_rows(
    conn: Connection, result: PassResult, table: LiteralString, key: LiteralString, topics: Collection[str]
) -> None:
    """Rows of keys of which the log has no events of these topics: another thing's stream explains no row. `result`
    is that of `compare_rows` over the whole log."""
    counted = await (await conn.execute(f"SELECT count(*) FROM colink.{table}")).fetchone()
    if counted == (result.checked,) and result.status is Status.PASSED:
        return  # each that must be there is, and there are no more; looking for them would read the log once more
    rows = each_row(
        conn,
        f"SELECT t.position, t.{key} FROM colink.{table} t"
        f" WHERE NOT EXISTS (SELECT FROM colink.events e WHERE e.stream_id = t.{key}"
        " AND e.topic = ANY(%s)) ORDER BY 1",
        (list(topics),),
    )
    async for position, id_ in rows:
        result.find(Kind.EXTRA, position, id_, f"{id_} in {table} follows from no event")


async def each_row(conn: Connection, query: LiteralString, values: Sequence[object] = ()) -> AsyncIterator[TupleRow]:
    """The rows of a query, a few thousand in memory at a time."""
    async with conn.cursor(name=f"audit_{next(_numbers)}") as cursor:
        cursor.itersize = _ROWS_A_TRIP
        await cursor.execute(query, values)
        async for row in cursor:
            yield row
