"""The chart of accounts: what kinds of account there are, and what each may hold. Semantics section 6.

An account is named `owner:id:purpose` (the platform's own without an id), and the name alone tells its kind: nobody
opens an account before it is posted to. Posting to a name that is not in the chart is refused by the domain.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from colink.domain.errors import InvalidInput


class AccountType(StrEnum):
    ASSET = "asset"
    LIABILITY = "liability"
    INCOME = "income"
    EXPENSE = "expense"


class NormalSide(StrEnum):
    """The side on which an account grows. `either`: it has none, as a position in a currency."""

    DEBIT = "debit"
    CREDIT = "credit"
    EITHER = "either"


class AccountKind(NamedTuple):
    """A line of the chart. `pattern`: how its accounts are named; `purpose`: the last part of the name.

    may_go_negative: whether its balance may end on the other side of its normal one. Where it may not, commands of
    people and payouts that would do it are refused; what follows from orders never does it.
    """

    pattern: str
    type: AccountType
    normal_side: NormalSide
    meaning: str
    may_go_negative: bool = False

    @property
    def purpose(self) -> str:
        return self.pattern.rpartition(":")[2]

    def shown(self, amount: int) -> int:
        """A signed balance (credit > 0) as a person reads it: above zero on the account's normal side."""
        return -amount if self.normal_side is NormalSide.DEBIT else amount

    def refuses(self, amount: int) -> bool:
        """Whether a signed balance (credit > 0) is one that this account may not have."""
        return not self.may_go_negative and self.shown(amount) < 0


_A, _L, _I, _E = AccountType.ASSET, AccountType.LIABILITY, AccountType.INCOME, AccountType.EXPENSE
_DR, _CR, _EITHER = NormalSide.DEBIT, NormalSide.CREDIT, NormalSide.EITHER

CHART: Final = (
    AccountKind("store:{id}:clearing", _A, _DR, "order money not settled by the store yet", may_go_negative=True),
    AccountKind("seller:{org}:receivable", _A, _DR, "owed by a seller who collects himself", may_go_negative=True),
    AccountKind("processor:{name}:cash", _A, _DR, "money at the payment provider or bank", may_go_negative=True),
    AccountKind("fx:{currency}:liquidity", _A, _EITHER, "the other leg of conversions", may_go_negative=True),
    AccountKind("processor:{name}:fees", _L, _CR, "payment fees withheld, until settlement", may_go_negative=True),
    AccountKind("payee:{id}:pending", _L, _CR, "earned, inside the holding period or held"),
    AccountKind("payee:{id}:available", _L, _CR, "cleared; below zero it is a debt", may_go_negative=True),
    AccountKind("payee:{id}:in_transit", _L, _CR, "reserved by a payout"),
    AccountKind("tax:{authority}:withheld", _L, _CR, "tax withheld, not paid to it yet", may_go_negative=True),
    AccountKind("platform:revenue", _I, _CR, "platform fees earned", may_go_negative=True),
    AccountKind("platform:expense", _E, _DR, "payout fees and other costs the platform bears"),
    AccountKind("platform:loss", _E, _DR, "write-offs"),
)

_BY_NAME = {(kind.pattern.partition(":")[0], kind.purpose): kind for kind in CHART}
_CURRENCY = re.compile(r"[A-Z]{3}").fullmatch
_GIVEN_NAMES = {  # as flows name them: rails, platforms and banks (settlements.py), authorities (withholding.py)
    "processor": re.compile(r"[a-z0-9][a-z0-9_-]{0,62}").fullmatch,
    "tax": re.compile(r"[a-z0-9_-]{1,40}").fullmatch,
}


@lru_cache(maxsize=1 << 16)  # the order path asks for the same payees, stores and platform again and again
def account_kind(account: str) -> AccountKind:
    """The line of the chart that an account belongs to. Raises InvalidInput for a name that is not in it."""
    owner, _, rest = account.partition(":")
    id_, _, purpose = rest.rpartition(":")
    kind = _BY_NAME.get((owner, purpose))
    named = rest == purpose if owner == "platform" else bool(_CURRENCY(id_)) if owner == "fx" else bool(id_)
    if kind is None or not named:
        msg = f"{account!r} is no account of the chart: those are {', '.join(each.pattern for each in CHART)}"
        raise InvalidInput(msg, field="account")
    return kind


def check_given_name(account: str) -> None:
    """For what people post: who may make up the name of a provider, bank or authority may not make up one that only
    looks like another's (`Maybank`, `maybank `), where money would lie unseen. Raises InvalidInput."""
    owner, _, rest = account.partition(":")
    named = _GIVEN_NAMES.get(owner)
    name = rest.rpartition(":")[0]
    if named is not None and not named(name):
        msg = f"{name!r} names no {owner}: its name has small letters, digits, - and _, such as maybank"
        raise InvalidInput(msg, field="account")
