"""Each kind of process is killed once under load. The long form: `make crash`."""

from __future__ import annotations

import asyncio
import random

from tests.torture.crash import VICTIMS, torture
from tests.torture.machine import machine


def test_nothing_answered_is_lost_and_nothing_happens_twice() -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}: the long form takes it by --seed")
    victims = random.Random(seed).sample(VICTIMS, k=len(VICTIMS))
    with machine() as on:
        found = asyncio.run(torture(on, victims, seed=seed))
    print(found)
    assert found.killed.total() == len(VICTIMS)
    assert found.answers.deliveries
    assert found.answers.payouts
