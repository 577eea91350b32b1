"""What a payee has, and what of it a payout reserves. Semantics section 7.

Consumption is first in, first out over a payee's cleared money. Think of all credits ever made to the payee's
available account (payout journals left out) as one line of money; a payout holds stretches of that line, usually one,
so it never lists entries. Debits not yet netted are netted first: the stretches of a payout are as long as its amount
plus those debits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from colink.domain.errors import Conflict, InsufficientFunds, InvalidInput


class BelowMinimum(Conflict):
    slug, title = "below-minimum", "The payout is smaller than the minimum of its account"


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

    @property
    def free(self) -> tuple[Stretch, ...]:
        """What no payout holds, oldest first: gaps that released payouts left, then the end of the line."""
        gaps, start = [], 0
        for part in self.taken:
            if part.start > start:
                gaps.append(Stretch(start=start, end=part.start))
            start = max(start, part.end)
        if self.credited > start:
            gaps.append(Stretch(start=start, end=self.credited))
        return tuple(gaps)


def plan_payout(funds: Funds, *, amount: int | None, minimum: int) -> tuple[int, tuple[Stretch, ...]]:
    """The amount of a payout and the stretches it reserves: all debits not yet netted, then the oldest free credits.

    amount None: all that is available. Only the last stretch may end before its gap does. Raises InvalidInput (an
    amount that is not above zero), InsufficientFunds (more than available, or available <= 0), BelowMinimum.
    """
    if amount is not None and amount <= 0:
        msg = f"a payout of {amount} pays nothing: ask for more than zero"
        raise InvalidInput(msg, field="amount.amount")
    if funds.balance <= 0 or (amount is not None and amount > funds.balance):
        asked = "a payout" if amount is None else f"{amount} {funds.currency}"
        msg = f"{asked} was asked for, {funds.balance} {funds.currency} (minor units) is available"
        raise InsufficientFunds(msg, field="amount")
    paid_out = funds.balance if amount is None else amount
    if paid_out < minimum:
        msg = f"{paid_out} {funds.currency} is less than the account's minimum of {minimum} (minor units)"
        raise BelowMinimum(msg, field="amount")
    return paid_out, _take(funds.free, paid_out + funds.debits_to_net)


def _take(free: Sequence[Stretch], length: int) -> tuple[Stretch, ...]:
    taken = []
    for part in free:
        if length <= 0:
            break
        end = min(part.end, part.start + length)
        taken.append(Stretch(start=part.start, end=end))
        length -= end - part.start
    if length:
        msg = f"the line of credits is {length} short of the balance: the projections disagree with the log"
        raise ValueError(msg)
    return tuple(taken)
