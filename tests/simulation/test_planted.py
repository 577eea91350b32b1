"""The simulator must be able to fail: each planted bug is found by a seed that is green without it.

The seeds are the first that find it (`python -m tests.simulation.planted NAME --seeds 50`).
"""

from __future__ import annotations

import pytest
from tests.simulation.planted import BUGS, STEPS

from colink.simulation.seeds import Ground, simulate

FOUND_BY = {
    "double-payout-on-retry": 1,
    "refund-not-cumulative": 3,
    "hold-ignored": 1,
    "window-at-arrival": 1,
    "debit-aged-like-credit": 1,
    "refund-after-the-count-unnoticed": 1,
    "tiers-by-the-running-month": 1,
    "tax-withheld-on-each-attempt": 2,
    "bounced-payment-leaves-orders-settled": 6,
    "cap-credit-before-the-seller-paid": 3,
    "erasure-forgets-an-order": 1,
    "gift-card-refund-forgets-that-it-failed": 2,
}


@pytest.mark.parametrize("name", sorted(BUGS))
def test_a_planted_bug_is_found(place: Ground, name: str) -> None:
    with BUGS[name]():
        outcome = simulate(place, seed=FOUND_BY[name], steps=STEPS)

    assert outcome.failure is not None
    assert outcome.failed_at is not None


@pytest.mark.parametrize("seed", sorted(set(FOUND_BY.values())))
def test_without_a_bug_the_same_seeds_find_nothing(place: Ground, seed: int) -> None:
    assert simulate(place, seed=seed, steps=STEPS).failure is None
