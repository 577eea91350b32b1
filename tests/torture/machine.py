"""One machine as an operator runs it: PostgreSQL, `colink serve` and `colink worker` as real processes on one data
folder, each of which can be killed at any moment and started again."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg.rows import TupleRow
from tests.torture.databases import folder

from colink.adapters.postgres.cluster import APP, SUPERUSER, alone
from colink.adapters.postgres.provision import DATABASE
from colink.adapters.postgres.server import EmbeddedServer, ServerHandle

ADMIN_KEY = "ck_the_operator_of_the_torture_tests"
PATIENCE = 120.0  # seconds for anything that takes a second or two on an idle machine


class Machine:
    """`server` is held as long as the machine is in use, so that nobody's death stops it for good."""

    def __init__(self, data_dir: Path, server: ServerHandle) -> None:
        self.data_dir = data_dir
        self.server = server
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = int(listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("COLINK_", "PG"))}
        return kept | {
            "COLINK_DATA_DIR": str(self.data_dir),
            "COLINK_ADMIN_KEY": ADMIN_KEY,
            "COLINK_PUBLIC_URL": self.url,
            "COLINK_PAYOUT_APPROVAL": "auto",
        }

    def start(self, name: str) -> None:
        """`serve` or `worker`, once it is at work."""
        arguments = ["--port", str(self.port)] if name == "serve" else []
        with (self.data_dir / f"{name}.log").open("ab") as words:
            process = subprocess.Popen(
                [sys.executable, "-m", "colink", name, *arguments, "--with-parent", "--json"],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
            )
        self._running[name] = process
        if not _first_line(process):
            raise AssertionError(f"colink {name} did not start:\n{self.words(name)}")

    def start_all(self) -> None:
        for name in ("serve", "worker"):
            self.start(name)

    def words(self, name: str, lines: int = 30) -> str:
        """The end of what `serve` or `worker` wrote on stderr."""
        return "\n".join((self.data_dir / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def is_alive(self, name: str) -> bool:
        return self._running[name].poll() is None

    def kill(self, name: str) -> None:
        """SIGKILL, and nothing else."""
        process = self._running.pop(name)
        process.kill()
        process.wait()
        _close(process)

    def stop(self, name: str) -> None:
        """As an operator does: SIGTERM, and it must end cleanly."""
        process = self._running.pop(name)
        process.terminate()
        code = process.wait(PATIENCE)
        _close(process)
        assert code == 0, f"colink {name} ended with {code}:\n{self.words(name)}"

    def kill_postmaster(self) -> None:
        """SIGKILL to the server's first process: the others notice and end."""
        postmaster = self.server.cluster.postmaster()
        if postmaster is not None:
            os.kill(postmaster, signal.SIGKILL)
            wait_until(lambda: not psutil.pid_exists(postmaster), "the postmaster to end")

    def kill_backend(self, choose: Callable[[list[int]], int]) -> None:
        """SIGKILL to one of the processes that work for clients: PostgreSQL then restarts itself."""
        with self.connect(SUPERUSER) as connection:
            query = (
                "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
            )
            backends = [pid for (pid,) in connection.execute(query)]
        if backends:
            os.kill(choose(backends), signal.SIGKILL)

    @contextmanager
    def database_away(self, number: signal.Signals) -> Iterator[None]:
        """Stopped by this signal to the postmaster (SIGINT: `pg_ctl stop -m fast`, SIGQUIT: `-m immediate`), and kept
        away: whoever starts it must hold the lock that is held here. Started again in the end."""
        with alone(self.data_dir):
            postmaster = self.server.cluster.postmaster()
            assert postmaster is not None
            os.kill(postmaster, number)
            wait_until(lambda: not self.server.cluster.is_running(), "the database to stop")
            yield
        self.ensure_database()

    def ensure_database(self) -> None:
        """The keeper starts it by itself; this does so at once and waits until it takes connections."""
        self.server.ensure_running()

    def dsn(self, role: str = APP) -> str:
        return self.server.dsn(role, DATABASE)

    def connect(self, role: str = APP) -> psycopg.Connection[TupleRow]:
        """To the database, once it takes connections: it may be recovering."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return psycopg.connect(self.dsn(role), autocommit=True)
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def rows(self, query: str, *values: object) -> list[TupleRow]:
        with self.connect() as connection:
            return connection.execute(query, values or None).fetchall()

    def value(self, query: str, *values: object) -> Any:
        return self.rows(query, *values)[0][0]

    def colink(self, *arguments: str) -> tuple[int, Any]:
        """Run a `colink` command to its end: exit code and document."""
        done = subprocess.run(
            [sys.executable, "-m", "colink", *arguments, "--json"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=600,
        )
        assert done.stdout, done.stderr.decode()
        return done.returncode, json.loads(done.stdout)

    def end(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()
            _close(process)
        self._running.clear()


@contextmanager
def machine(**settings: str) -> Iterator[Machine]:
    """A new machine with a server as durable as an installation's, and nothing started on it yet. `settings`: lines
    of postgresql.conf."""
    with ExitStack() as stack:
        data_dir = stack.enter_context(folder())
        made = Machine(data_dir, stack.enter_context(EmbeddedServer(data_dir, settings=settings).acquire()))
        stack.callback(made.end)
        yield made


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        return process.stdout.readline() if selector.select(PATIENCE) else b""


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
