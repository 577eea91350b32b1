"""`colink settlements`: what providers settled to us, for finance."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from colink.application.ports import Caller
from colink.application.representations import shown
from colink.application.settlements import RecordSettlement
from colink.cli.amounts import money_text, read_money
from colink.cli.callers import By, actor_of
from colink.cli.output import Json, tell
from colink.cli.times import moment
from colink.cli.wiring import Wiring
from colink.domain.errors import InvalidInput, NotFound
from colink.domain.facts import FeeKind
from colink.domain.money import Money
from colink.domain.organizations import StoreDetails
from colink.domain.settlements import SettledFee, SettlementDetails
from colink.projections.documents import Document, document_by_id, list_documents

_COLUMNS = ["order_external_id", "kind", "amount", "dispute_id"]
_LONGEST_SHOWN = 20  # fees, to people


@dataclass(frozen=True, kw_only=True)
class NamedFee:
    """A fee as it is typed, with its currency."""

    fee: SettledFee
    currency: str


def payment_fee(text: str) -> NamedFee:
    """`4507=343MYR`"""
    return _fee(text, FeeKind.PAYMENT)


def dispute_fee(text: str) -> NamedFee:
    """`4512=1500MYR`, or `4512/698735=1500MYR` of the dispute 698735."""
    return _fee(text, FeeKind.DISPUTE)


def _fee(text: str, kind: FeeKind) -> NamedFee:
    order, _, amount = text.rpartition("=")
    dispute_id = None
    if kind is FeeKind.DISPUTE and "/" in order:
        order, _, dispute_id = order.rpartition("/")
    if not order or dispute_id == "":
        example = "4507=343MYR" if kind is FeeKind.PAYMENT else "4512/698735=1500MYR"
        msg = f"{text!r} names no order: write ORDER=AMOUNT, such as {example} (minor units)"
        raise typer.BadParameter(msg)
    money = read_money(amount)
    fee = SettledFee(order_external_id=order, kind=kind, amount=money.amount, dispute_id=dispute_id)
    return NamedFee(fee=fee, currency=money.currency)


def add_to(app: typer.Typer, wiring: Wiring) -> None:
    settlements = typer.Typer(help="What providers settled to us, and the fees they kept.", no_args_is_help=True)
    app.add_typer(settlements, name="settlements")

    @settlements.command()
    def record(
        store: Annotated[str, typer.Argument(metavar="STORE", help="Whose money was settled.")],
        reference: Annotated[str, typer.Argument(metavar="REFERENCE", help="The provider's own, of each one.")],
        *,
        gross: Annotated[
            Money, typer.Option(parser=read_money, metavar="AMOUNT", help="Minor units, such as 1080000MYR.")
        ],
        fee: Annotated[Money, typer.Option(parser=read_money, metavar="AMOUNT", help="What of it was kept.")],
        settled_at: Annotated[datetime, typer.Option(parser=moment, metavar="TIME", help="RFC 3339.")],
        received_by: Annotated[
            str | None,
            typer.Option(metavar="NAME", help="Who has the money now, such as maybank; else the platform."),
        ] = None,
        payment_fees: Annotated[
            list[NamedFee] | None,
            typer.Option(
                "--payment-fee", parser=payment_fee, metavar="ORDER=AMOUNT", help="Of one order; repeatable."
            ),
        ] = None,
        dispute_fees: Annotated[
            list[NamedFee] | None,
            typer.Option(
                "--dispute-fee",
                parser=dispute_fee,
                metavar="ORDER[/DISPUTE]=AMOUNT",
                help="Of the order's disputes, or of the one that is named; repeatable.",
            ),
        ] = None,
        fees: Annotated[
            typer.FileText | None,
            typer.Option(metavar="FILE", help=f"More fees, as CSV with the columns {', '.join(_COLUMNS)}; - reads."),
        ] = None,
        by: By = None,
        json: Json = False,
    ) -> None:
        """Book what a provider settled of a store's money, once per reference; the same again changes nothing.

        The fee that is named for an order takes the place of what was known of it, and the difference is posted.
        Below zero it is given back.
        """
        named = [*(payment_fees or ()), *(dispute_fees or ())]
        stated = [_in_currency(each, gross.currency) for each in named]
        if fees is not None:
            stated += _read_fees(fees)
        if fee.currency != gross.currency:
            msg = f"--gross is in {gross.currency}, this is in {fee.currency}"
            raise InvalidInput(msg, field="--fee")
        answer = asyncio.run(
            _record(
                wiring,
                store,
                by=by,
                reference=reference,
                currency=gross.currency,
                gross=gross.amount,
                fee=fee.amount,
                settled_at=settled_at,
                received_by=received_by,
                fees=tuple(stated),
            )
        )
        tell(answer, as_json=json, people=lambda console: _show_one(console, answer))

    @settlements.command("list")
    def list_(
        organization: Annotated[str | None, typer.Option(metavar="ID", help="Only of this seller.")] = None,
        cursor: Annotated[str | None, typer.Option(metavar="ID", help="Go on where a list ended.")] = None,
        limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = 100,
        json: Json = False,
    ) -> None:
        """List settlements, by store and reference."""
        found = asyncio.run(_list(wiring, organization_id=organization, after_id=cursor, limit=limit + 1))
        items = [shown(each.details(SettlementDetails)) for each in found[:limit]]
        more = items[-1]["id"] if len(found) > limit else None

        def people(console: Console) -> None:
            _show_list(console, items)
            if more is not None:
                console.print(f"there are more: the same with --cursor {more}", soft_wrap=True)

        tell({"items": items, "next_cursor": more}, as_json=json, people=people)

    @settlements.command()
    def show(settlement: Annotated[str, typer.Argument(metavar="ID")], json: Json = False) -> None:
        """Show one settlement with the fees it states."""
        answer = asyncio.run(_show(wiring, settlement))
        tell(answer, as_json=json, people=lambda console: _show_one(console, answer))


def _in_currency(named: NamedFee, currency: str) -> SettledFee:
    if named.currency != currency:
        msg = f"--gross is in {currency}, the fee of order {named.fee.order_external_id} in {named.currency}"
        raise InvalidInput(msg, field=f"--{named.fee.kind}-fee")
    return named.fee


def _read_fees(file: typer.FileText) -> list[SettledFee]:
    """Fees of a table. Raises InvalidInput naming the line."""
    rows = csv.reader(file)
    header = next(rows, [])
    if header[:3] != _COLUMNS[:3] or header not in (_COLUMNS, _COLUMNS[:3]):
        msg = f"the first line names the columns: {','.join(_COLUMNS)}; the last may be left out"
        raise InvalidInput(msg, field="--fees")
    fees = []
    for row in rows:
        if not row:
            continue
        try:
            order, kind, amount, *dispute = row
            if len(row) != len(header) or not amount.removeprefix("-").isdecimal() or not amount.isascii():
                raise ValueError
            fees.append(
                SettledFee(
                    order_external_id=order,
                    kind=FeeKind(kind),
                    amount=int(amount),
                    dispute_id=(dispute[0] or None) if dispute else None,
                )
            )
        except ValueError:
            msg = (
                f"line {rows.line_num} is no fee: write an order, payment or dispute, and whole minor units, such as "
                "4507,payment,343"
            )
            raise InvalidInput(msg, field="--fees") from None
    return fees


async def _record(wiring: Wiring, store_id: str, *, by: str | None, **said: Any) -> Mapping[str, Any]:
    async with wiring.open_colink(wiring.load_settings()) as colink:
        async with colink.pool.connection() as connection:
            store = await document_by_id(connection, StoreDetails, store_id)
        if store is None:
            msg = f"there is no store {store_id!r}"
            raise NotFound(msg, field="STORE")
        caller = Caller(actor=actor_of(by), correlation_id=colink.ids("cli"))
        command = RecordSettlement(caller=caller, store=store.details(StoreDetails), **said)
        return (await colink.commerce.submit(command)).answer


async def _list(wiring: Wiring, **conditions: Any) -> list[Document]:
    async with wiring.open_colink(wiring.load_settings()) as colink, colink.pool.connection() as connection:
        return await list_documents(connection, SettlementDetails, **conditions)


async def _show(wiring: Wiring, settlement_id: str) -> Mapping[str, Any]:
    async with wiring.open_colink(wiring.load_settings()) as colink, colink.pool.connection() as connection:
        found = await document_by_id(connection, SettlementDetails, settlement_id)
    if found is None:
        msg = f"there is no settlement {settlement_id!r}: colink settlements list shows those there are"
        raise NotFound(msg)
    return shown(found.details(SettlementDetails))


def _text(money: Money | Mapping[str, Any]) -> str:
    """Of money as it was decided, or as it was recorded with an answer."""
    return money_text(money.amount, money.currency) if isinstance(money, Money) else money_text(**money)


def _moment(at: datetime | str) -> str:
    """Likewise."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}" if isinstance(at, datetime) else at


def _show_one(console: Console, settlement: Mapping[str, Any]) -> None:
    console.print(
        f"{escape(settlement['id'])}: {_text(settlement['gross'])} of {settlement['store_id']}, less a fee of"
        f" {_text(settlement['fee'])}, to processor:{settlement['received_by']}:cash,"
        f" at {_moment(settlement['settled_at'])}",
        soft_wrap=True,
    )
    fees = settlement["fees"]
    for fee in fees[:_LONGEST_SHOWN]:
        dispute = f" {fee['dispute_id']}" if fee["dispute_id"] else ""
        line = f"order {fee['order_external_id']}: {fee['kind']}{dispute} fee {_text(fee['amount'])}"
        console.print(escape(line), soft_wrap=True)
    if len(fees) > _LONGEST_SHOWN:
        console.print(f"and {len(fees) - _LONGEST_SHOWN} more fees: --json shows all")


def _show_list(console: Console, settlements: list[dict[str, Any]]) -> None:
    if not settlements:
        console.print("no settlements")
        return
    table = Table("settlement", "settled at", "gross", "fee", "to", "fees of orders", show_edge=False)
    for each in settlements:
        table.add_row(
            each["id"],
            f"{each['settled_at']:%Y-%m-%dT%H:%M:%SZ}",
            _text(each["gross"]),
            _text(each["fee"]),
            each["received_by"],
            str(len(each["fees"])),
        )
    console.print(table)
