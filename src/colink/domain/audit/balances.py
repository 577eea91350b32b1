"""Balances and payees' lines of cleared credits, folded from journals; stretches that payouts hold of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from colink.domain.ledger import Posted, payee_available, payee_of
from colink.domain.payout_funds import Stretch

BalanceKey = tuple[str, str]
"""Account and currency."""


@dataclass(slots=True)
class Balance:
    """Of one account and currency, in minor units. `debits` is below or equal zero; `credited` the length of the line
    of cleared credits; `entries` counts the postings; `position` is that of the last journal. `has_line`: the account
    is one that cleared credits go to."""

    amount: int = 0
    debits: int = 0
    credits: int = 0
    credited: int = 0
    entries: int = 0
    position: int = 0
    has_line: bool = field(default=False, compare=False, repr=False)


class BalanceBook:
    """All balances, as of the last journal added."""

    def __init__(self) -> None:
        self.balances: dict[BalanceKey, Balance] = {}

    def add(self, position: int, postings: Iterable[Posted], *, of_payout: bool) -> list[int | None]:
        """For each posting of a journal the length of the payee's line after it, None where it lengthens none. What a
        payout moves lengthens no line."""
        balances = self.balances
        lengths: list[int | None] = []
        for posting in postings:
            account, amount = posting.account, posting.amount
            key = (account, posting.currency)
            balance = balances.get(key)
            if balance is None:
                balance = balances[key] = Balance(has_line=_has_line(account))
            balance.amount += amount
            balance.entries += 1
            balance.position = position
            if amount <= 0:
                balance.debits += amount
                lengths.append(None)
                continue
            balance.credits += amount
            if balance.has_line and not of_payout:
                balance.credited += amount
                lengths.append(balance.credited)
            else:
                lengths.append(None)
        return lengths

    def join(self, later: Mapping[BalanceKey, Balance]) -> None:
        """Add what was posted in a later part of the log."""
        for key, part in later.items():
            balance = self.balances.setdefault(key, Balance())
            balance.amount += part.amount
            balance.debits += part.debits
            balance.credits += part.credits
            balance.credited += part.credited
            balance.entries += part.entries
            balance.position = part.position


class Course(NamedTuple):
    """Of one account: what a part of the log adds to it, and how low it was after any journal of that part. As shown
    on the account's normal side, in minor units, from 0."""

    total: int = 0
    lowest: int = 0

    def then(self, later: Course) -> Course:
        return Course(self.total + later.total, min(self.lowest, self.total + later.lowest))


def _has_line(account: str) -> bool:
    payee = payee_of(account)
    return payee is not None and account == payee_available(payee)


def sums(postings: Iterable[Posted]) -> dict[str, int]:
    """What the postings of a journal sum to, per currency."""
    totals: dict[str, int] = {}
    for posting in postings:
        currency = posting.currency
        totals[currency] = totals.get(currency, 0) + posting.amount
    return totals


def overlaps(held: Sequence[tuple[Stretch, str]]) -> list[tuple[str, str]]:
    """Pairs of payouts that hold the same money: each payout that starts before one before it ends, and that one."""
    found = []
    reaching: tuple[Stretch, str] | None = None
    for stretch, payout_id in sorted(held, key=lambda item: (item[0].start, item[0].end)):
        if reaching is not None and stretch.start < reaching[0].end and stretch.end > stretch.start:
            found.append((reaching[1], payout_id))
        if reaching is None or stretch.end > reaching[0].end:
            reaching = (stretch, payout_id)
    return found
