"""`colink worker`: background work."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from colink.application.worker import WorkDone, Worker
from colink.cli.output import Json, busy, tell
from colink.cli.stopping import WithParent, stop_signals, stop_with_parent
from colink.cli.wiring import RunningColink, Wiring
from colink.cli.work import JOBS, opened_worker
from colink.projections.engine import Checkpoint

FOUND_SOMETHING = 1


def add_to(app: typer.Typer, wiring: Wiring) -> None:
    @app.command()
    def worker(
        once: Annotated[bool, typer.Option("--once", metavar="", help="Do all due work, then stop.")] = False,
        json: Json = False,
        with_parent: WithParent = False,
    ) -> None:
        """Do background work: reports, clearing, payouts, sealing. Stops on Ctrl-C or SIGTERM.

        With --once it waits for sandbox payouts to be final, 30 seconds at most. Exits 1 where a job failed.
        """
        if with_parent:
            stop_with_parent()
        asyncio.run(_run_once(wiring, as_json=json) if once else _run(wiring, as_json=json))


async def _run(wiring: Wiring, *, as_json: bool) -> None:
    with stop_signals() as stop:
        async with (
            wiring.open_colink(wiring.load_settings()) as colink,
            colink.sandbox() as sandbox_url,
            opened_worker(colink) as worker,
        ):
            tell(
                {"worker": "running", "sandbox_url": sandbox_url},
                as_json=as_json,
                people=lambda console: console.print("working; Ctrl-C stops it"),
            )
            await worker.run(stop)


async def _run_once(wiring: Wiring, *, as_json: bool) -> None:
    with stop_signals() as stop:
        async with wiring.open_colink(wiring.load_settings()) as colink:
            with busy("working"):
                outcome = await work_once(colink, stop=stop)
    if outcome is None:
        raise typer.Abort
    tell(outcome.document(), as_json=as_json, people=lambda console: _show(console, outcome))
    if not outcome.clean:
        raise typer.Exit(FOUND_SOMETHING)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a worker did, and which projections stand still at an event that they cannot apply."""

    work: WorkDone
    parked: list[Checkpoint]

    @property
    def clean(self) -> bool:
        return not self.work.failed and not self.parked

    def document(self) -> dict[str, object]:
        return {
            "done": self.work.done,
            "failed": self.work.failed,
            "unfinished": self.work.unfinished,
            "parked": [
                {"projection": parked.projection, "position": parked.error_position, "error": parked.error}
                for parked in self.parked
            ],
        }


async def work_once(colink: RunningColink, *, stop: asyncio.Event | None = None) -> Outcome | None:
    """Do all due work and wait for sandbox payouts to be final. None where `stop` came first: every step is a command
    of its own, so what was cut off is found again."""
    async with colink.sandbox(), opened_worker(colink) as worker:
        work = await run_unless(stop, worker)
    if work is None:
        return None
    checkpoints = await colink.engine.checkpoints()
    return Outcome(work=work, parked=[checkpoint for checkpoint in checkpoints if checkpoint.error is not None])


async def run_unless(stop: asyncio.Event | None, worker: Worker) -> WorkDone | None:
    """`worker.run_once()`, cancelled when `stop` is set: None."""
    working = asyncio.create_task(worker.run_once())
    stopping = asyncio.create_task((stop or asyncio.Event()).wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.wait({working, stopping})


def _show(console: Console, outcome: Outcome) -> None:
    table = Table("job", "what", show_edge=False)
    table.add_column("count", justify="right")
    table.add_column("result")
    for name, count in (dict.fromkeys(outcome.work.failed, 0) | outcome.work.done).items():
        error = outcome.work.failed.get(name)
        result = f"[bold red]failed[/] {escape(error)}" if error else "done"
        table.add_row(name, JOBS.get(name.partition(":")[0], ""), str(count), result)
    console.print(table)
    if outcome.work.unfinished:
        console.print("some payouts are still on their way: run colink worker --once again later")
    for parked in outcome.parked:
        console.print(
            f"[bold red]the projection {parked.projection} stopped at position {parked.error_position}[/] of the "
            f"{parked.log} log: {escape(parked.error or '')} (see colink projections list)",
            soft_wrap=True,
        )
