"""Tax withheld from sellers' payouts, where an operator switched it on. Semantics sections 6 and 7.

What stands when a payout is approved serves it for ever; one that was handed to a provider once keeps what it was
approved with before.
"""

from __future__ import annotations

from typing import Any

from colink.simulation.model.amounts import half_even

Facts = dict[str, Any]


class Withholding:
    """`settings` of a seller and currency: authority, rate_bps (0: off) and threshold."""

    def __init__(self) -> None:
        self.settings: dict[tuple[str, str], Facts] = {}

    def switch(self, seller: str, currency: str, *, authority: str, rate_bps: int, threshold: int) -> None:
        self.settings[seller, currency] = {"authority": authority, "rate_bps": rate_bps, "threshold": threshold}

    def of(self, payee: str, currency: str, amount: int) -> Facts | None:
        """`{authority, amount, withheld}` of a payout of that amount; None where no tax is due. A payout below the
        threshold is not taxed, one that reaches it is taxed whole."""
        settings = self.settings.get((payee, currency))
        if settings is None or amount < settings["threshold"]:
            return None
        tax = half_even(amount * settings["rate_bps"], 10_000)
        return {"authority": settings["authority"], "amount": tax, "withheld": False} if tax else None
