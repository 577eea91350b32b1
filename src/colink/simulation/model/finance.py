"""What finance books by hand of what payees and sellers own or owe. Semantics section 6."""

from __future__ import annotations

from colink.simulation.model.balances import Balances, Change


class Finance:
    def __init__(self, balances: Balances) -> None:
        self.balances = balances

    def write_off(self, account: str, currency: str, amount: int) -> Change:
        """What somebody owes is given up."""
        return self.balances.book({("platform:loss", currency): -amount, (account, currency): amount})

    def convert(self, payee: str, amount: int, currency: str, taken: int, into: str) -> Change:
        account = f"payee:{payee}:available"
        return self.balances.book(
            {
                (account, currency): -amount,
                (f"fx:{currency}:liquidity", currency): amount,
                (f"fx:{into}:liquidity", into): -taken,
                (account, into): taken,
            }
        )
