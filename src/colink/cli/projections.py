"""`colink projections`: how far the reports are, and letting a stopped one go on."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from colink.cli.output import Json, tell
from colink.cli.wiring import Wiring
from colink.projections.engine import Checkpoint

STOPPED_AGAIN = 1


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
    def resume(
        name: Annotated[str, typer.Argument(metavar="NAME", help="As colink projections list shows it.")],
        json: Json = False,
    ) -> None:
        """Let a stopped projection try its event again, and bring it up to date. Exits 1 where it stops again."""
        found = asyncio.run(_resume(wiring, name))
        document = {"items": [msgspec.to_builtins(checkpoint) for checkpoint in found]}
        tell(document, as_json=json, people=lambda console: _show(console, found))
        if any(checkpoint.error is not None for checkpoint in found):
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


def _show(console: Console, checkpoints: list[Checkpoint]) -> None:
    table = Table("projection", "log", show_edge=False)
    for column in ("version", "position", "behind"):
        table.add_column(column, justify="right")
    table.add_column("state")
    for at in checkpoints:
        state = "up to date" if at.lag == 0 else "behind: run colink worker"
        if at.error is not None:
            state = f"[bold red]stopped at position {at.error_position}[/] {escape(at.error)}"
        table.add_row(at.projection, at.log, str(at.version), str(at.position), str(at.lag), state)
    console.print(table)
    stopped = sorted({at.projection for at in checkpoints if at.error is not None})
    for name in stopped:
        console.print(f"once the cause is mended: colink projections resume {name}")
