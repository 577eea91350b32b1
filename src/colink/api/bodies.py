"""Building blocks of request bodies: types that refuse what could be misread.

Integers are no floats, texts or booleans; texts hold no NUL and no lone surrogates; times carry an offset and become
UTC; fields we do not know are ignored. What values mean is checked by the commands, so that the command line has the
same rules.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError

from colink.domain.errors import InvalidInput
from colink.domain.money import MAX_AMOUNT, Money, currency_exponent

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)")


def clean_text(value: str) -> str:
    if _FORBIDDEN.search(value):
        raise PydanticCustomError("control_characters", "must not hold NUL or other control characters")
    return value


def clean_json(value: Any) -> Any:
    """Free-form JSON: the same refusal of texts at any depth, keys too."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(key): clean_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clean_json(item) for item in value]
    return value


def read_moment(value: object) -> datetime:
    """RFC 3339 with an offset, as UTC."""
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise PydanticCustomError("moment", "must be an RFC 3339 time with an offset, such as 2026-01-31T00:00:00Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise PydanticCustomError("moment", "is not a time of the calendar") from None


def check_currency(value: str) -> str:
    try:
        currency_exponent(value)
    except InvalidInput:
        raise PydanticCustomError("currency", "must be an ISO 4217 code such as MYR") from None
    return value


Int = Annotated[int, Strict(), Field(ge=-(2**53), le=2**53)]
Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), Field(min_length=1, max_length=2_000), AfterValidator(clean_text)]
Id = Annotated[str, Strict(), Field(min_length=1, max_length=400), AfterValidator(clean_text)]
Currency = Annotated[str, Strict(), Field(min_length=3, max_length=3), AfterValidator(check_currency)]
Moment = Annotated[datetime, BeforeValidator(read_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
FreeJson = Annotated[dict[str, Any], AfterValidator(clean_json)]


class Body(BaseModel):
    """The base of every request body. Fields it does not know are ignored: what is set up is often copied whole from
    elsewhere."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class ExactBody(Body):
    """Of what decides about money, where a field that is misspelt must not count as left out: a cap that nobody
    notices is missing, a payout of everything in place of an amount."""

    model_config = ConfigDict(extra="forbid")


class MoneyBody(ExactBody):
    """`{"amount": 4997, "currency": "MYR"}`, in minor units."""

    amount: Annotated[int, Strict(), Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT)]
    currency: Currency

    def money(self) -> Money:
        return Money(self.amount, self.currency)
