"""Allocation and rounding: parts always sum to the whole, nobody gains more than a unit, signs mirror each other."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colink.domain.errors import InvalidInput
from colink.domain.money import allocate, currency_exponent, minor_units, round_half_even, share_of

AMOUNTS = st.integers(min_value=-(10**15), max_value=10**15)
WEIGHTS = st.lists(st.integers(min_value=0, max_value=10**12), min_size=1, max_size=20)


@given(total=AMOUNTS, weights=WEIGHTS)
def test_allocation_is_whole_fair_and_sign_symmetric(total: int, weights: list[int]) -> None:
    parts = allocate(total, weights)
    assert sum(parts) == total
    assert parts == [-part for part in allocate(-total, weights)]
    if any(weights):
        for part, weight in zip(parts, weights, strict=True):
            assert abs(part - Fraction(total * weight, sum(weights))) < 1
            assert weight or part == 0


@given(
    total=st.integers(-(10**15), 10**15),
    weights=st.lists(st.integers(0, 10**12), min_size=1, max_size=12),
    factor=st.integers(1, 1000),
)
def test_an_allocation_is_the_same_again_mirrored_and_in_other_units(
    total: int, weights: list[int], factor: int
) -> None:
    parts = allocate(total, weights)
    assert allocate(total, weights) == parts
    assert allocate(-total, weights) == [-part for part in parts]
    assert allocate(total, [weight * factor for weight in weights]) == parts


def test_left_over_units_go_to_the_largest_remainders_and_ties_to_the_earlier_line() -> None:
    assert allocate(2935, [19566, 19567, 19567]) == [978, 979, 978]
    assert allocate(5870, [19566, 19567, 19567]) == [1956, 1957, 1957]
    assert allocate(1, [1, 1, 1]) == [1, 0, 0]


def test_a_total_over_zero_bases_goes_to_the_first_line() -> None:
    assert allocate(75, [0, 0]) == [75, 0]
    assert allocate(0, []) == []
    with pytest.raises(ValueError, match="no parts"):
        allocate(5, [])


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [(5, 2, 2), (7, 2, 4), (-5, 2, -2), (-7, 2, -4), (1, 3, 0), (10**30 + 1, 2, 5 * 10**29)],
)
def test_rounding_is_half_even(numerator: int, denominator: int, expected: int) -> None:
    assert round_half_even(numerator, denominator) == expected


def test_a_rate_is_exact_basis_points() -> None:
    assert share_of(58700, rate_bps=500) == 2935
    assert share_of(150, rate_bps=3333) == 50  # 49.995


@pytest.mark.parametrize(("code", "exponent"), [("MYR", 2), ("JPY", 0), ("VND", 0), ("KWD", 3)])
def test_exponents_come_from_the_currency_data(code: str, exponent: int) -> None:
    assert currency_exponent(code) == exponent


@pytest.mark.parametrize("code", ["XXZ", "", "myr", "XAU"])
def test_what_has_no_minor_units_is_refused(code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        currency_exponent(code)
    assert caught.value.field == "currency"


@pytest.mark.parametrize(
    ("major", "currency", "minor"),
    [
        ("195.66", "USD", 19566),
        ("1.005", "USD", 100),
        ("1.015", "USD", 102),
        ("1500", "JPY", 1500),
        ("1.2345", "KWD", 1234),
    ],
)
def test_major_units_are_rounded_once_half_even(major: str, currency: str, minor: int) -> None:
    assert minor_units(Decimal(major), currency) == minor
