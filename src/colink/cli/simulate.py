"""`colink simulate`: whole businesses lived in minutes on a virtual clock, and compared with a model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from colink.cli.output import Json, notes, tell
from colink.cli.wiring import SeedOutcome, Wiring

FOUND_SOMETHING = 1


def add_to(app: typer.Typer, wiring: Wiring) -> None:
    @app.command()
    def simulate(
        seed: Annotated[int, typer.Option(min=0, help="The same seed lives the same life.")],
        steps: Annotated[int, typer.Option(min=1, help="Deliveries, touches, commands and jobs of a seed.")] = 5_000,
        seeds: Annotated[int, typer.Option(min=1, help="So many seeds, from --seed on.")] = 1,
        processes: Annotated[int, typer.Option(min=1, max=64, help="Seeds lived at once.")] = 1,
        json: Json = False,
    ) -> None:
        """Live random businesses on a database of their own, with all that can go wrong, on a virtual clock.

        Every balance is compared with an independent model at every step. Exits 1 where a seed finds a difference;
        the command that lives it again is shown.
        """
        settings = wiring.load_settings()
        found: list[SeedOutcome] = []
        with _watched(seeds, steps) as (step, lived):
            for outcome in wiring.simulate(
                settings, range(seed, seed + seeds), steps=steps, processes=processes, progress=step
            ):
                found.append(outcome)
                lived(outcome)
        failed = [outcome for outcome in found if outcome.failure is not None]
        shorter = wiring.simulate.shortest(settings, seed=seed, steps=steps) if failed and seeds == 1 else None
        document = {
            "clean": not failed,
            "items": [_document(outcome) for outcome in found],
            "shortest": _document(shorter) if shorter else None,
        }
        tell(document, as_json=json, people=lambda console: _show(console, found, shorter))
        if failed:
            raise typer.Exit(FOUND_SOMETHING)


@contextmanager
def _watched(seeds: int, steps: int) -> Iterator[tuple[Callable[[int], None], Callable[[SeedOutcome], None]]]:
    """A bar for people: the steps of one seed, or the seeds. Failures are shown at once."""
    columns = (TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=notes, transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("", total=steps if seeds == 1 else seeds)

        def step(done: int) -> None:
            if seeds == 1:
                progress.update(bar, completed=min(done, steps))

        def lived(outcome: SeedOutcome) -> None:
            if seeds > 1:
                progress.advance(bar)
            if outcome.failure is not None:
                notes.print(f"[bold red]found[/] {escape(_again(outcome))}", soft_wrap=True)

        yield step, lived


def _again(outcome: SeedOutcome) -> str:
    return f"colink simulate --seed {outcome.seed} --steps {outcome.steps}"


def _document(outcome: SeedOutcome) -> dict[str, object]:
    return {
        "seed": outcome.seed,
        "steps": outcome.steps,
        "failure": outcome.failure,
        "failed_at": outcome.failed_at,
        "events": outcome.events,
        "orders": outcome.orders,
        "payouts": outcome.payouts,
        "crashes": outcome.crashes,
        "digest": outcome.digest,
        "command": _again(outcome),
    }


def _show(console: Console, found: list[SeedOutcome], shorter: SeedOutcome | None) -> None:
    table = Table("seed", show_edge=False)
    for column in ("events", "orders", "payouts", "crashes"):
        table.add_column(column, justify="right")
    table.add_column("result")
    for outcome in found:
        result = "as predicted" if outcome.failure is None else f"[bold red]step {outcome.failed_at}[/]"
        counts = (outcome.events, outcome.orders, outcome.payouts, outcome.crashes)
        table.add_row(str(outcome.seed), *(f"{count:,}" for count in counts), result)
    console.print(table)
    for outcome in found:
        if outcome.failure is not None:
            console.print(f"{_again(outcome)}\n  step {outcome.failed_at}: {escape(outcome.failure)}", soft_wrap=True)
    if shorter is not None and shorter.failure is not None:
        console.print(f"the shortest that fails: {_again(shorter)}\n  {escape(shorter.failure)}", soft_wrap=True)
