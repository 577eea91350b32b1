"""Columns of values as PostgreSQL array literals, to write many rows in one statement:
`INSERT ... SELECT * FROM unnest(%s::text[], %s::bigint[])`.

One text a column: the driver would dump each value by itself, which takes longer than the statement.
"""

from __future__ import annotations

from collections.abc import Iterable


def array(values: Iterable[str | int | None]) -> str:
    """The literal of one column. Cast it to the array's type where it is used."""
    return "{" + ",".join([_element(value) for value in values]) + "}"


def _element(value: str | int | None) -> str:
    if type(value) is str:
        if '"' in value or "\\" in value:
            value = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{value}"'
    return "NULL" if value is None else str(value)
