"""`colink ledger accounts`, `close` and `periods`: the ledger as a whole."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from colink.application.close_period import ClosePeriod
from colink.application.ports import Caller
from colink.cli.amounts import money_text
from colink.cli.callers import By, actor_of
from colink.cli.output import Json, tell
from colink.cli.wiring import Wiring
from colink.projections.books import AccountSums, Closing, list_accounts, list_closings


def add_to(ledger: typer.Typer, wiring: Wiring) -> None:
    @ledger.command()
    def accounts(
        account: Annotated[
            str | None, typer.Option(metavar="PREFIX", help="Only accounts whose names begin so, like payee:cre_.")
        ] = None,
        json: Json = False,
    ) -> None:
        """List the accounts with type, normal side, all debits, all credits and balance (on the normal side)."""
        found = asyncio.run(_accounts(wiring, account))
        document = {
            "items": [
                {
                    "account": each.account,
                    "currency": each.currency,
                    "type": each.kind.type,
                    "normal_side": each.kind.normal_side,
                    "debits": each.debits,
                    "credits": each.credits,
                    "amount": each.amount,
                }
                for each in found
            ]
        }
        tell(document, as_json=json, people=lambda console: _show_accounts(console, found))

    @ledger.command()
    def close(
        month: Annotated[str, typer.Argument(metavar="MONTH", help="Such as 2026-10, in UTC.")],
        reason: Annotated[str, typer.Option(help="Why; it is kept in the log.")],
        by: By = None,
        json: Json = False,
    ) -> None:
        """Close a month that is over, and all open ones before it: it takes no more journals, and stays closed."""
        answer = asyncio.run(_close(wiring, month, reason=reason, by=by))
        tell(
            answer,
            as_json=json,
            people=lambda console: console.print(
                f"closed up to {month}: the ledger is open from {answer['open_from']}"
            ),
        )

    @ledger.command()
    def periods(json: Json = False) -> None:
        """Show what is closed, since when and why."""
        found = asyncio.run(_closings(wiring))
        document = {"items": [{"month": each.details.month, **_closing(each)} for each in found]}
        tell(document, as_json=json, people=lambda console: _show_closings(console, found))


async def _accounts(wiring: Wiring, prefix: str | None) -> list[AccountSums]:
    async with wiring.open_colink(wiring.load_settings()) as colink, colink.pool.connection() as connection:
        return await list_accounts(connection, prefix=prefix)


async def _close(wiring: Wiring, month: str, *, reason: str, by: str | None) -> dict[str, object]:
    async with wiring.open_colink(wiring.load_settings()) as colink:
        caller = Caller(actor=actor_of(by), correlation_id=colink.ids("cli"))
        recorded = await colink.commerce.submit(ClosePeriod(caller=caller, month=month, reason=reason))
        return dict(recorded.answer)


async def _closings(wiring: Wiring) -> list[Closing]:
    async with wiring.open_colink(wiring.load_settings()) as colink, colink.pool.connection() as connection:
        return await list_closings(connection)


def _closing(closing: Closing) -> dict[str, object]:
    return {
        "open_from": closing.details.open_from,
        "closed_by": closing.details.closed_by,
        "reason": closing.details.reason,
        "recorded_at": closing.recorded_at,
        "position": closing.position,
    }


def _show_accounts(console: Console, accounts: list[AccountSums]) -> None:
    if not accounts:
        console.print("no accounts: nothing was posted")
        return
    table = Table("account", "type", "side", show_edge=False)
    for column in ("debits", "credits", "balance"):
        table.add_column(column, justify="right")
    for each in accounts:
        sums = (each.debits, each.credits, each.kind.shown(each.amount))
        table.add_row(
            each.account,
            each.kind.type,
            each.kind.normal_side,
            *(money_text(amount, each.currency) for amount in sums),
        )
    console.print(table)


def _show_closings(console: Console, closings: list[Closing]) -> None:
    if not closings:
        console.print("nothing is closed: colink ledger close MONTH closes a month that is over")
        return
    table = Table("month", "closed", "by", "reason", show_edge=False)
    for each in closings:
        details = each.details
        table.add_row(details.month, f"{each.recorded_at:%Y-%m-%d %H:%M}", details.closed_by, details.reason)
    console.print(table)
    console.print(f"the ledger is open from {closings[-1].details.open_from.date()}")
