"""The log has one order and nobody reading along misses any of it, whatever happens to the writers.

The long form, and the same for the stock library: see gaps.py.
"""

from __future__ import annotations

from tests.conftest import TestDatabase
from tests.torture.gaps import our_run


def test_nothing_is_missed_and_nothing_comes_out_of_order(database: TestDatabase) -> None:
    found = our_run(database, seconds=4.0, seed=20260301)
    print(found)
    assert found.missed == {"subscription": 0, "engine": 0}
    assert found.out_of_order == {"subscription": 0, "engine": 0}
    assert found.gapless
    assert found.events > 100
    assert found.slow > 0
    assert found.rolled_back > 0
