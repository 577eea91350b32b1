"""The memory of `serve` and `worker` does not grow with what they have done. The long form: `make soak`."""

from __future__ import annotations

import asyncio

from tests.torture.machine import machine
from tests.torture.soak import soak


def test_memory_is_flat() -> None:
    """A leak of 1 kB an order would be seen, in either process."""
    with machine(fsync="off") as on:
        found = asyncio.run(soak(on, orders=4_500, rounds=3))
    assert found.is_flat, str(found)
