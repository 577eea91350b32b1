"""`colink up` is one thing to start and to stop: nothing of it lives on, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from tests.cli.conftest import CommandLine, Shop

PATIENCE = 30.0  # seconds; one or two on an idle machine


@contextmanager
def running(colink: CommandLine) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`colink up` once it works, and what it said."""
    with colink.start("up", "--port", "0", "--json") as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def is_gone(pid: int) -> bool:
    """Ended; an orphan that nobody has buried yet counts."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def ends(*pids: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not all(is_gone(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def listens(url: str) -> bool:
    """Whatever it answers."""
    try:
        httpx.get(url, trust_env=False, timeout=5)
    except httpx.ConnectError:
        return False
    return True


def test_it_serves_and_stops_cleanly(shop: Shop) -> None:
    with running(shop.colink) as (process, said):
        assert said["docs_url"] == f"{said['url']}/docs"
        assert said["data"] == str(shop.colink.data_dir)
        assert httpx.get(f"{said['url']}/healthz", trust_env=False).status_code == 200
        assert listens(said["sandbox_url"])
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert process.stdout is not None
        assert process.stdout.read() == "", "one JSON document"
        assert all(is_gone(pid) for pid in said["processes"].values())
        assert not listens(said["sandbox_url"])


def test_if_one_dies_the_other_stops(shop: Shop) -> None:
    with running(shop.colink) as (process, said):
        os.kill(said["processes"]["worker"], signal.SIGKILL)
        assert process.wait(PATIENCE) == 1
        assert is_gone(said["processes"]["serve"])


def test_nothing_lives_on_when_it_is_killed(shop: Shop) -> None:
    with running(shop.colink) as (process, said):
        process.kill()
        assert ends(*said["processes"].values())
        assert not listens(said["sandbox_url"])
