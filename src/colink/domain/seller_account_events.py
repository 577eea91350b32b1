"""What happens to the account of a seller who collects the money himself, and what the account comes to by it.

Each event says what the account came to (`details`), and each follows from the details before and from what it says
happened, by the functions at the end: an auditor derives it again with them. What they mean: `seller_accounts.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from colink.domain.aggregates import Created, Event
from colink.domain.true_up_counts import TRUE_UP_ID

if TYPE_CHECKING:
    from colink.domain.seller_accounts import SellerAccount


@dataclass(frozen=True, kw_only=True)
class SellerAccountDetails:
    """One organisation in one currency, amounts in its minor units. credit: paid or credited, and allocated to no
    order yet; below zero: charged beside orders, or returned, and not paid yet. allocations: how many there were.
    settled_to, credited_to, invoiced_to: log positions.

    since: what was posted beside orders is in `credit`, up to this position by adoption; None: of an account of
    before, all but payments has still to be adopted. held: of what was charged since, what true-ups of creators wait
    for. returned: of returned payments, and of credit that was charged again, what has still to be taken back from
    orders.
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
    """So much of an order was settled; below zero: taken back, as its receivable fell after it was settled, or as
    what it was settled with was returned."""

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
    money; where only that changed there is no journal. `uncovered`: of what a true-up charges, that for which nothing
    waits: credit that it gave before, and that has settled orders, is taken back as if it were a payment that was
    returned. None: of before, when it was not."""

    TOPIC: ClassVar[str] = "seller_account.booked"
    class_version: ClassVar[int] = 2
    journal_id: str | None
    cause_id: str
    amount: int
    held: int
    uncovered: int | None

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """What was charged again left orders settled."""
        state["uncovered"] = None


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
class SellerAccountReturned(SellerAccountChanged):
    """A payment was returned: the bank took it back. What was settled with it is taken back as far as it has not
    cleared (`returned` of the details), at once or page after page."""

    TOPIC: ClassVar[str] = "seller_account.returned"
    payment_id: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class SellerAccountTakenBack(SellerAccountChanged):
    """Settlements were taken back after a return, each below zero. `exhausted`: nothing is left that could be; what
    is still missing has cleared, and stays owed."""

    TOPIC: ClassVar[str] = "seller_account.taken_back"
    allocations: tuple[Allocation, ...]
    exhausted: bool


@dataclass(frozen=True, kw_only=True)
class SellerAccountInvoiced(SellerAccountChanged):
    TOPIC: ClassVar[str] = "seller_account.invoiced"
    class_version: ClassVar[int] = 2
    upcast_v1_v2 = staticmethod(_as_of_before)
    invoice_id: str


def credited(details: SellerAccountDetails, amount: int) -> SellerAccountDetails:
    """With so much more credit, or less. What of a returned payment is to be taken back from orders is never more
    than what is owed beside them: what covers that, covers the orders too."""
    credit = details.credit + amount
    return replace(details, credit=credit, returned=min(details.returned, max(-credit, 0)))


def adopted(details: SellerAccountDetails, amount: int, *, position: int) -> SellerAccountDetails:
    return replace(credited(details, amount), since=position)


def booked(details: SellerAccountDetails, amount: int, *, held: int, uncovered: int) -> SellerAccountDetails:
    after = credited(details, amount)
    return replace(after, held=details.held + held, returned=min(after.returned + uncovered, max(-after.credit, 0)))


def uncovered_by(cause_id: str, amount: int, *, held: int) -> int:
    """Of what a true-up charges (`amount` below zero), what does not wait for the seller's money. What people charge
    by hand leaves settled orders as they are."""
    return max(-amount - max(held, 0), 0) if cause_id.startswith(f"{TRUE_UP_ID}_") else 0


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


def returned(details: SellerAccountDetails, amount: int) -> SellerAccountDetails:
    """Without so much that was paid. Taken back from orders is no more of it than is owed beside them now."""
    credit = details.credit - amount
    return replace(details, credit=credit, returned=min(details.returned + amount, max(-credit, 0)))


def taken_back(
    details: SellerAccountDetails, allocations: Sequence[Allocation], *, exhausted: bool, settled_to: int
) -> SellerAccountDetails:
    amount = -sum(allocation.amount for allocation in allocations)
    return replace(
        details,
        credit=details.credit + amount,
        returned=0 if exhausted else details.returned - amount,
        allocations=details.allocations + 1,
        settled_to=settled_to,
    )
