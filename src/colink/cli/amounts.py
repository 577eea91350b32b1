"""Money as people read and write it."""

from __future__ import annotations

from decimal import Decimal

import typer

from colink.domain.money import Money, currency_exponent

_MOST_DIGITS = 20


def money_text(amount: int, currency: str) -> str:
    """Minor units with their currency and its decimals: `MYR 1,234.56`, `JPY -500`."""
    exponent = currency_exponent(currency)
    return f"{currency} {Decimal(amount).scaleb(-exponent):,.{exponent}f}"


def read_money(text: str) -> Money:
    """`-1250MYR`: signed minor units."""
    money = money_in(text)
    if money is None:
        msg = f"{text!r} is no amount: write minor units and a currency, such as 1250MYR"
        raise typer.BadParameter(msg)
    return money


def money_in(text: str) -> Money | None:
    """None where it is no amount, or one that nobody has."""
    number, currency = text[:-3], text[-3:]
    if not text.isascii() or not number.removeprefix("-").isdecimal() or not currency.isalpha():
        return None
    return Money(int(number), currency.upper()) if len(number) <= _MOST_DIGITS else None
