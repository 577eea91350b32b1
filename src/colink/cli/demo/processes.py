"""The demo's data folder and child processes: real `colink` commands that never outlive the demo."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from colink.domain.errors import ColinkError

_STARTING = 60.0  # seconds until a server must answer
_ENDING = 15.0


class DemoFailed(ColinkError):
    slug, title = "demo-failed", "The demo could not go on"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where the demo plays: its own data folder and operator's key. Nothing of the caller's settings reaches it."""

    data_dir: Path
    admin_key: str

    def environment(self, *, clock_offset: str | None = None, public_url: str | None = None) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("COLINK_")}
        ours = {
            "COLINK_DATA_DIR": str(self.data_dir),
            "COLINK_ADMIN_KEY": self.admin_key,
            "COLINK_DEMO": "1",
            "COLINK_CLOCK_OFFSET": clock_offset,
            "COLINK_PUBLIC_URL": public_url,
        }
        return kept | {name: value for name, value in ours.items() if value is not None}

    def clear(self) -> None:
        """Remove what an earlier demo left. Raises DemoFailed while somebody uses it."""
        if not self.data_dir.exists():
            return
        with _unused(self.data_dir):
            database = self.data_dir / "postgres"
            if database.is_symlink():  # where the database's user cannot pass through the data dir
                shutil.rmtree(database.resolve(), ignore_errors=True)
            shutil.rmtree(self.data_dir)


@dataclass(frozen=True, kw_only=True)
class RunningServer:
    """A `colink serve` that answers at `url`."""

    url: str


@asynccontextmanager
async def serving(stage: Stage, *, clock_offset: str | None = None) -> AsyncIterator[RunningServer]:
    """Run `colink serve` on a free port of loopback. Raises DemoFailed with its last words if it does not come up."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    environment = stage.environment(clock_offset=clock_offset, public_url=url)
    async with _child(["serve", "--with-parent", "--port", str(port), "--json"], environment) as (process, words):
        output = process.stdout
        try:
            line = await asyncio.wait_for(output.readline(), _STARTING) if output is not None else b""
        except TimeoutError:
            line = b""
        if not line:
            msg = f"colink serve did not start:\n{_last(words)}"
            raise DemoFailed(msg)
        try:
            yield RunningServer(url=url)
        except DemoFailed as error:
            msg = f"{error.detail}\n{_last(words)}"
            raise DemoFailed(msg) from error


async def run_command(
    stage: Stage, *arguments: str, clock_offset: str | None = None, with_parent: bool = False
) -> tuple[int, Any]:
    """Run a `colink` command with `--json` to its end: exit code and document. Raises DemoFailed without one.
    `with_parent`: it knows that option."""
    environment = stage.environment(clock_offset=clock_offset)
    async with _child([*arguments, "--json", *(["--with-parent"] if with_parent else [])], environment) as (
        process,
        words,
    ):
        output = await process.stdout.read() if process.stdout is not None else b""
        await process.wait()
        try:
            document = json.loads(output)
        except ValueError:
            msg = f"colink {' '.join(arguments)} ended with {process.returncode}:\n{_last(words)}"
            raise DemoFailed(msg) from None
        return process.returncode or 0, document


@asynccontextmanager
async def _child(
    arguments: list[str], environment: Mapping[str, str]
) -> AsyncIterator[tuple[asyncio.subprocess.Process, IO[bytes]]]:
    """A child and what it writes on stderr. However the block is left, the child has ended afterwards."""
    with tempfile.TemporaryFile() as words:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # nothing is imported from the folder somebody happens to be in
            "-m",
            "colink",
            *arguments,
            env=environment,
            stdin=asyncio.subprocess.PIPE,  # its end tells a child that runs --with-parent to stop
            stdout=asyncio.subprocess.PIPE,
            stderr=words,
            start_new_session=True,  # Ctrl-C is for the demo, which ends its children in order
        )
        try:
            yield process, words
        finally:
            await asyncio.shield(_end(process))


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _ENDING)
    except TimeoutError:
        process.kill()
        await process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _last(words: IO[bytes], lines: int = 12) -> str:
    words.seek(0)
    return "\n".join(words.read().decode(errors="replace").splitlines()[-lines:])


@contextmanager
def _unused(data_dir: Path, *, patience: float = 10.0) -> Iterator[None]:
    """Hold the lock that every user of the embedded server in `data_dir` shares; the last one may still be ending.
    Raises DemoFailed while somebody uses it."""
    lock = data_dir / "postgres" / "users.lock"
    if not lock.exists():
        yield
        return
    with lock.open("rb") as file:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    msg = f"{data_dir} is in use: stop the colink that runs on it"
                    raise DemoFailed(msg) from None
                time.sleep(0.1)
        yield
