"""What sellers who collect the money themselves owe, pay and have settled. Semantics section 6, `seller_collected`.

    payment (once per reference)        -> credit of the seller's account in that currency
    true-up, write-off, journal by hand -> credit too, where it lowers what he owes; where it raises that, less of it
    credit no more below zero           -> what waits of true-ups and is due is covered (`cover`)
    credit                              -> orders, oldest first (`allocate`); each is an `order.settled` of its order
    invoice                             -> a statement of the receivable between two positions of the log

The ledger knows one receivable per organisation and currency; which orders it is paid for is decided here and moves
no money. After every append, of every organisation and in every currency,

    balance of seller:{org}:receivable = credit - what is unsettled of its orders

(as posted: below zero where he owes), because every posting to it that is not an order's own is on the account by an
event in the same append. Credit may be below zero: what was charged beside orders is covered by the next payments and
credits before they settle orders.

All that was posted up to `settled_to` is settled, and credits of refunds up to `credited_to` were taken back: what
changes later is a ledger entry behind these positions, so that finding work needs no list of open orders.

An account of before does not have what was charged beside orders (`since` is None). Whoever touches it first adopts
that, in the same append; accounts that nobody touches the worker goes through.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar, Protocol

from colink.domain.aggregates import Aggregate, Created, Event
from colink.domain.errors import Conflict
from colink.domain.ids import natural_id
from colink.domain.ledger import Purpose, seller_of
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


class _Posted(Protocol):
    """A posting, as it is recorded or as an auditor reads it."""

    @property
    def account(self) -> str: ...
    @property
    def amount(self) -> int: ...
    @property
    def currency(self) -> str: ...
    @property
    def purpose(self) -> Purpose: ...


def beside_orders(postings: Iterable[_Posted]) -> dict[tuple[str, str], int]:
    """What postings that are no order's own add to accounts of sellers: by organisation and currency, in minor units,
    above zero where the seller owes less."""
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for posting in postings:
        seller = seller_of(posting.account)
        if seller is not None and posting.purpose is not Purpose.RECEIVABLE:
            sums[seller, posting.currency] += posting.amount
    return {place: amount for place, amount in sums.items() if amount}


@dataclass(frozen=True, kw_only=True)
class SellerAccountDetails:
    """One organisation in one currency, amounts in its minor units. credit: paid or credited, and allocated to no
    order yet; below zero: charged beside orders, or returned, and not paid yet. allocations: how many there were.
    settled_to, credited_to, invoiced_to: log positions.

    since: what was posted beside orders is in `credit`, up to this position by adoption; None: of an account of
    before, all but payments has still to be adopted. held: of what was charged since, what true-ups of creators wait
    for. returned: of returned payments, what has still to be taken back from orders.
    """

    id: str
    organization_id: str
    currency: str
    credit: int = 0
    allocations: int = 0
    settled_to: int = 0
    credited_to: int = 0
    invoiced_to: int = 0
    since: int | None = None
    held: int = 0
    returned: int = 0

    @property
    def owed(self) -> int:
        """Owed beside orders, and not paid."""
        return max(-self.credit, 0)

    def coverable(self, *, uncounted: int = 0) -> int:
        """How much of the true-ups that wait his money covers: as long as what still waits is no less than what is
        owed, nothing clears that he has not paid. `uncounted`: of one that waits and is not in `held`."""
        return max(self.held + uncounted - self.owed, 0)


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """So much of an order was settled; below zero: taken back, as its receivable fell after it was settled."""

    order_id: str
    amount: int


def _as_of_before(state: dict[str, Any]) -> None:
    """Version 1 had no charges beside orders, and nothing of payments that are returned."""
    state["details"] |= {"since": None, "held": 0, "returned": 0}


@dataclass(frozen=True, kw_only=True)
class SellerAccountOpened(Created):
    TOPIC: ClassVar[str] = "seller_account.opened"
    class_version: ClassVar[int] = 2
    upcast_v1_v2 = staticmethod(_as_of_before)
    details: SellerAccountDetails


@dataclass(frozen=True, kw_only=True)
class SellerAccountChanged(Event):
    """`details` are those afterwards."""

    details: SellerAccountDetails

    def apply(self, aggregate: SellerAccount) -> None:
        aggregate.details = self.details


@dataclass(frozen=True, kw_only=True)
class SellerAccountCredited(SellerAccountChanged):
    """He paid."""

    TOPIC: ClassVar[str] = "seller_account.credited"
    class_version: ClassVar[int] = 2
    upcast_v1_v2 = staticmethod(_as_of_before)
    payment_id: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class SellerAccountAdopted(SellerAccountChanged):
    """All that was posted to the receivable up to `position` of the log beside orders and payments."""

    TOPIC: ClassVar[str] = "seller_account.adopted"
    position: int
    amount: int


@dataclass(frozen=True, kw_only=True)
class SellerAccountBooked(SellerAccountChanged):
    """A journal beside orders and payments: a true-up, a write-off, one by hand. `amount`: what he owes less (above
    zero) or more. `cause_id`: the true-up or booking. `held`: how much more, or less, of a true-up waits for his
    money; where only that changed there is no journal."""

    TOPIC: ClassVar[str] = "seller_account.booked"
    journal_id: str | None
    cause_id: str
    amount: int
    held: int


@dataclass(frozen=True, kw_only=True)
class SellerAccountCovered(SellerAccountChanged):
    """So much of a true-up was due and is covered by what he paid: it waits no longer. `uncounted`: what of it waited
    and was not in `held`, because it was counted before the account knew of true-ups."""

    TOPIC: ClassVar[str] = "seller_account.covered"
    true_up_id: str
    amount: int
    uncounted: int


@dataclass(frozen=True, kw_only=True)
class SellerAccountAllocated(SellerAccountChanged):
    """In the order in which they were settled. None: only the positions moved."""

    TOPIC: ClassVar[str] = "seller_account.allocated"
    class_version: ClassVar[int] = 2
    upcast_v1_v2 = staticmethod(_as_of_before)
    allocations: tuple[Allocation, ...]


@dataclass(frozen=True, kw_only=True)
class SellerAccountInvoiced(SellerAccountChanged):
    TOPIC: ClassVar[str] = "seller_account.invoiced"
    class_version: ClassVar[int] = 2
    upcast_v1_v2 = staticmethod(_as_of_before)
    invoice_id: str


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
        self.trigger_event(
            SellerAccountBooked,
            journal_id=journal_id,
            cause_id=cause_id,
            amount=amount,
            held=held,
            details=booked(self.details, amount, held=held),
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

    def invoice(self, invoice_id: str, *, to_position: int, at: datetime) -> None:
        details = replace(self.details, invoiced_to=to_position)
        self.trigger_event(SellerAccountInvoiced, invoice_id=invoice_id, details=details, timestamp=at)


def credited(details: SellerAccountDetails, amount: int) -> SellerAccountDetails:
    """With so much more credit, or less. What of a returned payment is to be taken back from orders is never more
    than what is owed beside them: what covers that, covers the orders too."""
    credit = details.credit + amount
    return replace(details, credit=credit, returned=min(details.returned, max(-credit, 0)))


def adopted(details: SellerAccountDetails, amount: int, *, position: int) -> SellerAccountDetails:
    return replace(credited(details, amount), since=position)


def booked(details: SellerAccountDetails, amount: int, *, held: int) -> SellerAccountDetails:
    return replace(credited(details, amount), held=details.held + held)


def covered(details: SellerAccountDetails, amount: int, *, uncounted: int) -> SellerAccountDetails:
    return details if uncounted else replace(details, held=details.held - amount)


def allocated(
    details: SellerAccountDetails, allocations: Sequence[Allocation], *, credited_to: int, settled_to: int
) -> SellerAccountDetails:
    """The account after an allocation."""
    return replace(
        credited(details, -sum(allocation.amount for allocation in allocations)),
        allocations=details.allocations + 1,
        credited_to=credited_to,
        settled_to=settled_to,
    )
