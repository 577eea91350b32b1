"""`colink tracking`: the months of clicks and views, and what is done with old ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from colink.application.tracking_archive import ArchivedMonth, TrackedMonth
from colink.cli.output import Json, busy, notes, tell
from colink.cli.wiring import Wiring

FOUND_SOMETHING = 1


def add_to(app: typer.Typer, wiring: Wiring) -> None:
    tracking = typer.Typer(help="The log of clicks and views, by month.", no_args_is_help=True)
    app.add_typer(tracking, name="tracking")

    @tracking.command("list")
    def list_(json: Json = False) -> None:
        """Show the months in the log and those that were archived."""
        archived, months = asyncio.run(_list(wiring))
        document = {"archived": [_document(month) for month in archived], "months": msgspec.to_builtins(months)}
        tell(document, as_json=json, people=lambda console: _show(console, archived, months))

    @tracking.command()
    def archive(
        before: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Months that ended by this day (UTC).")],
        json: Json = False,
    ) -> None:
        """Move old months out of the database into files of the data folder, the oldest first.

        Orders must be past crediting to them: the longest window of any campaign and 30 days. Keep the files: reports
        that are built anew read them.
        """
        done = asyncio.run(_archive(wiring, before.date()))
        tell(
            {"items": msgspec.to_builtins(done)},
            as_json=json,
            people=lambda console: console.print(
                "archived " + ", ".join(f"{each.month:%Y-%m}" for each in done)
                if done
                else f"nothing ended by {before:%Y-%m-%d}"
            ),
        )

    @tracking.command()
    def check(json: Json = False) -> None:
        """Read the archived files and compare them with what the log says of them. Exits 1 where one differs."""
        checked = asyncio.run(_check(wiring))
        document = {"items": [_document(month) | {"problem": problem} for month, problem in checked]}
        tell(document, as_json=json, people=lambda console: _show_checked(console, checked))
        if any(problem is not None for _, problem in checked):
            raise typer.Exit(FOUND_SOMETHING)


async def _list(wiring: Wiring) -> tuple[Sequence[ArchivedMonth], Sequence[TrackedMonth]]:
    async with wiring.open_colink(wiring.load_settings()) as colink:
        kept = colink.tracking_months
        return await asyncio.to_thread(kept.archived), await asyncio.to_thread(kept.months)


async def _archive(wiring: Wiring, before: date) -> Sequence[TrackedMonth]:
    def report(month: TrackedMonth) -> None:
        notes.print(f"archiving {month.month:%Y-%m}", style="dim")

    async with wiring.open_colink(wiring.load_settings()) as colink:
        return await asyncio.to_thread(colink.tracking_months.archive, before, report=report)


async def _check(wiring: Wiring) -> list[tuple[ArchivedMonth, str | None]]:
    async with wiring.open_colink(wiring.load_settings()) as colink:
        with busy("reading the archive"):
            return await asyncio.to_thread(lambda: list(colink.tracking_months.checked()))


def _document(month: ArchivedMonth) -> dict[str, object]:
    built: dict[str, object] = msgspec.to_builtins(month)
    return built | {"chain": month.chain.hex()}


def _show(console: Console, archived: Sequence[ArchivedMonth], months: Sequence[TrackedMonth]) -> None:
    table = Table("month", show_edge=False)
    table.add_column("from", justify="right")
    table.add_column("to", justify="right")
    table.add_column("where")
    for gone in archived:
        table.add_row(f"{gone.month:%Y-%m}", str(gone.first_position), str(gone.last_position), escape(gone.file))
    for month in months:
        first, last = ("" if at is None else str(at) for at in (month.first_position, month.last_position))
        table.add_row(f"{month.month:%Y-%m}", first, last, "the log")
    console.print(table)


def _show_checked(console: Console, checked: Sequence[tuple[ArchivedMonth, str | None]]) -> None:
    for month, problem in checked:
        outcome = "as the log held it" if problem is None else f"[bold red]differs:[/] {escape(problem)}"
        console.print(f"{month.month:%Y-%m} {escape(month.file)}: {outcome}", soft_wrap=True)
    if not checked:
        console.print("nothing is archived")
