"""Columns of values as PostgreSQL array literals, to write many rows in one statement:
`INSERT ... SELECT * FROM unnest(%s::text[], %s::bigint[])`.

One text a column: the driver would dump each value by itself, which takes longer than the statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def texts(values: Sequence[str]) -> str:
    """The literal of a column of texts, whatever they hold."""
    if not values:
        return "{}"
    inside = '","'.join(values)
    if "\\" in inside or inside.count('"') != 2 * (len(values) - 1):
        inside = '","'.join([value.replace("\\", "\\\\").replace('"', '\\"') for value in values])
    return f'{{"{inside}"}}'


def numbers(values: Iterable[int]) -> str:
    """The literal of a column of integers."""
    return "{" + ",".join(map(str, values)) + "}"
