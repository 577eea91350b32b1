"""Money: integer minor units plus an ISO 4217 code, and the only two ways it is ever rounded or divided.

Semantics section 1. Rounding is half-to-even and happens once; a rounded total is then allocated to its parts by
largest remainder, so that parts always sum to the whole. No float touches money.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import cache

from iso4217 import Currency

from colink.domain.errors import InvalidInput

FULL_BPS = 10_000
MAX_AMOUNT = 10**15  # minor units; beyond it an amount is absurd and refused at the edge
_EXACT = Context(prec=60)


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units of one currency. JSON: `{"amount": 4997, "currency": "MYR"}`."""

    amount: int
    currency: str


@cache
def currency_exponent(currency: str) -> int:
    """Decimals of a currency (MYR 2, JPY 0, KWD 3). Raises InvalidInput for an unknown code."""
    try:
        exponent = Currency(currency).exponent
    except ValueError:
        exponent = None
    if exponent is None:
        msg = f"unknown currency {currency!r}: give an ISO 4217 code such as MYR"
        raise InvalidInput(msg, field="currency")
    return int(exponent)


def decimal_text(amount: int, currency: str) -> str:
    """Minor units as a number with the decimals of the currency: 1234 MYR is `12.34`, -500 JPY `-500`."""
    exponent = currency_exponent(currency)
    digits = str(abs(amount)).rjust(exponent + 1, "0")
    point = len(digits) - exponent
    return f"{'-' if amount < 0 else ''}{digits[:point]}{'.' if exponent else ''}{digits[point:]}"


def minor_units(major: Decimal, currency: str) -> int:
    """Major units (exact, any number of decimals) to minor units, rounded once, half-to-even."""
    return int(major.scaleb(currency_exponent(currency), context=_EXACT).to_integral_value(rounding=ROUND_HALF_EVEN))


def round_half_even(numerator: int, denominator: int) -> int:
    """`numerator / denominator` to the nearest integer, ties to even. The denominator is positive."""
    whole, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return whole + 1 if twice > denominator or (twice == denominator and whole % 2) else whole


def share_of(amount: int, *, rate_bps: int) -> int:
    """A rate in basis points of an amount, rounded once."""
    return round_half_even(amount * rate_bps, FULL_BPS)


def allocate(total: int, weights: Sequence[int]) -> list[int]:
    """Divide `total` in proportion to non-negative `weights`; the parts sum to the total exactly.

    Each part is floored, the units left over go to the largest remainders, ties to the earlier part. A zero weight
    gets zero; if all weights are zero the total goes to the first part. A negative total is the mirror image of the
    positive one. Raises ValueError when there is something to divide and nobody to take it.
    """
    if not weights:
        if total == 0:
            return []
        msg = "cannot allocate money to no parts"
        raise ValueError(msg)
    if total == 0:
        return [0] * len(weights)
    if total < 0:
        return [-part for part in allocate(-total, weights)]
    whole = sum(weights)
    if whole == 0:
        return [total] + [0] * (len(weights) - 1)
    parts = [total * weight // whole for weight in weights]
    left_over = total - sum(parts)
    if left_over:
        remainders = [total * weight % whole for weight in weights]
        # Sorting is stable, reversed too: of equal remainders the earlier part comes first.
        for index in sorted(range(len(weights)), key=remainders.__getitem__, reverse=True)[:left_over]:
            parts[index] += 1
    return parts
