"""Invoices of sellers who collect the money themselves: issued by hand, and by the worker when a calendar month is
over. Semantics section 6.

An invoice bills a month in the organisation's time zone, by what was posted since the invoice before. One a month,
organisation and currency: its id says so, whoever issues it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from colink.application.jobs import submit_all
from colink.application.ports import Caller, Clock, CommandBus, Decision, Facts, Needs, Request
from colink.application.seller_accounts import SellerAccounts, needs_of_accounts
from colink.domain.local_time import last_month, local_month, next_month
from colink.domain.money import Money
from colink.domain.organizations import OrganizationDetails
from colink.domain.seller_accounts import AccountMoved, NothingToInvoice, seller_invoice_id
from colink.domain.seller_billing import ReceivableStatement, SellerInvoice, SellerInvoiceDetails

_AT_ONCE = 64  # sellers


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
class Bill:
    """What an invoice bills."""

    organization_id: str
    currency: str
    period: str
    statement: ReceivableStatement

    @property
    def id(self) -> str:
        """Of the invoice."""
        return seller_invoice_id(self.organization_id, self.currency, self.period)

    @property
    def is_nothing(self) -> bool:
        return not self.statement.lines and self.statement.opening == self.statement.due == 0


@dataclass(frozen=True, kw_only=True)
class IssueSellerInvoice(Request):
    """Bill a seller for a calendar month, by the statement of what was posted since the last invoice. Issued before:
    the answer again. Raises NothingToInvoice; AccountMoved where another invoice came between."""

    bill: Bill

    def needs(self) -> Needs:
        bill = self.bill
        needs = Needs(streams=(bill.id,), documents=((OrganizationDetails, bill.organization_id),))
        return needs.joined(needs_of_accounts([(bill.organization_id, bill.currency)]))

    def decide(self, facts: Facts) -> Decision:
        bill, statement = self.bill, self.bill.statement
        known = facts.aggregate(SellerInvoice, bill.id)
        if known is not None:
            return Decision(answer=shown_invoice(known.details), organization_id=bill.organization_id)
        if bill.is_nothing:
            msg = (
                f"until the end of {bill.period} {bill.organization_id} owes nothing in {bill.currency}, and nothing"
                " was charged since the last invoice"
            )
            raise NothingToInvoice(msg)
        account = SellerAccounts(facts).account(bill.organization_id, bill.currency)
        if account.details.invoiced_to != statement.from_position:
            msg = f"{account.id} was invoiced up to {account.details.invoiced_to} meanwhile: ask again"
            raise AccountMoved(msg)
        details = SellerInvoiceDetails(
            id=bill.id,
            organization_id=bill.organization_id,
            currency=bill.currency,
            period=bill.period,
            statement=statement,
            due=statement.due,
            issued_by=self.caller.actor,
        )
        invoice = SellerInvoice.issue(details, at=facts.now)
        account.invoice(bill.id, to_position=statement.to_position, at=facts.now)
        return Decision(
            answer=shown_invoice(details),
            events=[*invoice.new_events(), *account.new_events()],
            organization_id=bill.organization_id,
        )


@dataclass(frozen=True, kw_only=True)
class Billable:
    """A seller who owes something in a currency, or of whom something was posted that no invoice bills yet, since
    `unbilled_since`. `is_open`: he owes, or has paid too much. `last_period`: the last that was billed."""

    organization_id: str
    timezone: str
    currency: str
    invoiced_to: int
    last_period: str | None
    unbilled_since: datetime | None
    is_open: bool

    def due_period(self, now: datetime) -> str | None:
        """The next month to bill, if it is over: that of the first posting that is not billed, or, where nothing was
        posted and something is open, the last; never one up to the last billed."""
        last = last_month(now, self.timezone)
        posted = local_month(self.unbilled_since, self.timezone) if self.unbilled_since else None
        period = last if posted is None or posted > last else posted
        if self.last_period is not None:
            period = max(period, next_month(self.last_period))
        quiet = (posted is None or posted > last) and not self.is_open
        return None if quiet or period > last else period


class InvoiceQueue(Protocol):
    """Finds what there is to bill."""

    async def billable(self, *, after: Billable | None, limit: int) -> Sequence[Billable]:
        """At most that many, those behind `after`, in an order that stays."""

    async def statement(self, seller: Billable, period: str) -> ReceivableStatement: ...


class InvoiceDesk:
    """The worker's invoices."""

    def __init__(self, bus: CommandBus, queue: InvoiceQueue, clock: Clock) -> None:
        self._bus, self._queue, self._clock = bus, queue, clock

    async def run(self) -> int:
        """Issues the invoices of all sellers for months that are over, the earliest first; how many."""
        issued = 0
        while done := await self._issue_next():
            issued += done
        return issued

    async def _issue_next(self) -> int:
        """One invoice of each seller and currency that has one due."""
        issued, after = 0, None
        while page := await self._queue.billable(after=after, limit=_AT_ONCE):
            after = page[-1]
            bills = [bill for seller in page if (bill := await self._bill(seller)) is not None]
            commands = [
                IssueSellerInvoice(
                    caller=Caller(actor="worker", correlation_id=f"invoice:{bill.id}"),
                    bill=bill,
                )
                for bill in bills
            ]
            recorded = await submit_all(self._bus, commands)
            issued += sum(1 for answer in recorded if answer is not None and answer.position is not None)
        return issued

    async def _bill(self, seller: Billable) -> Bill | None:
        """The next invoice; a month that came to nothing has none, and is on that of the month after."""
        now = self._clock.now()
        period = seller.due_period(now)
        while period is not None and period <= last_month(now, seller.timezone):
            statement = await self._queue.statement(seller, period)
            bill = Bill(
                organization_id=seller.organization_id, currency=seller.currency, period=period, statement=statement
            )
            if not bill.is_nothing:
                return bill
            period = next_month(period)
        return None
