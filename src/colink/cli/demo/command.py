"""`colink demo`: the main job, told as a story, then verified."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from colink.cli.demo.scenario import FEWEST_ORDERS, tell
from colink.cli.output import Json
from colink.cli.output import tell as tell_outcome
from colink.cli.wiring import Wiring

T = TypeVar("T")

FOUND_SOMETHING = 1
INTERRUPTED = 130
_FOLDER = "demo"


def add_to(app: typer.Typer, wiring: Wiring) -> None:
    @app.command()
    def demo(
        orders: Annotated[int, typer.Option(min=FEWEST_ORDERS, max=20_000, help="Orders in the story.")] = 120,
        seed: Annotated[int, typer.Option(help="The same seed tells the same story.")] = 1,
        keep: Annotated[bool, typer.Option("--keep", metavar="", help="Leave the data, to look around in.")] = False,
        json: Json = False,
    ) -> None:
        """Play one day of trade from click to payout, on a database of its own, and verify it.

        Exits 1 if the verification finds something, or if the story's own sums do not come out.
        """
        from colink.cli.demo.processes import Stage
        from colink.cli.demo.report import document
        from colink.cli.demo.story import LATER, play
        from colink.cli.demo.telling import Chapters, conclude, console_for_people, introduce, show_next_steps

        data_dir = wiring.load_settings().data_dir / _FOLDER
        stage = Stage(data_dir=data_dir, admin_key=f"ck_{secrets.token_urlsafe(32)}")
        console = console_for_people(stderr=json)
        introduce(console, orders=orders, seed=seed)
        stage.clear()
        try:
            played = asyncio.run(_interruptible(play(stage, tell(seed=seed, orders=orders), Chapters(console))))
        except asyncio.CancelledError:
            console.print("stopped")
            raise typer.Exit(INTERRUPTED) from None
        finally:
            if not keep:
                stage.clear()
        kept_at = _as_typed(data_dir) if keep else None
        if json:
            tell_outcome(document(played, kept_at=kept_at), as_json=True, people=lambda _: None)
        else:
            conclude(console, played)
            show_next_steps(console, kept_at=kept_at, admin_key=stage.admin_key, later=LATER)
        if not played.is_good:
            raise typer.Exit(FOUND_SOMETHING)


async def _interruptible(playing: Coroutine[Any, Any, T]) -> T:
    """Ctrl-C and SIGTERM cancel it; children are stopped on the way out, and nothing cuts that short."""
    task = asyncio.ensure_future(playing)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def _as_typed(path: Path) -> str:
    """As somebody would write it here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
