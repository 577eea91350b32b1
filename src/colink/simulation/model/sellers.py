"""Sellers who collect the money themselves: what they are billed, what they pay, and which orders that settles.

Semantics section 6; decision 21 says in which order. An organisation has one account per currency. All that is posted
to its receivable beside orders is credit of the account, above or below zero, and credit settles orders: those that a
payment names at once, others when the worker comes, by the log: it goes through what was posted since the place up to
which all is settled, and first takes back what refunds have made of settled orders. So in every place

    balance of seller:{org}:receivable = credit - what is unsettled of its orders
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from colink.simulation.model.balances import Balances, Change
from colink.simulation.model.calendar import end_of, month_after, month_at, month_before

Facts = dict[str, Any]
OrderKey = tuple[str, str]
Place = tuple[str, str]
"""Organisation and currency."""

_ORDERS_A_PAGE, _ENTRIES_A_PAGE = 100, 1_000


class Entry(NamedTuple):
    """One posting to a receivable, as posted: below zero the seller owes more. `kind`: order, payment or other."""

    at: int
    kind: str
    order: OrderKey | None
    amount: int


@dataclass
class Account:
    """`returned`: of payments that bounced, what has still to be taken back of orders. `settled_to`, `credited_to`,
    `invoiced_to`: how many entries of the receivable were gone through."""

    credit: int = 0
    returned: int = 0
    settled_to: int = 0
    credited_to: int = 0
    invoiced_to: int = 0

    def add(self, amount: int) -> None:
        """Credit, above or below zero. What covers what is owed beside orders covers what was to be taken back."""
        self.credit += amount
        self.returned = min(self.returned, max(-self.credit, 0))


class Sellers:
    """`orders`: the model's; of them it reads what is owed and writes what is `settled`. `now`: in seconds.
    `clears_by_time`: whether orders of a store clear whether or not its seller paid."""

    def __init__(
        self,
        balances: Balances,
        orders: Mapping[OrderKey, Any],
        now: Callable[[], int],
        clears_by_time: Callable[[Facts], bool],
    ) -> None:
        self.balances = balances
        self.orders = orders
        self.now = now
        self.clears_by_time = clears_by_time
        self.accounts: dict[Place, Account] = {}
        self.entries: dict[Place, list[Entry]] = {}
        self.posted_in: set[Place] = set()
        self.payments: dict[tuple[str, str], Facts] = {}
        self.returns: dict[tuple[str, str], tuple[int, str]] = {}
        self.last_return: dict[Place, Facts] = {}
        self.invoices: dict[tuple[str, str, str], Facts] = {}

    # What is posted -----------------------------------------------------------------------------------------------

    def billed(self, key: OrderKey, place: Place, amounts: Iterable[int]) -> None:
        """An order's own postings."""
        self._file(place, "order", [(key, amount) for amount in amounts])

    def book(self, changed: Change, *, waits: int | None = None) -> None:
        """Something beside orders, such as a write-off, was posted: what of it stands on receivables is credit. Of
        what a true-up charges, `waits` waits for the seller's money; the rest is credit that it gave before, and is
        taken back of orders like a payment that bounced."""
        for (account, currency), amount in changed.items():
            owner, _, rest = account.partition(":")
            if owner != "seller":
                continue
            place = rest.removesuffix(":receivable"), currency
            self.posted_in.add(place)
            if amount:
                self._file(place, "other", [(None, amount)])
                known = self._account(place)
                known.add(amount)
                if waits is not None:
                    uncovered = max(-amount - max(waits, 0), 0)
                    known.returned = min(known.returned + uncovered, max(-known.credit, 0))

    def _file(self, place: Place, kind: str, told: Iterable[tuple[OrderKey | None, int]]) -> None:
        entries = [Entry(self.now(), kind, key, amount) for key, amount in told]
        self.entries.setdefault(place, []).extend(entries)
        if entries:
            self.posted_in.add(place)

    def _account(self, place: Place) -> Account:
        return self.accounts.setdefault(place, Account())

    def owed_beside_orders(self, place: Place) -> int:
        return max(-self.accounts[place].credit, 0) if place in self.accounts else 0

    def unsettled(self, key: OrderKey) -> int:
        """Of what its seller owes for it; below zero: paid too much since a refund."""
        return int(self.orders[key].receivable - self.orders[key].settled)

    # Payments -----------------------------------------------------------------------------------------------------

    def wrong_with_payment(self, payment: Facts) -> set[str]:
        """A payment has `organization`, `currency`, `amount`, `reference`, `received_at`, and the key of an `invoice`
        or keys of `orders`, in this order."""
        known = self.payments.get((payment["organization"], payment["reference"]))
        wrong = set()
        if payment["amount"] <= 0 or payment["received_at"] > self.now():
            wrong.add("invalid-input")
        if known is None and any(self._is_foreign(payment, key) for key in payment["orders"]):
            wrong.add("invalid-input")
        billed_in = {currency for organization, currency in self.posted_in if organization == payment["organization"]}
        if known is None and billed_in and payment["currency"] not in billed_in:
            wrong.add("invalid-input")
        if known is not None and known != payment:
            wrong.add("payment-reference-used")
        return wrong

    def _is_foreign(self, payment: Facts, key: OrderKey) -> bool:
        order = self.orders.get(key)
        if order is None or order.store["organization"] != payment["organization"]:
            return True
        return order.money is not None and order.currency != payment["currency"]

    def pay(self, payment: Facts, count: Callable[[Sequence[OrderKey]], None]) -> Change:
        """Money came from a seller. Told before: nothing. `count` as in `settle`."""
        id_ = payment["organization"], payment["reference"]
        if id_ in self.payments:
            return {}
        self.payments[id_] = payment
        place, amount = (payment["organization"], payment["currency"]), payment["amount"]
        named = self.open_orders_of(payment["invoice"]) if payment["invoice"] else payment["orders"]
        self._file(place, "payment", [(None, amount)])
        count([key for key in named if key in self.orders and self.unsettled(key) < 0])
        account = self._account(place)
        account.add(amount)
        self._allocate(account, (), [(None, key) for key in dict.fromkeys(named)])
        return self.balances.book(
            {
                ("processor:bank:cash", payment["currency"]): -amount,
                (f"seller:{payment['organization']}:receivable", payment["currency"]): amount,
            }
        )

    def open_orders_of(self, invoice: tuple[str, str, str]) -> list[OrderKey]:
        """The first of an invoice's orders of which something is unsettled."""
        lines = self.invoices[invoice]["lines"] if invoice in self.invoices else {}
        return [key for key in lines if self.unsettled(key) > 0][:_ORDERS_A_PAGE]

    # Payments that bounce -----------------------------------------------------------------------------------------

    def wrong_with_return(self, payment: Facts, *, at: int, reason: str) -> set[str]:
        """Of a payment that was recorded, as it was."""
        known = self.returns.get((payment["organization"], payment["reference"]))
        wrong = {"invalid-input"} if at > self.now() or at < payment["received_at"] else set()
        return wrong | ({"payment-returned"} if known is not None and known != (at, reason) else set())

    def bounce(self, payment: Facts, *, at: int, reason: str) -> Change:
        """The bank took a payment back. What that leaves owed is taken back of orders of which something has still to
        clear. Told before: nothing."""
        id_, place = (payment["organization"], payment["reference"]), (payment["organization"], payment["currency"])
        if id_ in self.returns:
            return {}
        self.returns[id_] = (at, reason)
        self.last_return[place] = payment
        amount, account = payment["amount"], self._account(place)
        self._file(place, "payment", [(None, -amount)])
        account.credit -= amount
        account.returned = min(account.returned + amount, max(-account.credit, 0))
        self._take_back(place, account)
        return self.balances.book(
            {
                (f"seller:{place[0]}:receivable", place[1]): -amount,
                ("processor:bank:cash", place[1]): amount,
            }
        )

    def _take_back(self, place: Place, account: Account) -> None:
        """A page of it: of the orders that the payment named first, then of the newest; the last one in part."""
        named: Sequence[OrderKey] = ()
        if (payment := self.last_return.get(place)) is not None:
            named = self.invoices[payment["invoice"]]["lines"] if payment["invoice"] else payment["orders"]
        first: dict[OrderKey, int] = {}
        for at, entry in enumerate(self.entries[place]):
            if entry.order is not None:
                first.setdefault(entry.order, at)
        open_ = [key for key in first if self.orders[key].returnable > 0]
        open_.sort(key=lambda key: (key not in named, -first[key]))
        for key in open_[:_ORDERS_A_PAGE]:
            amount = min(self.orders[key].returnable, account.returned)
            if amount > 0:
                self.orders[key].settled -= amount
                if not self.clears_by_time(self.orders[key].store):
                    self.orders[key].is_returned()
                account.credit += amount
                account.returned -= amount
                account.settled_to = min(account.settled_to, first[key])
        if len(open_) <= _ORDERS_A_PAGE:
            account.returned = 0  # what is still missing has cleared, and stays owed

    def waits(self, place: Place) -> bool:
        """Nothing of a seller's orders clears while there is something to be taken back of them."""
        return place in self.accounts and self.accounts[place].returned > 0

    # Settling -----------------------------------------------------------------------------------------------------

    def settle(self, count: Callable[[Sequence[OrderKey]], None]) -> None:
        """The worker settles what it can, until nothing is left to do. `count`: the periods of orders for which too
        much is paid since a refund."""
        for place, account in self.accounts.items():
            while self._has_work(place, account) or account.returned > 0:
                if account.returned > 0:
                    self._take_back(place, account)
                    continue
                giving, credited_to = self._page(place, account.credited_to, lowered=True)
                taking, settled_to = self._page(place, account.settled_to, lowered=False)
                count([key for key in giving if self.unsettled(key) < 0])
                reached = self._allocate(account, giving, [(at, key) for key, at in taking.items()])
                account.credited_to = credited_to
                account.settled_to = settled_to if reached is None else max(reached, account.settled_to)

    def _has_work(self, place: Place, account: Account) -> bool:
        entries = self.entries.get(place, [])
        unpaid = any(each.kind == "order" for each in entries[account.settled_to :])
        lowered = any(each.kind == "order" and each.amount > 0 for each in entries[account.credited_to :])
        return lowered or (unpaid and account.credit > 0)

    def _page(self, place: Place, after: int, *, lowered: bool) -> tuple[dict[OrderKey, int], int]:
        """Orders with where their first entry behind `after` stands; and how far was read for them."""
        found: dict[OrderKey, int] = {}
        read, reached = 0, after
        for at, entry in enumerate(self.entries[place][after:], after):
            if entry.order is None or (lowered and entry.amount <= 0):
                continue
            if read == _ENTRIES_A_PAGE or (entry.order not in found and len(found) == _ORDERS_A_PAGE):
                break
            found.setdefault(entry.order, at)
            read, reached = read + 1, at + 1
        return found, reached

    def _allocate(
        self, account: Account, giving: Iterable[OrderKey], taking: Sequence[tuple[int | None, OrderKey]]
    ) -> int | None:
        """Credit that refunds gave back is taken first. Where the first order stands that the credit does not reach;
        None where it reaches all."""
        for key in dict.fromkeys((*giving, *(key for _, key in taking))):
            if (unsettled := self.unsettled(key)) < 0:
                account.add(-unsettled)
                self.orders[key].settled += unsettled
                if not self.clears_by_time(self.orders[key].store):
                    self.orders[key].gives_back()
        for at, key in taking:
            amount = max(min(self.unsettled(key), account.credit), 0)
            account.add(-amount)
            self.orders[key].settled += amount
            if self.unsettled(key) > 0:
                return at
        return None

    # Invoices -----------------------------------------------------------------------------------------------------

    def statement(self, place: Place, *, before: int) -> Facts:
        """What an invoice would say of what was recorded before a time, and not billed yet."""
        entries = self.entries.get(place, [])
        start = self.accounts.get(place, Account()).invoiced_to
        told = [each for each in entries[start:] if each.at < before]
        lines: dict[OrderKey, int] = {}
        for each in told:
            if each.order is not None:
                lines[each.order] = lines.get(each.order, 0) - each.amount
        opening = -sum(each.amount for each in entries[:start])
        return {
            "opening": opening,
            "lines": {key: amount for key, amount in lines.items() if amount},
            "paid": sum(each.amount for each in told if each.kind == "payment"),
            "other": sum(each.amount for each in told if each.kind == "other"),
            "due": opening - sum(each.amount for each in told),
            "to": start + len(told),
        }

    def wrong_with_invoice(self, place: Place, period: str, *, zone: str) -> set[str]:
        if (*place, period) in self.invoices:
            return set()
        end, wrong = end_of(period, zone), set[str]()
        if end > self.now() or period < self._last_billed(place):
            wrong.add("invalid-input")
        if not self._says_something(self.statement(place, before=end)):
            wrong.add("nothing-to-invoice")
        return wrong

    def _last_billed(self, place: Place) -> str:
        return max((period for *billed, period in self.invoices if tuple(billed) == place), default="")

    def _says_something(self, statement: Facts) -> bool:
        return bool(statement["lines"] or statement["opening"] or statement["due"])

    def bill(self, zone_of: Callable[[str], str]) -> int:
        """The worker's invoices of months that are over where the seller is; how many. Months are billed one after
        another, from that of the first posting that no invoice has; one that comes to nothing is on the next."""
        issued = 0
        for place, entries in self.entries.items():
            zone = zone_of(place[0])
            while (period := self._due_period(place, entries, zone)) is not None:
                self.invoice(place, period, zone=zone)
                issued += 1
        return issued

    def _due_period(self, place: Place, entries: Sequence[Entry], zone: str) -> str | None:
        last, billed = month_before(month_at(self.now(), zone)), self._last_billed(place)
        start = self.accounts.get(place, Account()).invoiced_to
        posted = month_at(entries[start].at, zone) if start < len(entries) else None
        if (posted is None or posted > last) and not self.balances.of(f"seller:{place[0]}:receivable", place[1]):
            return None  # nothing was posted, and nothing is open by now
        period = min(posted or last, last)
        if billed:
            period = max(period, month_after(billed))
        while period <= last:
            if self._says_something(self.statement(place, before=end_of(period, zone))):
                return period
            period = month_after(period)
        return None

    def invoice(self, place: Place, period: str, *, zone: str) -> Facts:
        """The statement of a month that is over; issued before: the same again."""
        key = (*place, period)
        if key not in self.invoices:
            self.invoices[key] = self.statement(place, before=end_of(period, zone))
            self._account(place).invoiced_to = self.invoices[key]["to"]
        return self.invoices[key]
