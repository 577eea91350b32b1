"""Bill sellers who collect the money themselves: record what they pay, settle their orders with it, issue invoices.
Semantics section 6.

A payment is recorded once per reference and is credit of the seller's account. Orders that it names are settled in
the same append; the worker settles others from the credit, a page of orders a command, oldest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from colink.application.jobs import submit_all
from colink.application.ports import Caller, Command, CommandBus, Decision, Facts, Needs, Request
from colink.application.seller_accounts import AdoptCharges, SellerAccounts, needs_of_accounts
from colink.domain.aggregates import Event
from colink.domain.errors import InvalidInput
from colink.domain.money import Money
from colink.domain.orders import Order
from colink.domain.organizations import OrganizationDetails
from colink.domain.seller_accounts import (
    AccountMoved,
    NothingToInvoice,
    ReferenceUsed,
    SellerAccountDetails,
    seller_invoice_id,
    seller_payment_id,
)
from colink.domain.seller_billing import (
    ReceivableStatement,
    SellerInvoice,
    SellerInvoiceDetails,
    SellerPayment,
    SellerPaymentDetails,
    SellerPaymentReceived,
    payment_journal,
)

_AT_ONCE = 32  # accounts that one run of a job looks at


def shown_payment(payment: SellerPaymentDetails) -> dict[str, Any]:
    """A payment as the API shows it, the amount as money."""
    return {
        "id": payment.id,
        "organization_id": payment.organization_id,
        "amount": Money(payment.amount, payment.currency),
        "reference": payment.reference,
        "received_at": payment.received_at,
        "invoice_id": payment.invoice_id,
        "order_ids": list(payment.order_ids),
    }


def shown_invoice(invoice: SellerInvoiceDetails, *, lines: bool = True) -> dict[str, Any]:
    """An invoice as the API shows it, amounts as money."""
    statement, currency = invoice.statement, invoice.currency
    charged = sum(line.amount for line in statement.lines)
    shown: dict[str, Any] = {
        "id": invoice.id,
        "organization_id": invoice.organization_id,
        "period": invoice.period,
        "from_position": statement.from_position,
        "to_position": statement.to_position,
        "opening": Money(statement.opening, currency),
        "charged": Money(charged, currency),
        "paid": Money(statement.paid, currency),
        "other": Money(statement.other, currency),
        "due": Money(invoice.due, currency),
    }
    if lines:
        shown["lines"] = [
            {"order_id": line.order_id, "amount": Money(line.amount, currency)} for line in statement.lines
        ]
    return shown


@dataclass(frozen=True, kw_only=True)
class RecordSellerPayment(Request):
    """A seller paid. `order_ids` are settled at once; they are those that people named, or the first of the invoice
    that they named. Recorded before, with the same content: the answer again. Raises InvalidInput, ReferenceUsed."""

    organization_id: str
    amount: Money
    reference: str
    received_at: datetime
    invoice_id: str | None = None
    order_ids: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return seller_payment_id(self.organization_id, self.reference)

    def needs(self) -> Needs:
        documents: tuple[tuple[type[Any], str], ...] = ((OrganizationDetails, self.organization_id),)
        if self.invoice_id is not None:
            documents += ((SellerInvoiceDetails, self.invoice_id),)
        account = needs_of_accounts([(self.organization_id, self.amount.currency)])
        return Needs(streams=(self.id, *self.order_ids), documents=documents).joined(account)

    def decide(self, facts: Facts) -> Decision:
        details = self._details(facts)
        known = facts.aggregate(SellerPayment, self.id)
        if known is not None:
            if _told(known.details) != _told(details):
                msg = f"{self.reference!r} was recorded as {known.details.amount} {known.details.currency}"
                raise ReferenceUsed(msg, field="reference")
            return Decision(answer=shown_payment(known.details), organization_id=self.organization_id)
        payment = SellerPayment.receive(details, at=facts.now)
        events: list[Event] = payment.new_events()
        for event in list(events):
            if isinstance(event, SellerPaymentReceived):
                events += payment_journal(event).new_events()
        account = SellerAccounts(facts).account(self.organization_id, self.amount.currency)
        account.credit(self.id, self.amount.amount, at=facts.now)
        orders = [self._order(facts, number, order_id) for number, order_id in enumerate(self.order_ids)]
        if orders:
            account.allocate(taking=[(0, order) for order in orders], at=facts.now)
        events += account.new_events()
        for order in orders:
            events += order.new_events()
        return Decision(answer=shown_payment(details), events=events, organization_id=self.organization_id)

    def _details(self, facts: Facts) -> SellerPaymentDetails:
        if facts.document(OrganizationDetails, self.organization_id) is None:
            msg = f"there is no organization {self.organization_id!r}"
            raise InvalidInput(msg, field="organization_id")
        if self.amount.amount <= 0:
            msg = "a payment is more than nothing"
            raise InvalidInput(msg, field="amount.amount")
        if self.received_at > facts.now:
            msg = "money cannot have arrived in the future"
            raise InvalidInput(msg, field="received_at")
        if self.invoice_id is not None:
            invoice = facts.document(SellerInvoiceDetails, self.invoice_id)
            if invoice is None or invoice.organization_id != self.organization_id:
                msg = f"{self.organization_id} has no invoice {self.invoice_id!r}"
                raise InvalidInput(msg, field="invoice_id")
            if invoice.currency != self.amount.currency:
                msg = f"{self.invoice_id} is in {invoice.currency}"
                raise InvalidInput(msg, field="amount.currency")
        return SellerPaymentDetails(
            id=self.id,
            organization_id=self.organization_id,
            currency=self.amount.currency,
            amount=self.amount.amount,
            reference=self.reference,
            received_at=self.received_at,
            invoice_id=self.invoice_id,
            order_ids=self.order_ids if self.invoice_id is None else (),
            recorded_by=self.caller.actor,
        )

    def _order(self, facts: Facts, number: int, order_id: str) -> Order:
        order = facts.aggregate(Order, order_id)
        field = f"order_ids[{number}]"
        if order is None or order.organization_id != self.organization_id:
            msg = f"{self.organization_id} has no order {order_id!r}"
            raise InvalidInput(msg, field=field)
        if order.split is not None and order.split.currency != self.amount.currency:
            msg = f"{order_id} is in {order.split.currency}"
            raise InvalidInput(msg, field=field)
        return order


def _told(payment: SellerPaymentDetails) -> tuple[object, ...]:
    """What was told of it, whoever recorded it."""
    return payment.currency, payment.amount, payment.received_at, payment.invoice_id, payment.order_ids


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
        account = SellerAccounts(facts).account(page.account.organization_id, page.account.currency)
        answer: dict[str, Any] = {"account_id": account.id}
        if account.details != page.account:
            events = account.new_events()  # it may just have been brought up to date
            return Decision(answer=answer, events=events, organization_id=account.details.organization_id)
        orders = {order_id: self._order(facts, order_id) for order_id in self._orders}
        account.allocate(
            giving=[orders[order_id] for order_id in page.giving],
            taking=[(position, orders[order_id]) for position, order_id in page.taking],
            credited_to=page.credited_to,
            settled_to=page.settled_to,
            at=facts.now,
        )
        events = account.new_events()
        for order in orders.values():
            events += order.new_events()
        return Decision(answer=answer, events=events, organization_id=account.details.organization_id)

    def _order(self, facts: Facts, order_id: str) -> Order:
        order = facts.aggregate(Order, order_id)
        if order is None:
            msg = f"no order {order_id}, of which entries tell"
            raise LookupError(msg)
        return order


class SettlementQueue(Protocol):
    """Finds what sellers' payments may settle."""

    async def open_pages(self, *, limit: int) -> Sequence[OpenPage]:
        """For at most that many accounts with something to do, its next page of MOST_ORDERS orders."""

    async def of_before(self, *, limit: int) -> Sequence[tuple[str, str]]:
        """At most that many organisations and currencies whose accounts have not adopted what was charged."""


class SettlementDesk:
    """The worker's jobs with accounts of sellers."""

    def __init__(self, bus: CommandBus, queue: SettlementQueue) -> None:
        self._bus, self._queue = bus, queue

    async def run(self) -> int:
        """Settles a page of each account with something to do; how many accounts moved."""
        pages = await self._queue.open_pages(limit=_AT_ONCE)
        commands = [
            SettleOrders(caller=Caller(actor="worker", correlation_id=f"settling:{page.account.id}"), page=page)
            for page in pages
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


@dataclass(frozen=True, kw_only=True)
class IssueSellerInvoice(Request):
    """Bill a seller for a calendar month, by the statement of what was posted since the last invoice. Issued before:
    the answer again. Raises NothingToInvoice; AccountMoved where another invoice came between."""

    organization_id: str
    currency: str
    period: str
    statement: ReceivableStatement

    @property
    def id(self) -> str:
        return seller_invoice_id(self.organization_id, self.currency, self.period)

    def needs(self) -> Needs:
        needs = Needs(streams=(self.id,), documents=((OrganizationDetails, self.organization_id),))
        return needs.joined(needs_of_accounts([(self.organization_id, self.currency)]))

    def decide(self, facts: Facts) -> Decision:
        known = facts.aggregate(SellerInvoice, self.id)
        if known is not None:
            return Decision(answer=shown_invoice(known.details), organization_id=self.organization_id)
        statement = self.statement
        if not statement.lines and statement.opening == statement.due == 0:
            msg = f"{self.organization_id} owes nothing in {self.currency}, and nothing was charged"
            raise NothingToInvoice(msg)
        account = SellerAccounts(facts).account(self.organization_id, self.currency)
        if account.details.invoiced_to != statement.from_position:
            msg = f"{account.id} was invoiced up to {account.details.invoiced_to} meanwhile: ask again"
            raise AccountMoved(msg)
        details = SellerInvoiceDetails(
            id=self.id,
            organization_id=self.organization_id,
            currency=self.currency,
            period=self.period,
            statement=statement,
            due=statement.due,
            issued_by=self.caller.actor,
        )
        invoice = SellerInvoice.issue(details, at=facts.now)
        account.invoice(self.id, to_position=statement.to_position, at=facts.now)
        return Decision(
            answer=shown_invoice(details),
            events=[*invoice.new_events(), *account.new_events()],
            organization_id=self.organization_id,
        )
