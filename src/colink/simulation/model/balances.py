"""What every account holds, as predicted: one journal after the other added up."""

from __future__ import annotations

Change = dict[tuple[str, str], int]
"""What a step changes: `{(account, currency): signed amount}`."""


class Balances:
    """`amounts` of every account and currency that was ever touched."""

    def __init__(self) -> None:
        self.amounts: Change = {}

    def of(self, account: str, currency: str) -> int:
        return self.amounts.get((account, currency), 0)

    def available(self, payee: str, currency: str) -> int:
        return self.of(f"payee:{payee}:available", currency)

    def book(self, changed: Change) -> Change:
        """Adds it, and returns it."""
        add(self.amounts, changed)
        return changed


def add(total: Change, change: Change) -> None:
    for key, amount in change.items():
        total[key] = total.get(key, 0) + amount
