"""Starts the sandbox provider as a process of its own, where nobody gave the address of one that runs.

It ends with the process that started it, however that dies: it reads our end of a pipe, which the kernel closes.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from colink.adapters.payments import sandbox_provider
from colink.adapters.payments.sandbox_credentials import SandboxCredentials
from colink.domain.errors import Unavailable

_STARTING = 30.0  # seconds; half a second on an idle machine


class SandboxProcess:
    """A running provider. `url` is its address on loopback."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self._process = process
        self.url = url

    @classmethod
    def start(
        cls,
        *,
        data: Path,
        credentials: SandboxCredentials,
        callback_url: str | None = None,
        port: int = 0,
        options: tuple[str, ...] = (),
    ) -> SandboxProcess:
        """Start it and wait until it listens. `data`: the file that keeps what it accepted. Raises Unavailable."""
        command = [sys.executable, "-m", sandbox_provider.__name__, "--with-parent"]
        command += ["--port", str(port), "--data", str(data), *options]
        if callback_url is not None:
            command += ["--callback-url", callback_url]
        environment = os.environ | {
            sandbox_provider.API_KEY: credentials.api_key,
            sandbox_provider.CALLBACK_SECRET: credentials.callback_secret,
        }
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the worker, which still has payouts to follow
        )
        try:
            return cls(process, _announced(process))
        except BaseException:
            process.kill()
            process.wait()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """Ends it; harmless when it has ended."""
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _announced(process: subprocess.Popen[bytes]) -> str:
    """The address in the first line the provider prints."""
    output: IO[bytes] | None = process.stdout
    with selectors.DefaultSelector() as selector:
        if output is not None:
            selector.register(output, selectors.EVENT_READ)
        line = output.readline() if output is not None and selector.select(_STARTING) else b""
    if not line:
        msg = "the sandbox provider did not start: see its messages above"
        raise Unavailable(msg)
    return str(json.loads(line)["url"])
