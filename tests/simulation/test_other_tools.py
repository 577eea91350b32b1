"""Promise: whatever a business goes through, hledger and beancount find its exported books in order, and the balances
they come to are those that the model predicts, to the minor unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest
from tests.projections.exports.other_tools import Balances, check_exports

from colink.simulation.seeds import Ground, simulate

BUSINESSES = 20
STEPS = 250


@pytest.mark.parametrize("seed", range(101, 101 + BUSINESSES))
def test_other_tools_find_what_the_model_predicts(place: Ground, tmp_path: Path, seed: int) -> None:
    looked_at: list[Balances] = []

    async def visit(dsn: str, predicted: Mapping[tuple[str, str], int]) -> None:
        looked_at.append(await check_exports(dsn, tmp_path))
        assert looked_at == [{key: amount for key, amount in predicted.items() if amount}]
        if seed % 5 == 0:
            cut = Random(seed).randint(100, 300)
            await check_exports(dsn, tmp_path, from_position=cut)
            await check_exports(dsn, tmp_path, to_position=cut)

    outcome = simulate(place, seed=seed, steps=STEPS, visit=visit)

    assert outcome.failure is None, f"colink simulate --seed {seed} --steps {STEPS}: {outcome.failure}"
    assert len(looked_at[0]) > 10
