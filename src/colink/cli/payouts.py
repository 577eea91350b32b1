"""`colink payouts`: request, approve and follow payouts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from colink.application.payouts import ApprovePayout
from colink.application.ports import Caller
from colink.application.problems import problem_document
from colink.application.worker import Job, WorkDone, Worker
from colink.cli.amounts import money_text
from colink.cli.callers import By, actor_of
from colink.cli.output import Json, busy, tell
from colink.cli.stopping import stop_signals
from colink.cli.wiring import RunningColink, Wiring
from colink.cli.worker import run_unless
from colink.domain.errors import ColinkError, NotFound
from colink.domain.money import Money
from colink.domain.payouts import PayoutStatus
from colink.projections.debts import Debt, list_debts
from colink.projections.engine import Connection, Log, head
from colink.projections.payouts import FiledPayout, list_payouts, payout_by_id

NOT_DONE = 2
_PAGE = 500


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A payout that was not approved, and why."""

    payout_id: str
    error: ColinkError


def add_to(app: typer.Typer, wiring: Wiring) -> None:
    payouts = typer.Typer(help="Payouts to creators and sellers.", no_args_is_help=True)
    app.add_typer(payouts, name="payouts")

    @payouts.command()
    def run(json: Json = False) -> None:
        """Request a payout for everybody who has the minimum available, and bring all payouts on.

        Only COLINK_PAYOUT_APPROVAL=auto approves what is requested. Waits 30 seconds at most for sandbox payouts.
        """
        work, changed = asyncio.run(_run(wiring))
        document = {
            "items": [_document(payout) for payout in changed],
            "failed": work.failed.get("payouts"),
            "unfinished": work.unfinished,
        }
        tell(document, as_json=json, people=lambda console: _show_run(console, work, changed))
        if work.failed:
            raise typer.Exit(1)

    @payouts.command("list")
    def list_(
        status: Annotated[list[PayoutStatus] | None, typer.Option(help="Only in this state; repeatable.")] = None,
        payee: Annotated[str | None, typer.Option(metavar="ID", help="Only of this creator or organization.")] = None,
        cursor: Annotated[int | None, typer.Option(metavar="N", help="Go on where a list ended.")] = None,
        limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = 100,
        json: Json = False,
    ) -> None:
        """List payouts, the oldest first."""
        found = asyncio.run(_list(wiring, status=status or None, payee_id=payee, after=cursor, limit=limit + 1))
        shown = found[:limit]
        more = shown[-1].created_position if len(found) > limit else None
        document = {"items": [_document(payout) for payout in shown], "next_cursor": more}

        def people(console: Console) -> None:
            _show(console, shown, none="no such payouts")
            if more is not None:
                console.print(f"there are more: the same with --cursor {more}")

        tell(document, as_json=json, people=people)

    @payouts.command()
    def debts(
        payee: Annotated[str | None, typer.Option(metavar="ID", help="Only of this creator or organization.")] = None,
        json: Json = False,
    ) -> None:
        """List payees who owe us, as what was paid out was refunded, and since when. Their next payouts net it."""
        now, found = asyncio.run(_debts(wiring, payee_id=payee))
        document = {
            "items": [
                {
                    "payee_id": debt.payee_id,
                    "owed": Money(debt.amount, debt.currency),
                    "since": debt.since,
                    "days": debt.days(now),
                }
                for debt in found
            ]
        }
        tell(document, as_json=json, people=lambda console: _show_debts(console, found, now))

    @payouts.command()
    def approve(
        ids: Annotated[list[str], typer.Argument(metavar="ID...")], by: By = None, json: Json = False
    ) -> None:
        """Approve payouts that were requested; the worker pays them. Exits 2 where one cannot be approved."""
        approved, refused = asyncio.run(_approve(wiring, ids, by=by))
        document = {
            "items": [_document(payout) for payout in approved],
            "refused": [{"id": r.payout_id, **problem_document(r.error)} for r in refused],
        }
        tell(document, as_json=json, people=lambda console: _show_approval(console, approved, refused))
        if refused:
            raise typer.Exit(NOT_DONE)


async def _run(wiring: Wiring) -> tuple[WorkDone, list[FiledPayout]]:
    with stop_signals() as stop:
        async with wiring.open_colink(wiring.load_settings()) as colink, colink.sandbox():
            async with colink.pool.connection() as connection:
                before = await head(connection, Log.COMMERCE)
            # Requested as the worker does, so that the person at the keyboard may approve (semantics section 7).
            desk = colink.payout_desk()
            worker = Worker([Job(name="payouts", run=desk.run, interval=1.0)], under_way=desk.under_way)
            with busy("paying"):
                work = await run_unless(stop, worker)
            if work is None:
                raise typer.Abort
            async with colink.pool.connection() as connection:
                return work, await _changed_payouts(connection, changed_after=before)


async def _list(wiring: Wiring, **conditions: Any) -> list[FiledPayout]:
    async with wiring.open_colink(wiring.load_settings()) as colink, colink.pool.connection() as connection:
        return await list_payouts(connection, **conditions)


async def _debts(wiring: Wiring, *, payee_id: str | None) -> tuple[datetime, list[Debt]]:
    found: list[Debt] = []
    async with wiring.open_colink(wiring.load_settings()) as colink:
        async with colink.pool.connection() as connection:
            after = None
            while page := await list_debts(connection, payee_id=payee_id, after=after, limit=_PAGE):
                found += page
                after = (page[-1].payee_id, page[-1].currency)
        return colink.clock.now(), found


def _show_debts(console: Console, debts: Sequence[Debt], now: datetime) -> None:
    if not debts:
        console.print("nobody owes anything")
        return
    table = Table("payee", "since", show_edge=False)
    table.add_column("days", justify="right")
    table.add_column("owed", justify="right")
    for debt in debts:
        owed = money_text(debt.amount, debt.currency)
        table.add_row(debt.payee_id, f"{debt.since:%Y-%m-%d}", str(debt.days(now)), owed)
    console.print(table)


async def _changed_payouts(connection: Connection, *, changed_after: int) -> list[FiledPayout]:
    found: list[FiledPayout] = []
    after = None
    while page := await list_payouts(connection, changed_after=changed_after, after=after, limit=_PAGE):
        found += page
        after = page[-1].created_position
    return found


async def _approve(wiring: Wiring, ids: Sequence[str], *, by: str | None) -> tuple[list[FiledPayout], list[Refused]]:
    """Raises NotFound before anything is approved where an id is none."""
    async with wiring.open_colink(wiring.load_settings()) as colink:
        wanted = [await _payout(colink, payout_id) for payout_id in dict.fromkeys(ids)]
        approved, refused = [], []
        for payout in wanted:
            try:
                await colink.commerce.submit(
                    ApprovePayout(
                        caller=Caller(actor=actor_of(by), correlation_id=colink.ids("cli")),
                        payout_id=payout.payout_id,
                        payee_id=payout.payee_id,
                        currency=payout.currency,
                    )
                )
            except ColinkError as error:
                refused.append(Refused(payout_id=payout.payout_id, error=error))
            else:
                approved.append(await _payout(colink, payout.payout_id))
    return approved, refused


async def _payout(colink: RunningColink, payout_id: str) -> FiledPayout:
    async with colink.pool.connection() as connection:
        payout = await payout_by_id(connection, payout_id)
    if payout is None:
        msg = f"there is no payout {payout_id!r}: colink payouts list shows those there are"
        raise NotFound(msg)
    return payout


def _document(payout: FiledPayout) -> dict[str, object]:
    return {
        "id": payout.payout_id,
        "payee_id": payout.payee_id,
        "status": payout.status,
        "amount": Money(payout.amount, payout.currency),
        "tax": Money(payout.tax, payout.currency),
        "net": Money(payout.amount - payout.tax, payout.currency),
    }


def _show(console: Console, payouts: Sequence[FiledPayout], *, none: str) -> None:
    if not payouts:
        console.print(none)
        return
    table = Table("payout", "payee", show_edge=False)
    table.add_column("amount", justify="right")
    table.add_column("status")
    for payout in payouts:
        table.add_row(payout.payout_id, payout.payee_id, money_text(payout.amount, payout.currency), payout.status)
    console.print(table)


def _show_run(console: Console, work: WorkDone, changed: Sequence[FiledPayout]) -> None:
    _show(console, changed, none="nothing to pay: nobody has the minimum available")
    waiting = [payout.payout_id for payout in changed if payout.status == PayoutStatus.REQUESTED]
    if waiting:
        console.print(f"to approve: colink payouts approve {' '.join(waiting)}", soft_wrap=True)
    if work.unfinished:
        console.print("some are still on their way: run colink worker --once later")
    for error in work.failed.values():
        console.print(f"[bold red]failed[/] {escape(error)}: run it again, it is safe to repeat", soft_wrap=True)


def _show_approval(console: Console, approved: Sequence[FiledPayout], refused: Sequence[Refused]) -> None:
    if approved:
        _show(console, approved, none="")
        console.print("a running worker pays them; without one: colink worker --once")
    for refusal in refused:
        console.print(
            f"[bold red]not approved[/] {refusal.payout_id}: {escape(refusal.error.detail)}", soft_wrap=True
        )
