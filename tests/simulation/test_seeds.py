"""Promise: whatever a business goes through, every account stands where the semantics say, at every step."""

from __future__ import annotations

import pytest

from colink.simulation.seeds import Ground, simulate


@pytest.mark.parametrize("seed", [2, 6, 7])
def test_a_business_ends_as_predicted(place: Ground, seed: int) -> None:
    outcome = simulate(place, seed=seed, steps=300)

    assert outcome.failure is None, f"colink simulate --seed {seed} --steps 300: {outcome.failure}"
    assert outcome.orders > 50
    assert outcome.events > outcome.orders


def test_a_seed_lives_the_same_life_every_time(place: Ground) -> None:
    first, second = (simulate(place, seed=6, steps=400) for _ in range(2))

    assert first.crashes > 0, "the seed has to be one in which the service is killed"
    assert first == second
    assert first.digest != simulate(place, seed=5, steps=400).digest
