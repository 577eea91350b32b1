"""Integers only: rounding, allocating, and reading what platforms write. Semantics section 1."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

DECIMALS = {"JPY": 0, "VND": 0, "MYR": 2, "SGD": 2, "KWD": 3}
_FINE = 6  # decimals of a major unit that amounts are summed with before they are rounded
_MAJOR = 1_000_000
_SCALE = {currency: int(f"1{'0' * (_FINE - decimals)}") for currency, decimals in DECIMALS.items()}


def half_even(numerator: int, denominator: int) -> int:
    """numerator / denominator, rounded half to even."""
    whole, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1):
        whole += 1
    return whole


def shared_out(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in proportion to the weights, floored; what is left goes to the largest remainders, ties to the
    earlier. All weights zero: nothing is shared out."""
    weight = sum(weights)
    if weight == 0:
        return [0] * len(weights)
    shares = [total * each // weight for each in weights]
    remainders = [total * each % weight for each in weights]
    by_remainder = sorted(range(len(weights)), key=lambda n: (-remainders[n], n))
    for n in by_remainder[: total - sum(shares)]:
        shares[n] += 1
    return shares


def fine(text: str | None) -> int:
    """A decimal text in millionths of a major unit, exactly; nothing is zero."""
    if text is None:
        return 0
    sign = -1 if text.startswith("-") else 1
    whole, _, part = text.lstrip("-").partition(".")
    if len(part) > _FINE:
        msg = f"{text} is finer than this model reads"
        raise ValueError(msg)
    return sign * (int(whole) * _MAJOR + int(part.ljust(_FINE, "0") or 0))


def minor(millionths: int, currency: str) -> int:
    """Minor units, rounded once."""
    return half_even(millionths, _SCALE[currency])


def converted(amount: int, currency: str, into: str, rate: str) -> int:
    """Minor units of another currency, rounded once; a rate has any number of decimals."""
    whole, _, part = rate.partition(".")
    return half_even(amount * int(whole + part) * _SCALE[currency], int(f"1{'0' * len(part)}") * _SCALE[into])


def seconds(text: str) -> int:
    """An ISO time in whole seconds since 1970."""
    return int(datetime.fromisoformat(text).timestamp())
