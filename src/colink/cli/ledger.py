"""`colink ledger`: balances of the ledger's accounts, and statements of what payees earned."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from colink.cli import books, journals
from colink.cli.amounts import money_text
from colink.cli.files import put
from colink.cli.output import Json, notes, tell
from colink.cli.times import day_or_moment, moment
from colink.cli.wiring import Wiring
from colink.domain.errors import InvalidInput
from colink.projections.balances_in_time import Balance, list_balances
from colink.projections.engine import Log, head
from colink.projections.statement_forms import StatementFormat, statement_pieces


def add_to(app: typer.Typer, wiring: Wiring) -> None:
    ledger = typer.Typer(help="Accounts, balances, statements, months, and journals by hand.", no_args_is_help=True)
    app.add_typer(ledger, name="ledger")
    books.add_to(ledger, wiring)
    journals.add_to(ledger, wiring)

    @ledger.command()
    def balances(
        as_of: Annotated[
            datetime | None,
            typer.Option(parser=moment, metavar="TIME", help="By effective time, that time included (RFC 3339)."),
        ] = None,
        at_position: Annotated[
            int | None,
            typer.Option(
                min=0,
                metavar="P",
                help="As recorded up to that position of the log; with --as-of: of that, what was effective by then.",
            ),
        ] = None,
        account: Annotated[
            str | None, typer.Option(metavar="PREFIX", help="Only accounts whose names begin so, like payee:cre_.")
        ] = None,
        json: Json = False,
    ) -> None:
        """Show balances by account and currency, credit above zero. With neither time nor position: the newest."""
        found = asyncio.run(_balances(wiring, as_of=as_of, at_position=at_position, prefix=account))
        document = {
            "as_of": as_of,
            "at_position": at_position,
            "items": [{"account": b.account, "currency": b.currency, "amount": b.amount} for b in found],
        }
        none = "no balances: nothing was posted" + _conditions(as_of=as_of, at_position=at_position, prefix=account)
        tell(document, as_json=json, people=lambda console: _show(console, found, none=none))

    @ledger.command()
    def statement(
        payee: Annotated[str, typer.Argument(metavar="PAYEE", help="A creator's id or an organization's.")],
        *,
        from_: Annotated[
            datetime, typer.Option("--from", parser=day_or_moment, metavar="TIME", help="A day (UTC), or RFC 3339.")
        ],
        to: Annotated[
            datetime,
            typer.Option(parser=day_or_moment, metavar="TIME", help="The same; it ends before that."),
        ],
        currency: Annotated[str | None, typer.Option(help="Needed where there are several.")] = None,
        at_position: Annotated[
            int | None, typer.Option(min=0, metavar="P", help="As recorded up to that position of the log.")
        ] = None,
        form: Annotated[
            StatementFormat | None,
            typer.Option("--format", help="What to write; without it, as FILE is named, else html."),
        ] = None,
        output: Annotated[
            Path | None,
            typer.Option("-o", "--output", metavar="FILE", help="Written whole or not at all; else standard output."),
        ] = None,
        json: Json = False,
    ) -> None:
        """Write what a payee earned and was paid: opening, entries, closing, payouts; as page to print, CSV or JSON.

        With --at-position, which every statement names, an earlier one is made again exactly.
        """
        form = _form(form, output, as_json=json)
        period = {"payee_id": payee, "start": from_, "end": to, "at_position": at_position}
        period["currency"] = currency and currency.upper()  # as amounts are read, which have theirs in any case
        written = asyncio.run(_statement(wiring, form, output, **period))
        if json and output is not None:
            tell({"file": str(output), "format": form, "bytes": written}, as_json=json, people=lambda _: None)
        elif output is not None:
            notes.print(f"wrote {output}", soft_wrap=True)


def _form(asked: StatementFormat | None, path: Path | None, *, as_json: bool) -> StatementFormat:
    """What is asked for, else what the file's name says. On standard output --json leaves no choice."""
    if path is None:
        return StatementFormat.JSON if as_json else asked or StatementFormat.HTML
    if asked is not None or not path.suffix:
        return asked or StatementFormat.HTML
    named = {".htm": StatementFormat.HTML} | {f".{each}": each for each in StatementFormat}
    suffix = path.suffix.lower()
    if suffix not in named:
        msg = f"no statement is written as {suffix}: name FILE .html (to print, or to save as PDF), .csv or .json"
        raise InvalidInput(f"{msg}, or say --format", field="--output")
    return named[suffix]


async def _statement(wiring: Wiring, form: StatementFormat, path: Path | None, **asked: Any) -> int:
    async with wiring.open_colink(wiring.load_settings()) as colink, colink.pool.connection() as connection:
        return await put(statement_pieces(connection, form, people=colink.people, **asked), path)


async def _balances(
    wiring: Wiring, *, as_of: datetime | None, at_position: int | None, prefix: str | None
) -> list[Balance]:
    async with wiring.open_colink(wiring.load_settings()) as colink, colink.pool.connection() as connection:
        if at_position is not None and at_position > (end := await head(connection, Log.COMMERCE)):
            msg = f"the log ends at position {end}: give --at-position up to that"
            raise InvalidInput(msg, field="at_position")
        return await list_balances(connection, prefix=prefix, as_of=as_of, at_position=at_position)


def _conditions(*, as_of: datetime | None, at_position: int | None, prefix: str | None) -> str:
    """What was asked for, in words that follow "nothing was posted"."""
    account = f" to an account that begins with {prefix!r}" if prefix else ""
    effective = f", effective by {as_of:%Y-%m-%dT%H:%M:%SZ}" if as_of is not None else ""
    recorded = f", recorded up to position {at_position}" if at_position is not None else ""
    return account + effective + recorded


def _show(console: Console, balances: list[Balance], *, none: str) -> None:
    if not balances:
        console.print(escape(none), soft_wrap=True)
        return
    table = Table("account", show_edge=False)
    table.add_column("balance", justify="right")
    totals: dict[str, int] = {}
    for balance in balances:
        table.add_row(balance.account, money_text(balance.amount, balance.currency))
        totals[balance.currency] = totals.get(balance.currency, 0) + balance.amount
    table.add_section()
    for currency, total in sorted(totals.items()):
        table.add_row(f"sum of these in {currency}", money_text(total, currency))
    console.print(table)
