"""Payments of sellers who collect the money themselves: record what they pay, and what of that the bank takes back.
Semantics section 6.

A payment is recorded once per reference and is credit of the seller's account. Orders that it names are settled in
the same append; the worker settles others from the credit (seller_settlement.py). A payment that is returned takes
back in its own append what fits one page, the worker the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from colink.application.configure.checks import check_money, check_text
from colink.application.ports import Decision, Facts, Needs, Request
from colink.application.seller_accounts import SellerAccounts, needs_of_accounts
from colink.application.seller_settlement import ReturnPage, take_back
from colink.application.true_ups import count_ended
from colink.domain.aggregates import Event
from colink.domain.errors import InvalidInput, NotFound
from colink.domain.ledger import seller_receivable
from colink.domain.money import Money
from colink.domain.orders import Order
from colink.domain.organizations import OrganizationDetails, Settlement
from colink.domain.seller_accounts import (
    ReferenceUsed,
    seller_payment_id,
)
from colink.domain.seller_billing import (
    PaymentReturn,
    SellerInvoiceDetails,
    SellerPayment,
    SellerPaymentDetails,
    SellerPaymentReceived,
    SellerPaymentReturned,
    payment_journal,
    return_journal,
)


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
        "returned": payment.returned
        and {"returned_at": payment.returned.returned_at, "reason": payment.returned.reason},
    }


@dataclass(frozen=True, kw_only=True)
class RecordSellerPayment(Request):
    """A seller paid. `order_ids` are settled at once; they are those that people named, or the first of the invoice
    that they named. `currencies`: those in which something was posted to his receivable. Recorded before, with the
    same content: the answer again. Raises InvalidInput, ReferenceUsed."""

    organization_id: str
    amount: Money
    reference: str
    received_at: datetime
    currencies: tuple[str, ...]
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
        needs = Needs(
            streams=(self.id, *self.order_ids),
            documents=documents,
            terms_of=self.organization_id,
            balances_of=(self._receivable,),
        )
        return needs.joined(account)

    @property
    def _receivable(self) -> tuple[str, str]:
        return seller_receivable(self.organization_id), self.amount.currency

    def decide(self, facts: Facts) -> Decision:
        details = self._details()
        known = facts.aggregate(SellerPayment, self.id)
        if known is not None:
            if _told(known.details) != _told(details):
                msg = f"{self.reference!r} was recorded as {known.details.amount} {known.details.currency}"
                raise ReferenceUsed(msg, field="reference")
            return Decision(answer=shown_payment(known.details), organization_id=self.organization_id)
        self._check(facts)
        payment = SellerPayment.receive(details, at=facts.now)
        events: list[Event] = payment.new_events()
        for event in list(events):
            if isinstance(event, SellerPaymentReceived):
                events += payment_journal(event).new_events()
        accounts = SellerAccounts(facts)
        orders = [self._order(facts, number, order_id) for number, order_id in enumerate(self.order_ids)]
        # As in SettleOrders: what a cap took off an order that is refunded is owed again before others are settled.
        events += count_ended(facts, [order for order in orders if order.unsettled < 0], accounts)
        account = accounts.account(self.organization_id, self.amount.currency)
        account.credit(self.id, self.amount.amount, at=facts.now)
        if orders:
            account.allocate(taking=[(0, order) for order in orders], at=facts.now)
        events += accounts.new_events()
        for order in orders:
            events += order.new_events()
        return Decision(answer=shown_payment(details), events=events, organization_id=self.organization_id)

    def _check(self, facts: Facts) -> None:
        """Raises InvalidInput for what cannot be a payment of this seller."""
        if facts.document(OrganizationDetails, self.organization_id) is None:
            msg = f"there is no organization {self.organization_id!r}"
            raise InvalidInput(msg, field="organization_id")
        check_text(self.reference, field="reference", longest=140)
        check_money(self.amount, field="amount")
        if self.amount.amount == 0:
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
        self._check_is_a_sellers(facts)

    def _check_is_a_sellers(self, facts: Facts) -> None:
        """Who collects nothing and owes nothing has nothing to pay. Nor does what is paid in a currency in which
        nothing was ever owed settle anything, where something is owed in another; a first payment may be in any."""
        currency, stores = self.amount.currency, facts.terms().stores.values()
        collects = any(store.settlement is Settlement.SELLER_COLLECTED for store in stores)
        if not collects and facts.balance(*self._receivable).amount >= 0:
            msg = f"{self.organization_id} collects no money itself, and owes nothing in {currency}"
            raise InvalidInput(msg, field="organization_id")
        if self.currencies and currency not in self.currencies:
            known = " and ".join(sorted(self.currencies))
            msg = f"{self.organization_id} is billed in {known}: say what the payment comes to there"
            raise InvalidInput(msg, field="amount.currency")

    def _details(self) -> SellerPaymentDetails:
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
class ReturnSellerPayment(Request):
    """The bank took a payment back. `known`: the payment as it was read; `page`: what may be taken back of orders.
    Recorded before, with the same content: the answer again. Raises InvalidInput, NotFound, PaymentReturned."""

    known: SellerPaymentDetails
    reason: str
    returned_at: datetime
    page: ReturnPage

    def needs(self) -> Needs:
        account = needs_of_accounts([(self.known.organization_id, self.known.currency)])
        return Needs(streams=(self.known.id, *self.page.order_ids)).joined(account)

    def decide(self, facts: Facts) -> Decision:
        payment = facts.aggregate(SellerPayment, self.known.id)
        if payment is None:
            msg = "there is no such payment"
            raise NotFound(msg)
        if self.returned_at > facts.now:
            msg = "money cannot have gone back in the future"
            raise InvalidInput(msg, field="returned_at")
        if self.returned_at < payment.details.received_at:
            msg = f"it arrived at {payment.details.received_at:%Y-%m-%dT%H:%M:%SZ}: it cannot have gone back before"
            raise InvalidInput(msg, field="returned_at")
        reason = check_text(self.reason, field="reason", longest=1_000)
        told = PaymentReturn(returned_at=self.returned_at, reason=reason, recorded_by=self.caller.actor)
        events: list[Event] = []
        if payment.bounce(told, at=facts.now):
            for event in payment.new_events():
                events.append(event)
                if isinstance(event, SellerPaymentReturned):
                    events += return_journal(event).new_events()
            account = SellerAccounts(facts).account(payment.details.organization_id, payment.details.currency)
            up_to_date = account.details == self.page.account
            account.return_payment(payment.id, payment.details.amount, at=facts.now)
            events += take_back(facts, account, self.page, up_to_date=up_to_date)
        return Decision(
            answer=shown_payment(payment.details),
            events=events,
            organization_id=payment.details.organization_id,
        )
