"""Payouts, from the request to the money that comes back. Semantics section 7."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from colink.simulation.model.balances import Balances, Change, add
from colink.simulation.model.withholding import Withholding

Facts = dict[str, Any]

_MOST_ATTEMPTS = 3
_CASH = "processor:sandbox:cash"


class Payouts:
    """All payouts `by_id` and the accounts they go to, over the `balances` they move. Who is `erased` gets none."""

    def __init__(self, balances: Balances, erased: Collection[str]) -> None:
        self.balances = balances
        self.erased = erased
        self.by_id: dict[str, Facts] = {}
        self.accounts: dict[tuple[str, str], Facts] = {}
        self.withholding = Withholding()

    def take_account(self, account: Facts) -> int | None:
        """Where a payee is paid to from now on: the version that it is; None where it is the same again."""
        key = account["payee"], account["currency"]
        known = self.accounts.get(key)
        same = known is not None and all(known[name] == account[name] for name in ("details", "minimum"))
        if not same:
            self.accounts[key] = account | {"version": 1 if known is None else known["version"] + 1}
        return None if same else int(self.accounts[key]["version"])

    def plan(self, payee: str, currency: str, amount: int | None) -> int | str:
        """What a payout would reserve, or the name of the refusal."""
        account = self.accounts.get((payee, currency))
        if account is None:
            return "no-payout-account"
        if payee in self.erased:
            return "person-erased"
        available = self.balances.available(payee, currency)
        if available <= 0 or (amount is not None and amount > available):
            return "insufficient-funds"
        planned = available if amount is None else amount
        return "below-minimum" if planned < (account["minimum"] or 1) else planned

    def request(self, id_: str, payee: str, currency: str, amount: int, *, by: str) -> Change:
        self.by_id[id_] = {
            "payee": payee,
            "currency": currency,
            "amount": amount,
            "status": "requested",
            "attempt": 0,
            "tax": None,
            "by": by,
        }
        return self._move(id_, {f"payee:{payee}:available": -amount, f"payee:{payee}:in_transit": amount})

    def net(self, id_: str) -> int:
        """What the payee gets."""
        payout = self.by_id[id_]
        return int(payout["amount"]) - (payout["tax"]["amount"] if payout["tax"] else 0)

    def wrong_with_approval(self, id_: str, *, by: str) -> set[str]:
        """Nobody approves what they asked for themselves, nor what goes to an account that they set."""
        payout, wrong = self.by_id[id_], set[str]()
        if by == payout["by"]:
            wrong.add("self-approval")
        if by == self.accounts[payout["payee"], payout["currency"]]["by"]:
            wrong.add("own-account")
        return wrong

    def decide(self, id_: str, status: str) -> Change:
        """People approve, hold, reject or cancel it; the account is copied at approval, and the tax decided."""
        payout = self.by_id[id_]
        payout["status"] = status
        if status == "approved":
            payee, currency = payout["payee"], payout["currency"]
            payout["account"] = self.accounts[payee, currency]["version"]
            if payout["attempt"] == 0:
                payout["tax"] = self.withholding.of(payee, currency, payout["amount"])
        return self._release(id_) if status in {"rejected", "cancelled"} else {}

    def worker_paid(self, told: Sequence[Facts]) -> Change:
        """The worker submitted what was approved, unless its account changed since, and asked about the rest, until
        nothing was left to do; `told` is what the provider said, in order: payout, attempt, outcome, passing, fee."""
        changed: Change = {}
        self._submit_approved(changed)
        for report in told:
            payout = self.by_id[report["payout"]]
            if payout["status"] == "approved" and report["attempt"] > payout["attempt"]:
                self._submit(report["payout"], payout, changed)
            if report["attempt"] == payout["attempt"] and payout["status"] in {"submitted", "in_transit", "paid"}:
                add(changed, self._follow(report["payout"], payout, report))
        self._submit_approved(changed)
        return changed

    def _submit_approved(self, changed: Change) -> None:
        for id_, payout in self.by_id.items():
            if payout["status"] == "approved":
                self._submit(id_, payout, changed)

    def _submit(self, id_: str, payout: Facts, changed: Change) -> None:
        if self.accounts[payout["payee"], payout["currency"]]["version"] != payout["account"]:
            payout["status"] = "cancelled"
            add(changed, self._release(id_))
        else:
            payout |= {"status": "submitted", "attempt": payout["attempt"] + 1}
            tax = payout["tax"]
            if tax and not tax["withheld"]:
                payout["tax"] = tax | {"withheld": True}
                transit, withheld = f"payee:{payout['payee']}:in_transit", f"tax:{tax['authority']}:withheld"
                add(changed, self._move(id_, {transit: -tax["amount"], withheld: tax["amount"]}))

    def _follow(self, id_: str, payout: Facts, report: Facts) -> Change:
        changed: Change = {}
        outcome = report["outcome"]
        if outcome == "pending" and payout["status"] == "submitted":
            payout["status"] = "in_transit"
        if outcome == "failed":
            payout["status"] = "approved" if report["passing"] and payout["attempt"] < _MOST_ATTEMPTS else "failed"
            return self._release(id_) if payout["status"] == "failed" else {}
        if outcome in {"paid", "returned"} and payout["status"] != "paid":
            payout["status"] = "paid"
            transit, net = f"payee:{payout['payee']}:in_transit", self.net(id_)
            add(changed, self._move(id_, {transit: -net, _CASH: net}))
            add(changed, self._move(id_, {"platform:expense": -report["fee"], _CASH: report["fee"]}))
        if outcome == "returned":
            payout["status"] = "returned"
            add(changed, self._give_back(id_, _CASH))
        return changed

    def _release(self, id_: str) -> Change:
        """The money is available again."""
        return self._give_back(id_, f"payee:{self.by_id[id_]['payee']}:in_transit")

    def _give_back(self, id_: str, where_it_is: str) -> Change:
        """All of it, with the tax if that was withheld already."""
        payout = self.by_id[id_]
        tax = payout["tax"] if payout["tax"] and payout["tax"]["withheld"] else None
        moved = {where_it_is: -payout["amount"], f"payee:{payout['payee']}:available": payout["amount"]}
        if tax:
            moved |= {
                where_it_is: tax["amount"] - payout["amount"],
                f"tax:{tax['authority']}:withheld": -tax["amount"],
            }
        return self._move(id_, moved)

    def _move(self, id_: str, moved: Mapping[str, int]) -> Change:
        currency = self.by_id[id_]["currency"]
        return self.balances.book({(account, currency): amount for account, amount in moved.items() if amount})
