"""`colink sellers`: what sellers who collect the money themselves owe, paid and were billed, for finance."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from colink.application.ports import Caller, Command
from colink.application.seller_accounts import shown_account
from colink.application.seller_invoices import IssueSellerInvoice, shown_invoice
from colink.application.seller_payments import RecordSellerPayment, ReturnSellerPayment, shown_payment
from colink.cli.amounts import money_text, read_money
from colink.cli.callers import By, actor_of
from colink.cli.output import Json, tell
from colink.cli.times import moment
from colink.cli.wiring import Wiring
from colink.domain.errors import InvalidInput, NotFound
from colink.domain.money import Money
from colink.domain.seller_account_events import SellerAccountDetails
from colink.domain.seller_accounts import MOST_ORDERS
from colink.domain.seller_billing import SellerInvoiceDetails, SellerPaymentDetails
from colink.projections.documents import document_by_id, list_documents
from colink.projections.engine import Connection
from colink.projections.seller_billing import open_orders_of, receivable_currencies, return_page
from colink.projections.seller_invoices import bill_for

_LONGEST_SHOWN = 20  # lines of an invoice, to people


@dataclass(frozen=True, kw_only=True)
class _Paper:
    """A kind of what is listed and shown: how it is said as JSON, and in a table."""

    what: str
    details: type[Any]
    shown: Callable[[Any], dict[str, Any]]
    columns: tuple[str, ...]
    row: Callable[[Mapping[str, Any]], Sequence[str]]


_ACCOUNTS = _Paper(
    what="accounts",
    details=SellerAccountDetails,
    shown=shown_account,
    columns=("account", "seller", "credit", "waits of true-ups", "to be taken back"),
    row=lambda each: (
        each["id"],
        each["organization_id"],
        _text(each["credit"]),
        _text(each["held"]),
        _text(each["returned"]),
    ),
)
_PAYMENTS = _Paper(
    what="payments",
    details=SellerPaymentDetails,
    shown=shown_payment,
    columns=("payment", "seller", "amount", "received", "returned"),
    row=lambda each: (
        each["id"],
        each["organization_id"],
        _text(each["amount"]),
        _day(each["received_at"]),
        _day(each["returned"]["returned_at"]) if each["returned"] else "",
    ),
)
_INVOICES = _Paper(
    what="invoices",
    details=SellerInvoiceDetails,
    shown=lambda details: shown_invoice(details, lines=False),
    columns=("invoice", "seller", "month", "opening", "charged", "paid", "other", "due"),
    row=lambda each: (
        each["id"],
        each["organization_id"],
        each["period"],
        *(_text(each[name]) for name in ("opening", "charged", "paid", "other", "due")),
    ),
)
_PREFIXES = {"sac": _ACCOUNTS, "spm": _PAYMENTS, "inv": _INVOICES}

Seller = Annotated[str | None, typer.Option("--organization", metavar="ID", help="Only of this seller.")]
Cursor = Annotated[str | None, typer.Option(metavar="ID", help="Go on where a list ended.")]
Limit = Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")]


def add_to(app: typer.Typer, wiring: Wiring) -> None:
    sellers = typer.Typer(
        help="What sellers who collect the money themselves owe, paid and were billed.", no_args_is_help=True
    )
    app.add_typer(sellers, name="sellers")

    @sellers.command()
    def accounts(organization: Seller = None, cursor: Cursor = None, limit: Limit = 100, json: Json = False) -> None:
        """List accounts: what was paid or credited and settles no order yet; below zero: owed beside orders."""
        _tell_list(wiring, _ACCOUNTS, organization, cursor, limit, as_json=json)

    @sellers.command()
    def payments(organization: Seller = None, cursor: Cursor = None, limit: Limit = 100, json: Json = False) -> None:
        """List what sellers paid, by seller and reference."""
        _tell_list(wiring, _PAYMENTS, organization, cursor, limit, as_json=json)

    @sellers.command()
    def invoices(organization: Seller = None, cursor: Cursor = None, limit: Limit = 100, json: Json = False) -> None:
        """List invoices, by seller, currency and month."""
        _tell_list(wiring, _INVOICES, organization, cursor, limit, as_json=json)

    @sellers.command()
    def show(
        id_: Annotated[str, typer.Argument(metavar="ID", help="Of an account, a payment or an invoice.")],
        json: Json = False,
    ) -> None:
        """Show an account, a payment or an invoice with its lines."""
        answer = asyncio.run(_show(wiring, id_))
        tell(answer, as_json=json, people=lambda console: _tell_one(console, answer))

    @sellers.command()
    def pay(
        organization: Annotated[str, typer.Argument(metavar="SELLER", help="Who paid.")],
        amount: Annotated[
            Money, typer.Argument(parser=read_money, metavar="AMOUNT", help="Minor units, such as 213500MYR.")
        ],
        reference: Annotated[str, typer.Argument(metavar="REFERENCE", help="The bank's own, of each payment.")],
        *,
        received_at: Annotated[datetime, typer.Option(parser=moment, metavar="TIME", help="RFC 3339.")],
        invoice: Annotated[str | None, typer.Option(metavar="ID", help="Settle its orders first.")] = None,
        orders: Annotated[
            list[str] | None, typer.Option("--order", metavar="ID", help="Settle it first; repeatable.")
        ] = None,
        by: By = None,
        json: Json = False,
    ) -> None:
        """Record what a seller paid, once per reference. What is left settles the oldest orders, then later ones."""
        if orders and invoice is not None:
            msg = "a payment names an invoice or orders, not both"
            raise InvalidInput(msg, field="--order")
        if orders and len(orders) > MOST_ORDERS:
            msg = f"a payment names {MOST_ORDERS} orders at most: the rest settles the oldest"
            raise InvalidInput(msg, field="--order")

        async def make(desk: _Desk) -> Command:
            named = tuple(dict.fromkeys(orders or ()))
            if invoice is not None:
                named = await open_orders_of(desk.connection, invoice, organization_id=organization)
            return RecordSellerPayment(
                caller=desk.caller,
                organization_id=organization,
                amount=amount,
                reference=reference,
                received_at=received_at,
                currencies=await receivable_currencies(desk.connection, organization),
                invoice_id=invoice,
                order_ids=named,
            )

        answer = asyncio.run(_submit(wiring, make, by=by))
        tell(answer, as_json=json, people=lambda console: _tell_one(console, answer))

    @sellers.command("return")
    def return_(
        payment: Annotated[str, typer.Argument(metavar="PAYMENT")],
        *,
        reason: Annotated[str, typer.Option(help="What the bank says; it is kept with the payment.")],
        returned_at: Annotated[datetime, typer.Option(parser=moment, metavar="TIME", help="RFC 3339.")],
        by: By = None,
        json: Json = False,
    ) -> None:
        """Record that the bank took a payment back. What it settled and has not cleared waits to be paid again."""

        async def make(desk: _Desk) -> Command:
            document = await document_by_id(desk.connection, SellerPaymentDetails, payment)
            if document is None:
                msg = f"there is no payment {payment!r}: colink sellers payments shows those there are"
                raise NotFound(msg)
            known = document.details(SellerPaymentDetails)
            page = await return_page(desk.connection, known)
            return ReturnSellerPayment(
                caller=desk.caller, known=known, reason=reason, returned_at=returned_at, page=page
            )

        answer = asyncio.run(_submit(wiring, make, by=by))
        tell(answer, as_json=json, people=lambda console: _tell_one(console, answer))

    @sellers.command()
    def invoice(
        organization: Annotated[str, typer.Argument(metavar="SELLER")],
        currency: Annotated[str, typer.Argument(metavar="CURRENCY")],
        *,
        period: Annotated[
            str | None, typer.Option(metavar="MONTH", help="Such as 2026-03; without it, the last that is over.")
        ] = None,
        by: By = None,
        json: Json = False,
    ) -> None:
        """Bill a seller for a month that is over, which the worker does by itself. Asked again, the same invoice."""

        async def make(desk: _Desk) -> Command:
            bill = await bill_for(
                desk.connection,
                organization_id=organization,
                currency=currency.upper(),
                period=period,
                now=desk.now,
            )
            return IssueSellerInvoice(caller=desk.caller, bill=bill)

        answer = asyncio.run(_submit(wiring, make, by=by))
        tell(answer, as_json=json, people=lambda console: _tell_one(console, answer))


@dataclass(frozen=True, kw_only=True)
class _Desk:
    """What a command is made with."""

    connection: Connection
    caller: Caller
    now: datetime


async def _submit(
    wiring: Wiring, make: Callable[[_Desk], Awaitable[Command]], *, by: str | None
) -> Mapping[str, Any]:
    async with wiring.open_colink(wiring.load_settings()) as colink:
        caller = Caller(actor=actor_of(by), correlation_id=colink.ids("cli"))
        async with colink.pool.connection() as connection:
            command = await make(_Desk(connection=connection, caller=caller, now=colink.clock.now()))
        return (await colink.commerce.submit(command)).answer


async def _show(wiring: Wiring, id_: str) -> Mapping[str, Any]:
    paper = _PREFIXES.get(id_.partition("_")[0])
    async with wiring.open_colink(wiring.load_settings()) as colink, colink.pool.connection() as connection:
        document = await document_by_id(connection, paper.details, id_) if paper else None
    if paper is None or document is None:
        msg = f"{id_!r} is no account, payment or invoice: colink sellers accounts, payments and invoices list them"
        raise NotFound(msg)
    details = document.details(paper.details)
    return shown_invoice(details) if isinstance(details, SellerInvoiceDetails) else paper.shown(details)


def _tell_list(
    wiring: Wiring, paper: _Paper, organization_id: str | None, after: str | None, limit: int, *, as_json: bool
) -> None:
    items = asyncio.run(_list(wiring, paper, organization_id=organization_id, after_id=after, limit=limit + 1))
    items, more = items[:limit], items[limit - 1]["id"] if len(items) > limit else None

    def people(console: Console) -> None:
        if not items:
            console.print(f"no {paper.what} of sellers who collect the money themselves")
            return
        table = Table(*paper.columns, show_edge=False)
        for each in items:
            table.add_row(*(escape(text) for text in paper.row(each)))
        console.print(table)
        if more is not None:
            console.print(f"there are more: the same with --cursor {more}", soft_wrap=True)

    tell({"items": items, "next_cursor": more}, as_json=as_json, people=people)


async def _list(wiring: Wiring, paper: _Paper, **conditions: Any) -> list[dict[str, Any]]:
    async with wiring.open_colink(wiring.load_settings()) as colink, colink.pool.connection() as connection:
        documents = await list_documents(connection, paper.details, **conditions)
    return [paper.shown(document.details(paper.details)) for document in documents]


def _tell_one(console: Console, answer: Mapping[str, Any]) -> None:
    """Every field that says something, amounts as people write them; of an invoice the first lines."""
    table = Table(show_header=False, show_edge=False)
    for name, told in answer.items():
        if name != "lines" and told not in (None, []):
            table.add_row(name.replace("_", " "), escape(_told(told)))
    console.print(table)
    lines = answer.get("lines", [])
    for line in lines[:_LONGEST_SHOWN]:
        console.print(f"  {line['order_id']}  {_text(line['amount'])}", soft_wrap=True)
    if len(lines) > _LONGEST_SHOWN:
        console.print(f"  and {len(lines) - _LONGEST_SHOWN} more: --json shows all")


def _told(told: object) -> str:
    if isinstance(told, Money) or (isinstance(told, Mapping) and told.keys() == {"amount", "currency"}):
        return _text(told)
    if isinstance(told, Mapping):
        return ", ".join(_told(each) for each in told.values())
    if isinstance(told, Sequence) and not isinstance(told, str):
        return ", ".join(map(_told, told))
    return f"{told:%Y-%m-%d %H:%M:%S}" if isinstance(told, datetime) else str(told)


def _text(money: Money | Mapping[str, Any]) -> str:
    """Of money as it was decided, or as it was recorded with an answer."""
    return money_text(money.amount, money.currency) if isinstance(money, Money) else money_text(**money)


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"
