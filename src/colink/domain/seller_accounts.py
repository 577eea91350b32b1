"""What sellers who collect the money themselves owe, pay and have settled. Semantics section 6, `seller_collected`.

    payment (once per reference) -> credit of the seller's account in that currency
    credit                       -> orders, oldest first (`allocate`); each is an `order.settled` of its order
    invoice                      -> a statement of the receivable between two positions of the log

The ledger knows one receivable per organisation and currency; which orders it is paid for is decided here and moves
no money. All that was posted up to `settled_to` is settled, and credits of refunds up to `credited_to` were taken
back: what changes later is a ledger entry behind these positions, so that finding work needs no list of open orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from colink.domain.aggregates import Aggregate, Created, Event
from colink.domain.errors import Conflict
from colink.domain.ids import natural_id
from colink.domain.orders import Order

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


@dataclass(frozen=True, kw_only=True)
class SellerAccountDetails:
    """One organisation in one currency, amounts in its minor units. credit: paid, and allocated to no order yet.
    allocations: how many there were. settled_to, credited_to, invoiced_to: log positions."""

    id: str
    organization_id: str
    currency: str
    credit: int = 0
    allocations: int = 0
    settled_to: int = 0
    credited_to: int = 0
    invoiced_to: int = 0


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """So much of an order was settled; below zero: taken back, as its receivable fell after it was settled."""

    order_id: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class SellerAccountOpened(Created):
    TOPIC: ClassVar[str] = "seller_account.opened"
    details: SellerAccountDetails


@dataclass(frozen=True, kw_only=True)
class SellerAccountChanged(Event):
    """`details` are those afterwards."""

    details: SellerAccountDetails

    def apply(self, aggregate: SellerAccount) -> None:
        aggregate.details = self.details


@dataclass(frozen=True, kw_only=True)
class SellerAccountCredited(SellerAccountChanged):
    TOPIC: ClassVar[str] = "seller_account.credited"
    payment_id: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class SellerAccountAllocated(SellerAccountChanged):
    """In the order in which they were settled. None: only the positions moved."""

    TOPIC: ClassVar[str] = "seller_account.allocated"
    allocations: tuple[Allocation, ...]


@dataclass(frozen=True, kw_only=True)
class SellerAccountInvoiced(SellerAccountChanged):
    TOPIC: ClassVar[str] = "seller_account.invoiced"
    invoice_id: str


class SellerAccount(Aggregate):
    """What one seller paid in one currency. Its stream is the conflict key of everything that settles orders, so that
    two payments at once never settle an order twice."""

    TOPIC: ClassVar[str] = "seller_account"

    def __init__(self, details: SellerAccountDetails) -> None:
        self.details = details

    @classmethod
    def open(cls, organization_id: str, currency: str, *, at: datetime) -> SellerAccount:
        id_ = seller_account_id(organization_id, currency)
        details = SellerAccountDetails(id=id_, organization_id=organization_id, currency=currency)
        return cls._create(SellerAccountOpened, id=id_, timestamp=at, details=details)

    def credit(self, payment_id: str, amount: int, *, at: datetime) -> None:
        details = credited(self.details, amount)
        self.trigger_event(SellerAccountCredited, payment_id=payment_id, amount=amount, details=details, timestamp=at)

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

    def invoice(self, invoice_id: str, *, to_position: int, at: datetime) -> None:
        details = replace(self.details, invoiced_to=to_position)
        self.trigger_event(SellerAccountInvoiced, invoice_id=invoice_id, details=details, timestamp=at)


def credited(details: SellerAccountDetails, amount: int) -> SellerAccountDetails:
    return replace(details, credit=details.credit + amount)


def allocated(
    details: SellerAccountDetails, allocations: Sequence[Allocation], *, credited_to: int, settled_to: int
) -> SellerAccountDetails:
    """The account after an allocation."""
    return replace(
        details,
        credit=details.credit - sum(allocation.amount for allocation in allocations),
        allocations=details.allocations + 1,
        credited_to=credited_to,
        settled_to=settled_to,
    )
