"""Money as people read it."""

from __future__ import annotations

from decimal import Decimal

from colink.domain.money import currency_exponent


def money_text(amount: int, currency: str) -> str:
    """Minor units with their currency and its decimals: `MYR 1,234.56`, `JPY -500`."""
    exponent = currency_exponent(currency)
    return f"{currency} {Decimal(amount).scaleb(-exponent):,.{exponent}f}"
