"""`colink serve`: API, redirects and webhooks in one process."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer
import uvicorn
import uvloop

from colink.cli.output import Json, notes, tell
from colink.cli.stopping import WithParent, stop_with_parent
from colink.cli.wiring import RunningColink, Wiring
from colink.domain.errors import ColinkError

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any that is free.")]
_BACKLOG = 2048
_ENDING = 10  # seconds that requests under way have when the server is told to stop


class AddressInUse(ColinkError):
    slug, title = "address-in-use", "The address cannot be listened on"


def add_to(app: typer.Typer, wiring: Wiring) -> None:
    @app.command()
    def serve(
        host: Host = "127.0.0.1", port: Port = 8000, json: Json = False, with_parent: WithParent = False
    ) -> None:
        """Serve the API, tracking links and webhooks until told to stop (Ctrl-C or SIGTERM)."""
        if with_parent:
            stop_with_parent()

        async def run() -> None:
            async with wiring.open_colink(wiring.load_settings()) as colink:
                await show_admin_key(colink)
                await serve_until_stopped(colink, host=host, port=port, as_json=json)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())


async def show_admin_key(colink: RunningColink) -> None:
    """Once in the life of a database, and on stderr: stdout may be kept by whoever reads it."""
    key = await colink.first_admin_key()
    if key is not None:
        notes.print(f"operator's API key, shown only now: [bold]{key}[/]", soft_wrap=True)


async def serve_until_stopped(colink: RunningColink, *, host: str, port: int, as_json: bool) -> None:
    """Answer requests until SIGINT or SIGTERM; those under way are finished first."""
    listener = listen(host, port)
    app = colink.asgi()
    settle_memory()
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_ENDING,
        proxy_headers=False,  # who is believed about a caller's address is decided where it matters, in tracking
    )
    url = url_of(host, listener.getsockname()[1])
    tell(
        {"url": url},
        as_json=as_json,
        people=lambda console: console.print(f"CoLink at {url} (API docs at {url}/docs)", soft_wrap=True),
    )
    await _Server(config, on_exit=colink.end_streams).serve(sockets=[listener])


def settle_memory() -> None:
    """What has been made until now stays as long as the process: the garbage collector need not look at it again and
    again (a whole collection took a fifth of a second, in which nobody was answered), nor at the young after every
    700 objects, which is one order."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def url_of(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """Raises AddressInUse, saying why."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        msg = f"{host}:{port}: {error.strerror or error}; choose another with --host and --port"
        raise AddressInUse(msg) from error


class _Server(uvicorn.Server):
    """uvicorn raises the signal that stopped it once more at its end, which would kill the process before the
    database is let go: here a signal only stops the server, and the streams that it would wait for."""

    def __init__(self, config: uvicorn.Config, *, on_exit: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_exit = on_exit

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_exit()
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            # Told once more while the database is let go of, the process would end in the middle of that.
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, lambda: None)
