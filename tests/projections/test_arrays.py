"""Columns reach PostgreSQL as they are, whatever they hold."""

from __future__ import annotations

import pytest
from tests.projections.world import World

from colink.projections.arrays import numbers, texts

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        ["", ""],
        ["a", "b"],
        ["NULL", "null", "{}", "a,b", " a ", "{", "}"],
        ['"', '""', 'a"b', "\\", '\\"', "\\\\"],
        ['","', "a"],
        ["\n\t\x1e\x1f", "é", "🐈"],
    ],
)
async def test_texts(world: World, values: list[str]) -> None:
    assert await world.rows("SELECT %s::text[]", texts(values)) == [(values,)]


async def test_numbers(world: World) -> None:
    assert await world.rows("SELECT %s::bigint[]", numbers([0, -1, 2**63 - 1, -(2**63)])) == [
        ([0, -1, 2**63 - 1, -(2**63)],)
    ]
    assert await world.rows("SELECT %s::bigint[]", numbers([])) == [([],)]
