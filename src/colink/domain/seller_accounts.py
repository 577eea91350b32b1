"""What sellers who collect the money themselves owe, pay and have settled. Semantics section 6, `seller_collected`.

    payment (once per reference)        -> credit of the seller's account in that currency
    true-up, write-off, journal by hand -> credit too, where it lowers what he owes; where it raises that, less of it
    credit no more below zero           -> what waits of true-ups and is due is covered (`cover`)
    credit                              -> orders, oldest first (`allocate`); each is an `order.settled` of its order
    payment returned                    -> less credit; settlements that have not cleared are taken back (`take_back`)
    invoice                             -> a statement of the receivable between two positions of the log

The ledger knows one receivable per organisation and currency; which orders it is paid for is decided here and moves
no money. After every append, of every organisation and in every currency,

    balance of seller:{org}:receivable = credit - what is unsettled of its orders

(as posted: below zero where he owes), because every posting to it that is not an order's own is on the account by an
event in the same append. Credit may be below zero: what was charged beside orders is covered by the next payments and
credits before they settle orders.

All that was posted up to `settled_to` is settled, and credits of refunds up to `credited_to` were taken back: what
changes later is a ledger entry behind these positions, so that finding work needs no list of open orders. Where
settlements are taken back, `settled_to` goes back before them.

An account of before does not have what was charged beside orders (`since` is None). Whoever touches it first adopts
that, in the same append; accounts that nobody touches the worker goes through.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import ClassVar, Protocol

from colink.domain.aggregates import Aggregate
from colink.domain.errors import Conflict
from colink.domain.ids import natural_id
from colink.domain.ledger import Posted, Purpose, seller_of
from colink.domain.orders import Order
from colink.domain.seller_account_events import (
    Allocation,
    SellerAccountAdopted,
    SellerAccountAllocated,
    SellerAccountBooked,
    SellerAccountCovered,
    SellerAccountCredited,
    SellerAccountDetails,
    SellerAccountInvoiced,
    SellerAccountOpened,
    SellerAccountReturned,
    SellerAccountTakenBack,
    adopted,
    allocated,
    booked,
    covered,
    credited,
    returned,
    taken_back,
    uncovered_by,
)

SELLER_PAYMENT_ID = "spm"  # the prefix of payment ids
MOST_ORDERS = 100  # that one allocation settles, and as many that it takes credit back from
MOST_LINES = 5_000  # of an invoice


class ReferenceUsed(Conflict):
    slug, title = "payment-reference-used", "A payment with this reference is recorded already, and says otherwise"


class NothingToInvoice(Conflict):
    slug, title = "nothing-to-invoice", "Nothing was charged or paid since the last invoice"


class AccountMoved(Conflict):
    """What a command about a seller's account was made from is no longer so; it can be made anew."""

    slug, title = "seller-account-moved", "The seller's account moved meanwhile"


def seller_account_id(organization_id: str, currency: str) -> str:
    return natural_id("sac", organization_id, currency)


def seller_payment_id(organization_id: str, reference: str) -> str:
    return natural_id(SELLER_PAYMENT_ID, organization_id, reference)


def seller_invoice_id(organization_id: str, currency: str, period: str) -> str:
    return natural_id("inv", organization_id, currency, period)


class _Purposeful(Posted, Protocol):
    @property
    def purpose(self) -> Purpose: ...


def beside_orders(postings: Iterable[_Purposeful]) -> dict[tuple[str, str], int]:
    """What postings that are no order's own add to accounts of sellers: by organisation and currency, in minor units,
    above zero where the seller owes less."""
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for posting in postings:
        seller = seller_of(posting.account)
        if seller is not None and posting.purpose is not Purpose.RECEIVABLE:
            sums[seller, posting.currency] += posting.amount
    return {place: amount for place, amount in sums.items() if amount}


class SellerAccount(Aggregate):
    """What one seller paid in one currency. Its stream is the conflict key of everything that settles orders or posts
    to the receivable beside them, so that two payments at once never settle an order twice."""

    TOPIC: ClassVar[str] = "seller_account"

    def __init__(self, details: SellerAccountDetails) -> None:
        self.details = details

    @classmethod
    def open(cls, organization_id: str, currency: str, *, since: int | None, at: datetime) -> SellerAccount:
        """`since`: 0 where nothing was posted beside orders yet; None: that is to be adopted."""
        id_ = seller_account_id(organization_id, currency)
        details = SellerAccountDetails(id=id_, organization_id=organization_id, currency=currency, since=since)
        return cls._create(SellerAccountOpened, id=id_, timestamp=at, details=details)

    @classmethod
    def standing(cls, details: SellerAccountDetails, *, version: int, at: datetime) -> SellerAccount:
        """The account as its events left it. They are many: each says what it came to, so none has to be read."""
        account = cls.__new__(cls)
        account.__base_init__(details.id, version, at)
        account.details = details
        return account

    def credit(self, payment_id: str, amount: int, *, at: datetime) -> None:
        details = credited(self.details, amount)
        self.trigger_event(SellerAccountCredited, payment_id=payment_id, amount=amount, details=details, timestamp=at)

    def adopt(self, amount: int, *, position: int, at: datetime) -> None:
        details = adopted(self.details, amount, position=position)
        self.trigger_event(SellerAccountAdopted, position=position, amount=amount, details=details, timestamp=at)

    def book(self, amount: int, *, journal_id: str | None, cause_id: str, held: int = 0, at: datetime) -> None:
        uncovered = uncovered_by(cause_id, amount, held=held)
        self.trigger_event(
            SellerAccountBooked,
            journal_id=journal_id,
            cause_id=cause_id,
            amount=amount,
            held=held,
            uncovered=uncovered,
            details=booked(self.details, amount, held=held, uncovered=uncovered),
            timestamp=at,
        )

    def cover(self, true_up_id: str, amount: int, *, uncounted: int, at: datetime) -> None:
        self.trigger_event(
            SellerAccountCovered,
            true_up_id=true_up_id,
            amount=amount,
            uncounted=uncounted,
            details=covered(self.details, amount, uncounted=uncounted),
            timestamp=at,
        )

    def allocate(
        self,
        *,
        giving: Sequence[Order] = (),
        taking: Sequence[tuple[int, Order]] = (),
        credited_to: int | None = None,
        settled_to: int | None = None,
        at: datetime,
    ) -> None:
        """Settle orders from the credit, in the order given; the last one in part where the credit does not reach.

        `giving`: orders that may have been paid too much since a refund; all of that is credit again first. `taking`:
        with each order the position of the first entry that says what is owed for it. `credited_to`, `settled_to`:
        how far the entries were read; None: orders were named by people, and the positions stay.
        """
        number, left = self.details.allocations + 1, self.details.credit
        allocations: list[Allocation] = []
        reached = self.details.settled_to if settled_to is None else settled_to
        for order in {order.id: order for order in (*giving, *(order for _, order in taking))}.values():
            if order.unsettled < 0:
                left -= order.unsettled
                allocations.append(self._settle(order, order.unsettled, number, at))
        for position, order in taking:
            amount = min(order.unsettled, left)
            if amount > 0:
                left -= amount
                allocations.append(self._settle(order, amount, number, at))
            if order.unsettled > 0:
                if settled_to is not None:
                    reached = max(position - 1, self.details.settled_to)
                break
        details = allocated(
            self.details,
            allocations,
            credited_to=self.details.credited_to if credited_to is None else credited_to,
            settled_to=reached,
        )
        if allocations or details != replace(self.details, allocations=number):
            self.trigger_event(SellerAccountAllocated, allocations=tuple(allocations), details=details, timestamp=at)

    def _settle(self, order: Order, amount: int, number: int, at: datetime) -> Allocation:
        order.settle(amount, account_id=self.id, number=number, at=at)
        return Allocation(order_id=order.id, amount=amount)

    def return_payment(self, payment_id: str, amount: int, *, at: datetime) -> None:
        details = returned(self.details, amount)
        self.trigger_event(SellerAccountReturned, payment_id=payment_id, amount=amount, details=details, timestamp=at)

    def take_back(self, orders: Sequence[tuple[int, Order]], *, exhausted: bool, at: datetime) -> None:
        """After a return: take back what orders were settled with, in the order given, the last one in part; with
        each the position of the first entry that says what is owed for it. What has cleared stays. `exhausted`: there
        are no other orders that something could be taken back of."""
        number, left = self.details.allocations + 1, self.details.returned
        allocations: list[Allocation] = []
        settled_to = self.details.settled_to
        for position, order in orders:
            amount = min(order.returnable, left)
            if amount > 0:
                left -= amount
                order.take_back(amount, account_id=self.id, number=number, at=at)
                allocations.append(Allocation(order_id=order.id, amount=-amount))
                settled_to = min(settled_to, position - 1)
        exhausted = exhausted and left > 0
        if allocations or exhausted:
            self.trigger_event(
                SellerAccountTakenBack,
                allocations=tuple(allocations),
                exhausted=exhausted,
                details=taken_back(self.details, allocations, exhausted=exhausted, settled_to=settled_to),
                timestamp=at,
            )

    def invoice(self, invoice_id: str, *, to_position: int, at: datetime) -> None:
        details = replace(self.details, invoiced_to=to_position)
        self.trigger_event(SellerAccountInvoiced, invoice_id=invoice_id, details=details, timestamp=at)
