"""`colink up`: API and worker as two processes under one command, which end together.

The command itself holds the database and the sandbox provider, and supervises. Its children read the other end of a
pipe that it holds, so that they stop even where it is killed.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from colink.cli.output import Json, notes, tell
from colink.cli.serve import Host, Port, listen, show_admin_key, url_of
from colink.cli.stopping import PATIENCE, stop_signals
from colink.cli.wiring import Wiring
from colink.config import Settings

FAILED = 1
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - how such an address is reached from here


def add_to(app: typer.Typer, wiring: Wiring) -> None:
    @app.command()
    def up(host: Host = "127.0.0.1", port: Port = 8000, json: Json = False) -> None:
        """Run everything on this machine: database, API, background work, sandbox payments. Ctrl-C stops it.

        Where one process ends by itself the others are stopped, and the exit code is not 0.
        """
        code = asyncio.run(_run(wiring, host=host, port=port, as_json=json))
        if code:
            raise typer.Exit(code)


@dataclass(frozen=True, kw_only=True)
class _Child:
    """A `colink` command in a process of its own."""

    name: str
    process: Process

    async def is_ready(self) -> bool:
        """Waits for its first line; False where it ended without one."""
        return self.process.stdout is not None and bool(await self.process.stdout.readline())

    def tell_to_stop(self) -> None:
        if self.process.returncode is None:
            self.process.terminate()


async def _run(wiring: Wiring, *, host: str, port: int, as_json: bool) -> int:
    settings = wiring.load_settings()
    with stop_signals() as stop:
        with listen(host, port) as probe:  # said at once where the port is taken; and which one it is, for 0
            port = probe.getsockname()[1]
        url = url_of(_EVERYWHERE.get(host, host), port)
        async with wiring.open_colink(settings) as colink:
            await show_admin_key(colink)
            async with colink.sandbox(callback_url=f"{url}/callbacks/sandbox") as sandbox_url:
                public_url = settings.public_url if "public_url" in settings.model_fields_set else url
                environment = {"COLINK_SANDBOX_URL": sandbox_url, "COLINK_PUBLIC_URL": public_url}
                async with (
                    _started("serve", "--host", host, "--port", str(port), environment=environment) as serve,
                    _started("worker", environment=environment) as worker,
                ):
                    return await _supervise(
                        [serve, worker],
                        stop,
                        when_ready=lambda: _announce(
                            [serve, worker], url=url, sandbox_url=sandbox_url, settings=settings, as_json=as_json
                        ),
                    )


@asynccontextmanager
async def _started(name: str, *arguments: str, environment: Mapping[str, str]) -> AsyncIterator[_Child]:
    """The command with these arguments, ended with this context."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # nothing is imported from the folder somebody happens to be in
        "-m",
        "colink",
        name,
        *arguments,
        "--with-parent",
        "--json",
        stdin=PIPE,
        stdout=PIPE,
        env=os.environ | environment,
    )
    child = _Child(name=name, process=process)
    try:
        yield child
    finally:
        child.tell_to_stop()
        try:
            await asyncio.wait_for(process.wait(), timeout=PATIENCE)
        except TimeoutError:
            notes.print(f"colink {name} does not stop: killed")
            process.kill()
            await process.wait()


async def _supervise(children: Sequence[_Child], stop: asyncio.Event, *, when_ready: Callable[[], None]) -> int:
    """Until `stop`, or until a child ends by itself; then the others are told to stop. The exit code."""
    ended = {asyncio.create_task(child.process.wait()): child for child in children}
    ready = asyncio.create_task(_are_ready(children))
    stopping = asyncio.create_task(stop.wait())
    tasks: set[asyncio.Task[Any]] = {ready, stopping, *ended}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if ready.done() and ready.result():
            when_ready()
        await asyncio.wait({stopping, *ended}, return_when=asyncio.FIRST_COMPLETED)
        died = [] if stop.is_set() else [child for task, child in ended.items() if task.done()]
        for child in died:
            notes.print(
                f"[bold red]error[/] colink {child.name} ended by itself (exit code {child.process.returncode}): see "
                "its messages above; stopping the rest"
            )
        for child in children:
            child.tell_to_stop()
        await asyncio.wait(ended, timeout=PATIENCE)
        codes = [child.process.returncode for child in died or children]
        return next((code if code in {1, 2} else FAILED for code in codes if code != 0), FAILED if died else 0)
    finally:
        for task in tasks:
            task.cancel()


async def _are_ready(children: Sequence[_Child]) -> bool:
    return all(await asyncio.gather(*(child.is_ready() for child in children)))


def _announce(children: Sequence[_Child], *, url: str, sandbox_url: str, settings: Settings, as_json: bool) -> None:
    data = str(settings.data_dir) if settings.database_url is None else "the database of COLINK_DATABASE_URL"
    document = {
        "url": url,
        "docs_url": f"{url}/docs",
        "data": data,
        "sandbox_url": sandbox_url,
        "processes": {child.name: child.process.pid for child in children},
    }

    def people(console: Console) -> None:
        console.print("[bold green]CoLink is up[/]")
        for name, value in (("API", url), ("docs", f"{url}/docs"), ("data", data), ("sandbox payments", sandbox_url)):
            console.print(f"  {name:<17} {escape(value)}", soft_wrap=True)
        console.print("Keys: colink keys create --role finance. Ctrl-C stops it.", soft_wrap=True)

    tell(document, as_json=as_json, people=people)
