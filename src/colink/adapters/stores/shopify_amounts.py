"""Shopify's amounts: shop money in major units, of the `_set` twin where there is one, else of the plain field."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from colink.adapters.stores.reading import Reader, shown
from colink.domain.errors import InvalidInput
from colink.domain.money import MAX_AMOUNT, currency_exponent

_LARGEST_EXPONENT = 4


@dataclass(frozen=True)
class Amounts:
    """Reads amounts in major units of the shop's currency; None where the body tells no currency."""

    currency: str | None

    def of(self, reader: Reader, key: str, *, default: Decimal | None = None) -> Decimal:
        amount = self.signed(reader, key, default=default)
        if amount < 0:
            reader.fail(key, "expected an amount of zero or more")
        return amount

    def signed(self, reader: Reader, key: str, *, default: Decimal | None = None) -> Decimal:
        """Shop money of the twin `{key}_set`, else the plain field, else `default`."""
        shop_money = shop_money_of(reader, f"{key}_set")
        if shop_money is not None:
            self.check_currency(shop_money, "currency_code")
            amount = shop_money.decimal_or_none("amount")
        else:
            amount = reader.decimal_or_none(key)
        if amount is None:
            amount = default
        if amount is None:
            reader.fail(key, "expected an amount, got none")
        exponent = _LARGEST_EXPONENT if self.currency is None else currency_exponent(self.currency)
        if abs(amount) > Decimal(MAX_AMOUNT).scaleb(-exponent):
            reader.fail(key, "the amount is absurdly large: more than 10^15 minor units")
        return amount

    def check_currency(self, reader: Reader, key: str) -> None:
        currency = reader.text_or_none(key)
        if currency is not None and self.currency is not None and currency != self.currency:
            reader.fail(key, f"the amount is in {shown(currency)}, the shop's money is {self.currency}")


def shop_money_of(reader: Reader, key: str) -> Reader | None:
    twin = reader.object_or_none(key)
    return None if twin is None else twin.object_or_none("shop_money")


def currency_of(reader: Reader, key: str) -> str:
    currency = reader.text(key)
    try:
        currency_exponent(currency)
    except InvalidInput as error:
        reader.fail(key, error.detail)
    return currency
