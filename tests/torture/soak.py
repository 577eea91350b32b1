"""Do `colink serve` and `colink worker` grow with what they have done?

    python -m tests.torture.soak --orders 60000

An hour's load, compressed: orders with a 7 kB body and clicks over real HTTP, as many as fit. Memory is measured
after a third of them, when caches are warm and pools have grown, and again at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil
from tests.torture.flood import Caller
from tests.torture.judge import settle
from tests.torture.machine import Machine, machine
from tests.torture.shop import BROWSER, Shop, open_shop

CALLERS = 32
CLICKS = 3  # after so many orders there is a click
MOST = 768  # bytes an order that memory may seem to grow: noise is a part of that, a leak of 1 kB an order is more
BODY = 4_500  # bytes of padding: a body of 7 kB


@dataclass(frozen=True, kw_only=True)
class Soaked:
    """`first`, `last`: resident bytes by process, before and after `orders`."""

    orders: int
    seconds: float
    first: dict[str, int]
    last: dict[str, int]

    @property
    def is_flat(self) -> bool:
        return all(self.growth(name) < MOST for name in self.first)

    def growth(self, name: str) -> int:
        """Bytes an order."""
        return (self.last[name] - self.first[name]) // self.orders

    def __str__(self) -> str:
        grown = (
            f"{name} {first / 2**20:.1f} -> {self.last[name] / 2**20:.1f} MB ({self.growth(name):,} bytes an order)"
            for name, first in self.first.items()
        )
        return f"{self.orders:,} orders in {self.seconds:,.0f} s: {'; '.join(grown)}"


async def soak(on: Machine, *, orders: int, rounds: int = 1, report: bool = False) -> Soaked:
    """Warm up with a third of `orders`, then measure over the rest. What an allocator keeps once it does not take
    again, a leak does: what was not flat is measured again, over as many orders, in `rounds` rounds at most. Returns
    the last of them."""
    on.start_all()
    processes = {name: psutil.Process(on.pid(name)) for name in ("serve", "worker")}
    done = 0

    def resident() -> dict[str, int]:
        return {name: process.memory_info().rss for name, process in processes.items()}

    async with open_shop(on.url) as shop:

        async def work(count: int) -> dict[str, int]:
            nonlocal done
            parts = 10 if report else 1
            for part in range(parts):
                await _work(on, shop, range(done + part * count // parts + 1, done + (part + 1) * count // parts + 1))
                await asyncio.to_thread(settle, on)
                if report:
                    told = ", ".join(f"{name} {rss / 2**20:.1f} MB" for name, rss in resident().items())
                    print(f"{done + (part + 1) * count // parts:>8,} orders: {told}", flush=True)
            done += count
            return resident()

        last = await work(orders // 3)
        for _ in range(rounds):
            began, first = time.monotonic(), last
            measured = orders - orders // 3
            last = await work(measured)
            found = Soaked(orders=measured, seconds=time.monotonic() - began, first=first, last=last)
            if found.is_flat:
                break
    return found


async def _work(on: Machine, shop: Shop, orders: range) -> None:
    numbers = iter(orders)

    async def call() -> None:
        caller = await Caller.connect(on.port)
        for number in numbers:
            told = await caller.deliver(shop.store_id, shop.order(number, padding=BODY))
            assert told.status == 200, told
            if number % CLICKS == 0:
                assert (await caller.ask("GET", f"/l/{shop.code}", BROWSER)).status == 302
        caller.close()

    await asyncio.gather(*(call() for _ in range(CALLERS)))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=60_000)
    chosen = parser.parse_args(arguments)
    with machine() as on:
        found = asyncio.run(soak(on, orders=chosen.orders, report=True))
    print(found)
    return 0 if found.is_flat else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
