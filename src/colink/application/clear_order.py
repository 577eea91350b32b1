"""Clear what an order owes its payees when it is due: pending to available. One journal per due time."""

from __future__ import annotations

from dataclasses import dataclass

from colink.application.ports import Decision, Facts, MoreNeeded, Needs, Request
from colink.application.record_order import order_events
from colink.application.seller_accounts import SellerAccounts
from colink.application.true_ups import count_ended
from colink.domain.aggregates import Event
from colink.domain.basis import clears_by_time
from colink.domain.errors import NotFound
from colink.domain.orders import Order
from colink.domain.seller_account_events import SellerAccountDetails
from colink.domain.seller_accounts import seller_account_id


@dataclass(frozen=True, kw_only=True)
class ClearOrder(Request):
    """Clears everything of the order that is due by the clock; nothing due is no error."""

    order_id: str

    def needs(self) -> Needs:
        return Needs(streams=(self.order_id,))

    def decide(self, facts: Facts) -> Decision:
        order = facts.aggregate(Order, self.order_id)
        if order is None:
            msg = f"no order {self.order_id}"
            raise NotFound(msg)
        if _waits_for_returns(facts, order):
            return Decision(answer={"order_id": order.id, "cleared": 0}, organization_id=order.organization_id)
        accounts = SellerAccounts(facts)
        events: list[Event] = [*count_ended(facts, [order], accounts), *accounts.new_events()]
        if _waits_by_count(order, accounts):
            return Decision(
                answer={"order_id": order.id, "cleared": 0}, events=events, organization_id=order.organization_id
            )
        cleared = 0
        while (draft := order.clear(at=facts.now)) is not None:
            events += order_events(order, [draft], at=facts.now)
            cleared += 1
        return Decision(
            answer={"order_id": order.id, "cleared": cleared},
            events=events,
            organization_id=order.organization_id,
        )


def _waits_for_returns(facts: Facts, order: Order) -> bool:
    """Whether a payment of the seller was returned and settlements have still to be taken back, perhaps this order's:
    nothing clears meanwhile that might turn out unpaid. Raises MoreNeeded."""
    clearing = order.next_clearing()
    if clearing is None or clearing.due_at > facts.now or order.split is None or order.terms is None:
        return False
    if clears_by_time(order.terms):
        return False
    account_id = seller_account_id(order.organization_id, order.split.currency)
    if (SellerAccountDetails, account_id) not in facts.needs.documents:
        raise MoreNeeded(Needs(documents=((SellerAccountDetails, account_id),)))
    account = facts.document(SellerAccountDetails, account_id)
    return account is not None and account.returned > 0


def _waits_by_count(order: Order, accounts: SellerAccounts) -> bool:
    """Whether the count before it charged again what a cap had taken off, and settlements are to be taken back."""
    if order.split is None or order.terms is None or clears_by_time(order.terms):
        return False
    return accounts.takes_back(order.organization_id, order.split.currency)
