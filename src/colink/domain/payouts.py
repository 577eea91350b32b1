"""Payouts: reserving cleared money, once, and following it to the payee. Semantics section 7.

Consumption is first in, first out over a payee's cleared money. Think of all credits ever made to the payee's
available account (payout journals left out) as one line of money; a payout holds stretches of that line, usually one,
so it never lists entries. Debits not yet netted are netted first: the stretches of a payout are as long as its amount
plus those debits.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A part [start, end) of a payee's line of cleared credits, in minor units."""

    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Funds:
    """What a payee has in one currency.

    balance: of the available account (signed); version: of its balance row, 0 where there is none; credited: length
    of the line of cleared credits; taken: the stretches that live and paid payouts hold, ordered, not overlapping.
    """

    payee_id: str
    currency: str
    balance: int
    version: int
    credited: int
    taken: tuple[Stretch, ...]

    @property
    def debits_to_net(self) -> int:
        """Debits that no payout has netted yet."""
        return self.credited - sum(part.end - part.start for part in self.taken) - self.balance
