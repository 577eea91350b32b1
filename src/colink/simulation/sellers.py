"""Sellers who collect the money themselves, in a simulated business: finance bills them for months, and records what
they pay: with and without orders or an invoice named, a part, too much, told twice, told wrongly, and bounced.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from colink.adapters.postgres.pool import AsyncPool
from colink.application.ports import Recorded
from colink.application.seller_invoices import IssueSellerInvoice
from colink.application.seller_payments import RecordSellerPayment, ReturnSellerPayment
from colink.domain.errors import ColinkError
from colink.domain.ids import natural_parts, order_id
from colink.domain.money import Money
from colink.domain.seller_accounts import seller_account_id, seller_invoice_id, seller_payment_id
from colink.domain.seller_billing import SellerPaymentDetails
from colink.projections.documents import document_by_id
from colink.projections.seller_billing import receivable_currencies, return_page
from colink.projections.seller_invoices import bill_for
from colink.simulation.business import FINANCE, Business
from colink.simulation.checks import Differs
from colink.simulation.model.books import Books
from colink.simulation.model.calendar import month_at, month_before
from colink.simulation.stage import Stage

Facts = dict[str, Any]
Place = tuple[str, str]

_DAY = 86_400
_ACCOUNTS = "select id, body from colink.documents where kind = 'seller_account' and current"
_INVOICES = "select id, body from colink.documents where kind = 'seller_invoice' and current"
_SETTLED = """
    select distinct on (stream_id) stream_id, payload from colink.events
     where topic in ('order.settled', 'order.settlement_taken_back') order by stream_id, version desc
"""


class Sellers:
    def __init__(self, stage: Stage, business: Business) -> None:
        self.stage = stage
        self.business = business
        self._payments = 0

    @property
    def _places(self) -> list[Place]:
        """Of those who ever owed something."""
        return sorted(self.stage.books.sellers.entries)

    def _collects(self, organization: str) -> bool:
        """Whether it has a store that collects the money itself."""
        stores = self.business.stores
        return any(store["organization"] == organization and not store["platform_collected"] for store in stores)

    async def pay(self) -> None:
        """A seller pays: mostly what he owes, by an invoice or for some orders or for no reason that he gives."""
        random, sellers = self.stage.random, self.stage.books.sellers
        if not self._places:
            return
        organization, currency = place = random.choice(self._places)
        now = int(self.stage.clock.time.timestamp())
        owed = -self.stage.books.balances.of(f"seller:{organization}:receivable", currency)
        self._payments += 1
        payment: Facts = {
            "organization": organization,
            "currency": currency,
            "amount": random.choice([max(owed, 1), max(owed, 1), max(owed // 2, 1), max(owed, 0) + 500, 1, 200]),
            "reference": f"transfer {self._payments}",
            "received_at": now - random.choice([0, 0, 60, _DAY, 40 * _DAY]),
            "invoice": None,
            "orders": (),
        }
        draw = random.random()
        issued = [key for key in sellers.invoices if key[:2] == place]
        if issued and draw < 0.4:
            payment["invoice"] = random.choice(issued)
        elif draw < 0.7:
            payment["orders"] = self._some_orders(place)
        if sellers.payments and random.random() < 0.1:
            payment = random.choice(list(sellers.payments.values()))
            payment = payment | ({"amount": payment["amount"] + 1} if random.random() < 0.5 else {})
        if random.random() < 0.03:
            payment = payment | random.choice([{"amount": 0}, {"received_at": now + 60}])
        if self._collects(payment["organization"]):
            await self._record(payment)

    def _some_orders(self, place: Place) -> tuple[tuple[str, str], ...]:
        """Open ones mostly; settled ones, and such as nobody billed, too."""
        random, books = self.stage.random, self.stage.books
        own = [
            key
            for key, order in books.orders.items()
            if (order.store["organization"], order.store["currency"]) == place and order.told.snapshots
        ]
        open_ = [key for key in own if books.sellers.unsettled(key) > 0]
        chosen = random.sample(open_, min(len(open_), random.randint(1, 4)))
        if own and random.random() < 0.2:
            chosen.append(random.choice(own))
        if books.orders and random.random() < 0.03:
            chosen.append(random.choice(list(books.orders)))
        return tuple(dict.fromkeys(chosen))

    async def _record(self, payment: Facts) -> None:
        sellers = self.stage.books.sellers
        named, invoice = payment["orders"], payment["invoice"]
        if invoice is not None:
            named = await self._open_orders_of(invoice)
        async with self.stage.service.pool.connection() as connection:
            currencies = await receivable_currencies(connection, payment["organization"])
        command = RecordSellerPayment(
            caller=FINANCE,
            idempotency=self.stage.idempotency(),
            organization_id=payment["organization"],
            amount=Money(payment["amount"], payment["currency"]),
            reference=payment["reference"],
            received_at=datetime.fromtimestamp(payment["received_at"], UTC),
            currencies=currencies,
            invoice_id=seller_invoice_id(*invoice) if invoice else None,
            order_ids=tuple(order_id(*key) for key in named),
        )
        what = f"{payment['reference']} of {payment['organization']}"
        wrong = sellers.wrong_with_payment(payment)
        if recorded := await self.stage.attempt(command, what, refusals=wrong):
            self.stage.step(what, self.stage.books.pay_of_seller(payment), recorded.position)

    async def _open_orders_of(self, invoice: tuple[str, str, str]) -> list[tuple[str, str]]:
        """As the route finds them: of an invoice's orders those that are not settled. Raises Differs."""
        expected = self.stage.books.sellers.open_orders_of(invoice)
        lines = list(self.stage.books.sellers.invoices[invoice]["lines"])
        orders = await self.stage.service.orders([order_id(*key) for key in lines])
        found = [key for key in lines if (order := orders.get(order_id(*key))) is not None and order.unsettled > 0]
        if found[:100] != expected:
            msg = f"of {invoice} are open {found[:100]}, expected {expected}"
            raise Differs(msg)
        return expected

    async def bounce(self) -> None:
        """The bank takes a payment back: now, or at a time that cannot be, or it was told before."""
        random, sellers = self.stage.random, self.stage.books.sellers
        kept = [payment for id_, payment in sellers.payments.items() if id_ not in sellers.returns]
        known = list(sellers.payments.values()) if random.random() < 0.15 else kept
        if not known:
            return
        payment, now = random.choice(known[-12:]), int(self.stage.clock.time.timestamp())
        id_ = payment["organization"], payment["reference"]
        at, reason = random.choice([max(payment["received_at"], now - _DAY), now]), "refer to drawer"
        if id_ in sellers.returns and random.random() < 0.5:
            at, reason = sellers.returns[id_]
        if random.random() < 0.05:
            at = random.choice([now + 1, payment["received_at"] - 1])
        async with self.stage.service.pool.connection() as connection:
            document = await document_by_id(connection, SellerPaymentDetails, seller_payment_id(*id_))
            if document is None:
                msg = f"{payment['reference']} was recorded, and is not there"
                raise Differs(msg)
            details = document.details(SellerPaymentDetails)
            page = await return_page(connection, details)
        command = ReturnSellerPayment(
            caller=FINANCE,
            idempotency=self.stage.idempotency(),
            known=details,
            reason=reason,
            returned_at=datetime.fromtimestamp(at, UTC),
            page=page,
        )
        what, wrong = f"return of {payment['reference']}", sellers.wrong_with_return(payment, at=at, reason=reason)
        if recorded := await self.stage.attempt(command, what, refusals=wrong):
            self.stage.step(what, self.stage.books.bounce(payment, at=at, reason=reason), recorded.position)

    async def bill(self) -> None:
        """Finance bills a seller for a month, the last or another one, for the first time or again."""
        random, sellers = self.stage.random, self.stage.books.sellers
        places = [*self._places, (random.choice(self.business.organizations)["id"], "MYR")]
        place = random.choice(places)
        zone = self._zone(place[0])
        period = month_at(int(self.stage.clock.time.timestamp()), zone)
        for _ in range(random.choice([0, 1, 1, 1, 1, 2])):
            period = month_before(period)
        what, wrong = f"invoice of {place} for {period}", sellers.wrong_with_invoice(place, period, zone=zone)
        key = self.stage.idempotency()

        async def ask() -> Recorded | Exception:
            try:
                async with self.stage.service.pool.connection() as connection:
                    bill = await bill_for(
                        connection,
                        organization_id=place[0],
                        currency=place[1],
                        period=period,
                        now=self.stage.clock.time,
                    )
                return await self.stage.service.commerce.submit(
                    IssueSellerInvoice(caller=FINANCE, idempotency=key, bill=bill)
                )
            except ColinkError as refusal:
                return refusal

        if recorded := await self.stage.attempt_of(ask, what, refusals=wrong):
            _look_at_invoice(recorded.answer, sellers.invoice(place, period, zone=zone), what)
            self.stage.step(what, {}, recorded.position)

    def _zone(self, organization: str) -> str:
        return str(self.stage.books.known.organizations[organization]["timezone"])


def _look_at_invoice(answer: Mapping[str, Any], expected: Facts, what: str) -> None:
    """Raises Differs."""
    lines = {order_id(*key): amount for key, amount in expected["lines"].items()}
    shown = {line["order_id"]: line["amount"]["amount"] for line in answer["lines"]}
    totals = {name: answer[name]["amount"] for name in ("opening", "charged", "paid", "other", "due")}
    predicted = {name: expected[name] for name in ("opening", "paid", "other", "due")} | {
        "charged": sum(lines.values())
    }
    if totals != predicted or list(shown.items()) != list(lines.items()):
        msg = f"{what} says {totals} and {shown}, expected {predicted} and {lines}"
        raise Differs(msg)


async def compare_sellers(pool: AsyncPool, books: Books) -> None:
    """The credit of each account, what waits for it, what is settled of each order, what each invoice says is due.

    Raises Differs.
    """
    async with pool.connection() as connection:
        accounts = await (await connection.execute(_ACCOUNTS)).fetchall()
        invoices = await (await connection.execute(_INVOICES)).fetchall()
        orders = await (await connection.execute(_SETTLED)).fetchall()
    told = {id_: msgspec.json.decode(body) for id_, body in accounts}
    stand = {id_: (body["credit"], body["held"]) for id_, body in told.items()}
    predicted = {
        seller_account_id(*place): (account.credit, books.counting.true_ups.held(*place))
        for place, account in books.sellers.accounts.items()
    }
    if stand != predicted:
        msg = f"sellers' credit and what waits for it are {stand}, expected {predicted}"
        raise Differs(msg)
    due = {id_: msgspec.json.decode(body)["due"] for id_, body in invoices}
    billed = {seller_invoice_id(*key): invoice["due"] for key, invoice in books.sellers.invoices.items()}
    if due != billed:
        msg = f"invoices say {due} is due, expected {billed}"
        raise Differs(msg)
    settled = {id_: msgspec.json.decode(payload)["settled"] for id_, payload in orders}
    expected = {order_id(*key): order.settled for key, order in books.orders.items()}
    wrong = {id_: settled.get(id_, 0) for id_, amount in expected.items() if settled.get(id_, 0) != amount}
    if wrong:
        id_ = min(wrong, key=natural_parts)
        msg = f"{len(wrong)} orders, such as {id_}: {wrong[id_]} is settled of it, expected {expected[id_]}"
        raise Differs(msg)
