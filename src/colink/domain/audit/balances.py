"""Balances and payees' lines of cleared credits, folded from journals; stretches that payouts hold of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from colink.domain.ledger import JournalPosted, payee_available, payee_of
from colink.domain.payouts import Stretch


@dataclass(slots=True)
class Balance:
    """Of one account and currency, in minor units. `debits` is below or equal zero; `credited` the length of the line
    of cleared credits; `entries` counts the postings; `position` is that of the last journal."""

    amount: int = 0
    debits: int = 0
    credits: int = 0
    credited: int = 0
    entries: int = 0
    position: int = 0


class BalanceBook:
    """All balances, as of the last journal added."""

    def __init__(self) -> None:
        self.balances: dict[tuple[str, str], Balance] = {}

    def add(self, position: int, journal: JournalPosted) -> list[int | None]:
        """For each posting the length of the payee's line after it, None where it lengthens none."""
        lengths: list[int | None] = []
        for posting in journal.postings:
            balance = self.balances.setdefault((posting.account, posting.currency), Balance())
            balance.amount += posting.amount
            balance.debits += min(posting.amount, 0)
            balance.credits += max(posting.amount, 0)
            balance.entries += 1
            balance.position = position
            payee = payee_of(posting.account)
            cleared = (
                posting.amount > 0
                and journal.payout_id is None
                and payee is not None
                and posting.account == payee_available(payee)
            )
            if cleared:
                balance.credited += posting.amount
            lengths.append(balance.credited if cleared else None)
        return lengths


def sums(journal: JournalPosted) -> dict[str, int]:
    """What the postings sum to, per currency."""
    totals: dict[str, int] = {}
    for posting in journal.postings:
        totals[posting.currency] = totals.get(posting.currency, 0) + posting.amount
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
