"""Our account names in the words of hledger and beancount, and back: nothing is lost and no two names become one.

    payee:cre_1:available   hledger    liabilities:payee:cre_1:available       other characters as in URLs (%2F)
                            beancount  Liabilities:Payee:Cre-5F1:Available     other characters as -2F

The first word is the type of the account in our chart. beancount wants each part to begin with a capital letter or a
digit and to hold letters, digits and dashes only: a small first letter becomes a capital one, and a part that begins
with anything else gets `X--` in front.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, unquote

from colink.domain.accounts import AccountType, account_kind
from colink.domain.errors import InvalidInput

_ROOTS = {
    AccountType.ASSET: "assets",
    AccountType.LIABILITY: "liabilities",
    AccountType.INCOME: "income",
    AccountType.EXPENSE: "expenses",
}
OUTSIDE = "equity"
"""What is not in the chart, if anything ever is, and where opening balances come from."""
_ESCAPED = re.compile(r"-([0-9A-F]{2})")
_FOREIGN = "X--"


@lru_cache(maxsize=1 << 16)
def hledger_name(account: str) -> str:
    return f"{_root(account)}:{quote(account, safe=':_-.')}"


def from_hledger(name: str) -> str:
    return unquote(name.partition(":")[2])


@lru_cache(maxsize=1 << 16)
def beancount_name(account: str) -> str:
    return ":".join([_root(account).capitalize(), *(_beancount_part(part) for part in account.split(":"))])


def from_beancount(name: str) -> str:
    return ":".join(_from_beancount_part(part) for part in name.split(":")[1:])


def _root(account: str) -> str:
    try:
        return _ROOTS[account_kind(account).type]
    except InvalidInput:
        return OUTSIDE


def _beancount_part(part: str) -> str:
    escaped = "".join(
        character
        if character.isascii() and character.isalnum()
        else "".join(f"-{byte:02X}" for byte in character.encode())
        for character in part
    )
    if "a" <= part[:1] <= "z":
        return escaped[0].upper() + escaped[1:]
    return _FOREIGN + escaped


def _from_beancount_part(part: str) -> str:
    escaped = part.removeprefix(_FOREIGN) if part.startswith(_FOREIGN) else part[:1].lower() + part[1:]
    raw = _ESCAPED.sub(lambda found: f"%{found[1]}", escaped)
    return unquote(raw)
