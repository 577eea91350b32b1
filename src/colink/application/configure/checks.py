"""What setup commands check alike: texts, numbers, money, and who owns what a request refers to.

Raises InvalidInput naming the field for a value or reference that cannot be, NotFound for what belongs to another.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TypeVar

from colink.application.ports import Facts, Request
from colink.domain.errors import InvalidInput, NotFound
from colink.domain.money import MAX_AMOUNT, Money, currency_exponent
from colink.domain.organizations import OrganizationDetails

D = TypeVar("D")

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_HOST = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*(:\d{1,5})?"
)


@dataclass(frozen=True, kw_only=True)
class Setup(Request):
    """A setup command. `within`: the organisation its caller is bound to, None for one who sees everything."""

    within: str | None = None

    def check_within(self, organization_id: str | None, *, what: str) -> None:
        """Raises NotFound for what belongs to an organisation that the caller does not see."""
        if self.within is not None and organization_id != self.within:
            msg = f"there is no such {what}"
            raise NotFound(msg)

    def organization(self, facts: Facts, organization_id: str) -> OrganizationDetails:
        """The organisation a request names in `organization_id`."""
        self.check_within(organization_id, what="organization")
        return referenced(facts, OrganizationDetails, organization_id, field="organization_id")


def referenced(facts: Facts, type_: type[D], id_: str, *, field: str) -> D:
    """What a request refers to by id. Raises InvalidInput naming the field where there is none."""
    found = facts.document(type_, id_)
    if found is None:
        msg = f"{field} {id_!r} is unknown"
        raise InvalidInput(msg, field=field)
    return found


def check_text(value: str, *, field: str, longest: int = 200) -> str:
    """The text without surrounding white space: 1 to `longest` printable characters, not all of them invisible."""
    text = value.strip()
    if not text or len(text) > longest:
        msg = f"{field} must have 1 to {longest} characters"
        raise InvalidInput(msg, field=field)
    if _UNPRINTABLE.search(text):
        msg = f"{field} must not hold control characters"
        raise InvalidInput(msg, field=field)
    if all(
        unicodedata.category(character)[0] == "Z" or unicodedata.category(character) == "Cf" for character in text
    ):
        msg = f"{field} must hold something that can be seen"
        raise InvalidInput(msg, field=field)
    return text


def check_range(value: int, *, field: str, least: int, most: int) -> int:
    if not least <= value <= most:
        msg = f"{field} must be {least} to {most}, not {value}"
        raise InvalidInput(msg, field=field)
    return value


def check_money(value: Money, *, field: str) -> Money:
    """A known currency and an amount of 0 to 10^15 minor units."""
    try:
        currency_exponent(value.currency)
    except InvalidInput as error:
        raise InvalidInput(error.detail, field=f"{field}.currency") from None
    check_range(value.amount, field=f"{field}.amount", least=0, most=MAX_AMOUNT)
    return value


def check_host(value: str, *, field: str) -> str:
    """A bare host name in lower case, with a port where it has one."""
    host = value.strip().lower()
    if not _HOST.fullmatch(host):
        msg = f"{field} must be a bare host name such as shop.example.com"
        raise InvalidInput(msg, field=field)
    return host
