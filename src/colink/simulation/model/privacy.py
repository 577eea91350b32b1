"""Who was erased, and what of whom can still be read. Semantics section 9; decision 24 says what is sealed for whom.

Everything told of somebody is kept under its owner: a creator or an organisation, an order (the bodies about it), or
a delivery that tells of no order. An erasure takes all that is kept under the owners it means; what is told later is
kept again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Facts = dict[str, Any]
Owner = str | tuple[str, str]
"""The id of a payee, or store and number of an order."""

_FINAL = {"rejected", "cancelled", "failed", "returned", "paid"}


class Privacy:
    """`readable`: by owner, then by the name of the thing, what it says. `erased`: payees. Of the model's `payouts`
    and `orders` it reads who gets them and who bought."""

    def __init__(self, payouts: Mapping[str, Facts], orders: Mapping[tuple[str, str], Any], erased: set[str]) -> None:
        self.payouts = payouts
        self.orders = orders
        self.readable: dict[Owner, dict[str, Any]] = {}
        self.erased = erased
        self._kept: set[tuple[Owner, str]] = set()

    def keep(self, owner: Owner, name: str, value: Any) -> None:
        """Once: the same told again is nothing new."""
        if (owner, name) not in self._kept:
            self._kept.add((owner, name))
            self.readable.setdefault(owner, {})[name] = value

    def orders_of(self, address: str) -> list[tuple[str, str]]:
        """A buyer's orders of which something can be read."""
        return [
            key
            for key, order in self.orders.items()
            if key in self.readable
            and any(each["email"] == address.strip().lower() for each in order.told.snapshots.values())
        ]

    def wrong_with_erasing(self, payee: str) -> set[str]:
        wrong = set()
        if any(each["payee"] == payee and each["status"] not in _FINAL for each in self.payouts.values()):
            wrong.add("payout-under-way")
        if payee not in self.readable:
            wrong.add("not-found")
        return wrong

    def erase_payee(self, payee: str) -> None:
        self.erased.add(payee)
        del self.readable[payee]

    def erase_buyer(self, address: str) -> None:
        for owner in self.orders_of(address):
            del self.readable[owner]
