"""Journals that people make: one proposes, another approves or rejects. Semantics sections 6 and 9.

`Bookings` takes a proposal as plain facts: `id`, `kind`, `by`, `at` (seconds), `organization` (or None), and of a

    journal     postings [(account, currency, amount)], corrects (the id of an approved one, or None)
    write-off   account, currency, amount
    conversion  payee, currency, amount, into, rate, rated_at
    reversal    of: the id of a conversion
    remittance  authority, processor, currency, amount

What is refused is predicted as a set: the names of all that is wrong with it, of which the service says one.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from colink.simulation.model.amounts import converted
from colink.simulation.model.attribution import Knowledge
from colink.simulation.model.balances import Balances, Change, add
from colink.simulation.model.sellers import Sellers

Facts = dict[str, Any]

_CHART = {
    "store": {"clearing"},
    "seller": {"receivable"},
    "platform": {"revenue", "expense", "loss"},
    "processor": {"fees", "cash"},
    "payee": {"pending", "available", "in_transit"},
    "tax": {"withheld"},
    "fx": {"liquidity"},
}
_OF_FLOWS = ("pending", "in_transit")
_NEVER_CREDIT = ("platform:expense", "platform:loss")


class Bookings:
    """All that was proposed, by id, each with its `status`. Before `open_from` (seconds) all is closed."""

    def __init__(self, balances: Balances, known: Knowledge, sellers: Sellers) -> None:
        self.balances = balances
        self.sellers = sellers
        self.known = known
        self.by_id: dict[str, Facts] = {}
        self.open_from = 0

    def pending(self) -> list[Facts]:
        return [each for each in self.by_id.values() if each["status"] == "pending"]

    def wrong_with(self, booking: Facts, *, now: int) -> set[str]:
        """Why it cannot be proposed; empty: it can."""
        wrong = set()
        if booking["at"] < self.open_from:
            wrong.add("closed-period")
        if booking["at"] > now or booking["organization"] not in {None, *self.known.organizations}:
            wrong.add("invalid-input")
        match booking["kind"]:
            case "journal":
                wrong |= self._wrong_with_postings(booking)
            case "conversion":
                if not self._is_payee(booking["payee"]) or not self._taken(booking):
                    wrong.add("invalid-input")
            case "reversal":
                made = self.by_id.get(booking["of"])
                if made is None or made["kind"] != "conversion":
                    wrong.add("not-found")
                elif made["status"] != "posted":
                    wrong.add("invalid-input")
                elif self._is_reversed(booking["of"]):
                    wrong.add("already-reversed")
        return wrong

    def _wrong_with_postings(self, booking: Facts) -> set[str]:
        wrong: set[str] = set()
        sums: dict[str, int] = defaultdict(int)
        for account, currency, amount in booking["postings"]:
            sums[currency] += amount
            if not amount or not self._may_be_booked(account, currency):
                wrong.add("invalid-input")
        if any(sums.values()) or len(booking["postings"]) < 2:
            wrong.add("unbalanced-journal")
        if booking["corrects"] is not None and self._status(booking["corrects"]) != "posted":
            wrong.add("invalid-input")
        return wrong

    def _may_be_booked(self, account: str, currency: str) -> bool:
        """In the chart, somebody's who is known, no account of orders or payouts, no position in another currency."""
        owner, _, rest = account.partition(":")
        id_, _, purpose = rest.rpartition(":")
        if purpose not in _CHART.get(owner, ()) or purpose in _OF_FLOWS or bool(id_) == (owner == "platform"):
            return False
        known = {
            "payee": {*self.known.organizations, *self.known.creators},
            "seller": set(self.known.organizations),
            "store": set(self.known.stores),
            "fx": {currency},
        }.get(owner, {id_.lower()})
        return id_ in known

    def _is_reversed(self, conversion: str) -> bool:
        return any(
            each["kind"] == "reversal" and each["of"] == conversion and each["status"] == "posted"
            for each in self.by_id.values()
        )

    def _is_payee(self, id_: str) -> bool:
        return id_ in self.known.organizations or id_ in self.known.creators

    def _status(self, id_: str) -> str | None:
        booking = self.by_id.get(id_)
        return str(booking["status"]) if booking else None

    def propose(self, booking: Facts) -> None:
        self.by_id[booking["id"]] = booking | {"status": "pending"}

    def wrong_with_approval(self, id_: str, *, by: str) -> set[str]:
        booking, wrong = self.by_id[id_], set[str]()
        if booking["status"] != "pending":
            return {"booking-decided"}
        if booking["by"] == by:
            wrong.add("self-approval")
        if booking["at"] < self.open_from:
            wrong.add("closed-period")
        if booking["kind"] == "reversal" and self._is_reversed(booking["of"]):
            wrong.add("already-reversed")
        if not self._is_there(booking):
            wrong.add("insufficient-funds")
        return wrong

    def _is_there(self, booking: Facts) -> bool:
        """Whether there is what it takes: a write-off gives up a debt and no more, a conversion and a remittance take
        what there is and no more, costs of the platform never become its income."""
        moved = self._effect(booking)
        match booking["kind"]:
            case "journal":
                return all(
                    self.balances.of(*key) + amount <= 0 for key, amount in moved.items() if key[0] in _NEVER_CREDIT
                )
            case "write-off":
                key = booking["account"], booking["currency"]
                return self.balances.of(*key) + moved[key] <= 0
            case _:
                given = min(moved, key=lambda key: (key[0].startswith(("fx:", "processor:")), moved[key]))
                return self.balances.of(*given) + moved[given] >= 0

    def approve(self, id_: str) -> Change:
        self.by_id[id_]["status"] = "posted"
        moved = self._effect(self.by_id[id_])
        self.sellers.book(moved)
        return self.balances.book(moved)

    def reject(self, id_: str) -> None:
        self.by_id[id_]["status"] = "rejected"

    def _taken(self, booking: Facts) -> int:
        return converted(booking["amount"], booking["currency"], booking["into"], booking["rate"])

    def _effect(self, booking: Facts) -> Change:
        currency, amount = booking.get("currency", ""), booking.get("amount", 0)
        match booking["kind"]:
            case "journal":
                moved: Change = {}
                for account, each, part in booking["postings"]:
                    add(moved, {(account, each): part})
                return moved
            case "write-off":
                return {("platform:loss", currency): -amount, (booking["account"], currency): amount}
            case "conversion":
                account, into, taken = f"payee:{booking['payee']}:available", booking["into"], self._taken(booking)
                return {
                    (account, currency): -amount,
                    (f"fx:{currency}:liquidity", currency): amount,
                    (f"fx:{into}:liquidity", into): -taken,
                    (account, into): taken,
                }
            case "reversal":
                return {key: -part for key, part in self._effect(self.by_id[booking["of"]]).items()}
            case _:
                return {
                    (f"tax:{booking['authority']}:withheld", currency): -amount,
                    (f"processor:{booking['processor']}:cash", currency): amount,
                }
