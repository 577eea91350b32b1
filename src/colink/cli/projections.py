"""`colink projections`: how far the reports are, letting a stopped one go on, and building one anew."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table
from rich.text import Text

from colink.cli.output import Json, notes, tell
from colink.cli.wiring import Wiring
from colink.projections.engine import Checkpoint, Progress, Rebuilt, State

STOPPED_AGAIN = 1

Name = Annotated[str, typer.Argument(metavar="NAME", help="As colink projections list shows it.")]


def add_to(app: typer.Typer, wiring: Wiring) -> None:
    projections = typer.Typer(help="The projections behind the reports.", no_args_is_help=True)
    app.add_typer(projections, name="projections")

    @projections.command("list")
    def list_(json: Json = False) -> None:
        """Show how far each projection has read each log, and which stopped at an event they cannot apply."""
        found = asyncio.run(_checkpoints(wiring))
        document = {"items": [msgspec.to_builtins(checkpoint) for checkpoint in found]}
        tell(document, as_json=json, people=lambda console: _show(console, found))

    @projections.command()
    def resume(name: Name, json: Json = False) -> None:
        """Let a stopped projection try its event again, and bring it up to date. Exits 1 where it stops again."""
        found = asyncio.run(_resume(wiring, name))
        document = {"items": [msgspec.to_builtins(checkpoint) for checkpoint in found]}
        tell(document, as_json=json, people=lambda console: _show(console, found))
        if any(checkpoint.error is not None for checkpoint in found):
            raise typer.Exit(STOPPED_AGAIN)

    @projections.command()
    def rebuild(name: Name, json: Json = False) -> None:
        """Build a projection anew from the log, beside the one in use; readers are pointed at it when it is complete.

        Safe under load and at any time. Cut off, it goes on where it was when run again. Exits 1 where it stops at an
        event that it cannot apply; readers then stay where they are.
        """
        rebuilt, checkpoints = asyncio.run(_rebuild(wiring, name))
        document = msgspec.to_builtins(rebuilt) | {"items": [msgspec.to_builtins(each) for each in checkpoints]}
        tell(document, as_json=json, people=lambda console: _show_rebuilt(console, rebuilt, checkpoints))
        if not rebuilt.live:
            raise typer.Exit(STOPPED_AGAIN)


async def _resume(wiring: Wiring, name: str) -> list[Checkpoint]:
    """The projection's checkpoints after another try."""
    async with wiring.open_colink(wiring.load_settings()) as colink:
        await colink.engine.resume(name)
        await colink.engine.catch_up(name)
        return [checkpoint for checkpoint in await colink.engine.checkpoints() if checkpoint.projection == name]


async def _checkpoints(wiring: Wiring) -> list[Checkpoint]:
    async with wiring.open_colink(wiring.load_settings()) as colink:
        return await colink.engine.checkpoints()


async def _rebuild(wiring: Wiring, name: str) -> tuple[Rebuilt, list[Checkpoint]]:
    """What was built, and the checkpoints of it."""
    async with wiring.open_colink(wiring.load_settings()) as colink:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
        )
        with ProgressBar(*columns, console=notes, transient=True, disable=not sys.stderr.isatty()) as bars:
            bar = bars.add_task(f"rebuilding {name}", total=None)

            def report(progress: Progress) -> None:
                done, total = sum(progress.positions.values()), sum(progress.heads.values())
                bars.update(bar, completed=done, total=total)

            rebuilt = await colink.engine.rebuild(name, report=report)
        return rebuilt, [
            each
            for each in await colink.engine.checkpoints()
            if (each.projection, each.version) == (name, rebuilt.version)
        ]


class _Rate(ProgressColumn):
    """Log positions a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} events/s" if task.speed else "", style="progress.data.speed")


def _show_rebuilt(console: Console, rebuilt: Rebuilt, checkpoints: list[Checkpoint]) -> None:
    if rebuilt.live:
        began = ", begun by an earlier rebuild" if rebuilt.resumed else ""
        console.print(f"{rebuilt.projection}: readers use version {rebuilt.version} now{began}")
        return
    for at in checkpoints:
        if at.error is not None:
            console.print(
                f"[bold red]{at.projection}: version {at.version} stopped at position {at.error_position}[/] of the "
                f"{at.log} log: {escape(at.error)}"
            )
    console.print("readers still use the version before; once the cause is mended, run this again")


def _show(console: Console, checkpoints: list[Checkpoint]) -> None:
    table = Table("projection", "log", show_edge=False)
    for column in ("version", "position", "behind"):
        table.add_column(column, justify="right")
    table.add_column("state")
    for at in checkpoints:
        behind = f"{at.lag} ({at.lag_seconds:,.0f} s)" if at.lag else "0"
        table.add_row(at.projection, at.log, str(at.version), str(at.position), behind, _state(at))
    console.print(table)
    for name in sorted({at.projection for at in checkpoints if at.error is not None and at.state is State.LIVE}):
        console.print(f"once the cause is mended: colink projections resume {name}")
    for name in sorted({at.projection for at in checkpoints if at.state is State.BUILDING}):
        console.print(f"a version of {name} is being built; if nobody is at it: colink projections rebuild {name}")


def _state(at: Checkpoint) -> str:
    if at.error is not None:
        return f"[bold red]stopped at position {at.error_position}[/] {escape(at.error)}"
    if at.state is State.BUILDING:
        return "being built, not read yet"
    return "live, up to date" if at.lag == 0 else "live, behind: run colink worker"
