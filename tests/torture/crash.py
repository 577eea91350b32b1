"""Kill anything at any moment, and see that nothing that was answered is lost and nothing happened twice.

    python -m tests.torture.crash --kills 100 [--seed N]

Under load over real HTTP, a random one of `colink serve`, `colink worker`, the postmaster and one of PostgreSQL's
backends is killed with SIGKILL and started again, as often as asked. The seed decides what is killed after how long
and what clients do; the operating system decides the rest.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.torture.judge import judge, settle
from tests.torture.load import Answers, Load
from tests.torture.machine import Machine, machine
from tests.torture.shop import open_shop

VICTIMS = ("serve", "worker", "postmaster", "backend")


@dataclass(kw_only=True)
class CrashRun:
    """What was killed, and what clients were told meanwhile."""

    seed: int
    killed: Counter[str] = field(default_factory=Counter)
    answers: Answers = field(default_factory=Answers)
    events: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        told = self.answers
        return (
            f"seed {self.seed}: {self.killed.total()} kills in {self.seconds:,.0f} s "
            f"({', '.join(f'{name} {count}' for name, count in sorted(self.killed.items()))})\n"
            f"  requests: {told.tried.total():,} tried; answered: {len(told.deliveries):,} deliveries, "
            f"{len(told.clicks):,} clicks, {len(told.links):,} links, {len(told.payouts):,} payouts "
            f"(and {len(told.payouts_refused):,} refused); given up: {told.unanswered.total():,}\n"
            f"  {self.events:,} events in the log; answered ones there once, others at most once, balances add up,\n"
            "  audit clean, projections caught up, each payout once at the provider"
        )


async def torture(on: Machine, victims: Sequence[str], *, seed: int, report: bool = False) -> CrashRun:
    """Run the load, kill the victims one after the other, judge. Raises AssertionError for whatever is wrong."""
    chance = random.Random(seed)
    found, began = CrashRun(seed=seed), time.monotonic()
    on.start_all()
    async with open_shop(on.url) as shop:
        load = Load(shop, random.Random(chance.random()))
        found.answers = load.answers
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(load.run())
            await asyncio.sleep(1.0)
            for number, victim in enumerate(victims, start=1):
                await asyncio.sleep(chance.uniform(0.0, 1.5))
                await asyncio.to_thread(_kill, on, victim, random.Random(chance.random()))
                found.killed[victim] += 1
                if report:
                    print(f"{number:>4}  {victim:<10} {load.answers.tried.total():>7,} requests", flush=True)
            await asyncio.sleep(1.0)
            load.stop()
        await asyncio.to_thread(settle, on)
        await asyncio.to_thread(judge, on, shop, load.answers)
    found.events = on.value("select count(*) from colink.events")
    found.seconds = time.monotonic() - began
    return found


def _kill(on: Machine, victim: str, chance: random.Random) -> None:
    match victim:
        case "postmaster":
            on.kill_postmaster()
            if chance.random() < 0.5:
                time.sleep(chance.uniform(0.0, 2.0))  # and sometimes the database is away for a while
            on.ensure_database()
        case "backend":
            on.kill_backend(chance.choice)
            on.ensure_database()
        case _:
            on.kill(victim)
            on.start(victim)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    chosen = parser.parse_args(arguments)
    chance = random.Random(chosen.seed)
    victims = [chance.choice(VICTIMS) for _ in range(chosen.kills)]
    print(f"seed {chosen.seed}", flush=True)
    with machine() as on:
        print(asyncio.run(torture(on, victims, seed=chosen.seed, report=True)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
