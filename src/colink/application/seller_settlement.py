"""Settle the orders of sellers who collect the money themselves from what they have paid, and take back what they had
paid and was returned: a page of orders a command. Semantics section 6; domain.seller_accounts says by which rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from colink.application.jobs import submit_all
from colink.application.ports import Caller, Command, CommandBus, Decision, Facts, Needs, Request
from colink.application.seller_accounts import AdoptCharges, SellerAccounts, needs_of_accounts
from colink.application.true_ups import count_ended
from colink.domain.aggregates import Event
from colink.domain.orders import Order
from colink.domain.seller_account_events import SellerAccountDetails
from colink.domain.seller_accounts import SellerAccount

_AT_ONCE = 32  # accounts that one run of a job looks at


@dataclass(frozen=True, kw_only=True)
class OpenPage:
    """Orders that entries behind the positions of a seller's account tell of. `giving`: whose receivable fell, read
    up to `credited_to`; `taking`: all, each with the position of its first entry, read up to `settled_to`."""

    account: SellerAccountDetails
    giving: tuple[str, ...]
    credited_to: int
    taking: tuple[tuple[int, str], ...]
    settled_to: int


@dataclass(frozen=True, kw_only=True)
class SettleOrders(Request):
    """Settle a page of orders from what the seller has paid. Where the account moved since it was read, nothing is
    done: the next page is read from where it is now."""

    page: OpenPage

    def needs(self) -> Needs:
        account = self.page.account
        needs = needs_of_accounts([(account.organization_id, account.currency)])
        return Needs(streams=self._orders).joined(needs)

    @property
    def _orders(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.page.giving, *(order_id for _, order_id in self.page.taking))))

    def decide(self, facts: Facts) -> Decision:
        page = self.page
        accounts = SellerAccounts(facts)
        account = accounts.account(page.account.organization_id, page.account.currency)
        answer: dict[str, Any] = {"account_id": account.id}
        if account.details != page.account:
            events = account.new_events()  # it may just have been brought up to date
            return Decision(answer=answer, events=events, organization_id=account.details.organization_id)
        orders = {order_id: _order(facts, order_id) for order_id in self._orders}
        # What a cap took off an order that is refunded is owed again: it must not settle others before that is known.
        events = count_ended(facts, [orders[id_] for id_ in page.giving if orders[id_].unsettled < 0], accounts)
        account.allocate(
            giving=[orders[order_id] for order_id in page.giving],
            taking=[(position, orders[order_id]) for position, order_id in page.taking],
            credited_to=page.credited_to,
            settled_to=page.settled_to,
            at=facts.now,
        )
        events += accounts.new_events()
        for order in orders.values():
            events += order.new_events()
        return Decision(answer=answer, events=events, organization_id=account.details.organization_id)


def _order(facts: Facts, order_id: str) -> Order:
    order = facts.aggregate(Order, order_id)
    if order is None:
        msg = f"no order {order_id}, of which entries tell"
        raise LookupError(msg)
    return order


@dataclass(frozen=True, kw_only=True)
class ReturnPage:
    """Orders of which settlements may be taken back after a return, those first that the payment named, then the
    newest; with each the position of its first entry. `account`: as it was read, None where there was none.
    `exhausted`: there are no others."""

    account: SellerAccountDetails | None
    orders: tuple[tuple[int, str], ...]
    exhausted: bool

    @property
    def order_ids(self) -> tuple[str, ...]:
        return tuple(order_id for _, order_id in self.orders)


def take_back(facts: Facts, account: SellerAccount, page: ReturnPage, *, up_to_date: bool) -> list[Event]:
    """The events of an account, and of the orders of a page that it takes settlements back of. `up_to_date`: nothing
    was settled since the page was read, so that it knows whether there are others."""
    orders = [(position, _order(facts, order_id)) for position, order_id in page.orders]
    account.take_back(orders, exhausted=page.exhausted and up_to_date, at=facts.now)
    return [*account.new_events(), *(event for _, order in orders for event in order.new_events())]


@dataclass(frozen=True, kw_only=True)
class TakeBack(Request):
    """Take back the next page of settlements after a return. Where the account moved since it was read, nothing is
    done: the next page is read from where it is now."""

    organization_id: str
    currency: str
    page: ReturnPage

    def needs(self) -> Needs:
        needs = needs_of_accounts([(self.organization_id, self.currency)])
        return Needs(streams=self.page.order_ids).joined(needs)

    def decide(self, facts: Facts) -> Decision:
        account = SellerAccounts(facts).account(self.organization_id, self.currency)
        answer: dict[str, Any] = {"account_id": account.id}
        events: Sequence[Event] = ()
        if account.details == self.page.account:
            events = take_back(facts, account, self.page, up_to_date=True)
        return Decision(answer=answer, events=events, organization_id=self.organization_id)


class SettlementQueue(Protocol):
    """Finds what sellers' payments may settle."""

    async def open_pages(self, *, limit: int) -> Sequence[OpenPage]:
        """For at most that many accounts with something to do, its next page of MOST_ORDERS orders."""

    async def return_pages(self, *, limit: int) -> Sequence[ReturnPage]:
        """For at most that many accounts that have still to take back what was returned, the next page."""

    async def of_before(self, *, limit: int) -> Sequence[tuple[str, str]]:
        """At most that many organisations and currencies whose accounts have not adopted what was charged."""


class SettlementDesk:
    """The worker's jobs with accounts of sellers."""

    def __init__(self, bus: CommandBus, queue: SettlementQueue) -> None:
        self._bus, self._queue = bus, queue

    async def run(self) -> int:
        """Takes back or settles a page of each account with something to do; how many accounts moved."""
        commands: list[Command] = [
            TakeBack(
                caller=Caller(actor="worker", correlation_id=f"taking back:{page.account.id}"),
                organization_id=page.account.organization_id,
                currency=page.account.currency,
                page=page,
            )
            for page in await self._queue.return_pages(limit=_AT_ONCE)
            if page.account is not None
        ]
        commands += [
            SettleOrders(caller=Caller(actor="worker", correlation_id=f"settling:{page.account.id}"), page=page)
            for page in await self._queue.open_pages(limit=_AT_ONCE)
        ]
        return await self._submit(commands)

    async def adopt(self) -> int:
        """Brings all accounts of before up to date; how many."""
        adopted = 0
        while places := await self._queue.of_before(limit=_AT_ONCE):
            commands = [
                AdoptCharges(
                    caller=Caller(actor="worker", correlation_id=f"adopting:{organization_id}:{currency}"),
                    organization_id=organization_id,
                    currency=currency,
                )
                for organization_id, currency in places
            ]
            done = await self._submit(commands)
            adopted += done
            if not done:
                break
        return adopted

    async def _submit(self, commands: Sequence[Command]) -> int:
        recorded = await submit_all(self._bus, commands)
        return sum(1 for answer in recorded if answer is not None and answer.position is not None)
