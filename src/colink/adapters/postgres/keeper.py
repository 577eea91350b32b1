"""A small process beside the embedded server, for what must happen when nobody else can do it any more:
`python -m colink.adapters.postgres.keeper DATA_DIR`.

It starts the server again when that was killed under its users, and stops it after its last user, also when that one
was killed. It waits for locks that live as long as their holders (cluster.py), so it cannot be late or mistaken.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from colink.adapters.postgres.binaries import ServerError
from colink.adapters.postgres.cluster import Cluster, alone, locate, open_lock, try_lock, wait_for_lock

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0  # seconds between two starts, twice as long each time


def ensure_keeper(cluster: Cluster, data_dir: Path) -> None:
    """Start the keeper of this cluster unless it lives. To be called by a user of the server."""
    held = open_lock(cluster.home / "keeper.lock")
    try:
        if try_lock(held):
            # It inherits the lock, and leaves its parent at once: this returns as soon as it did.
            subprocess.run(  # noqa: S603 - our own program with our own arguments, no shell
                [sys.executable, "-m", __name__, str(data_dir)],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[held],
                check=True,
            )
    finally:
        os.close(held)


def wait_for_keeper(cluster: Cluster) -> None:
    """Until the keeper has gone, which it does when nobody uses the server."""
    held = open_lock(cluster.home / "keeper.lock")
    try:
        wait_for_lock(held, shared=True)
    finally:
        os.close(held)


class Keeper:
    """Two threads: one waits until nobody uses the server, the other until it dies."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._cluster = locate(data_dir)
        self._users = self._cluster.home / "users.lock"
        self._deciding = threading.Lock()
        self._leaving = False

    def run(self) -> None:
        """Until the last user has gone and the server has stopped."""
        threading.Thread(target=self._revive, daemon=True).start()
        users = open_lock(self._users)
        wait_for_lock(users)
        with self._deciding:
            self._leaving = True
        self._cluster.stop()  # who wants to use it now waits for `users`, and starts it again

    def _revive(self) -> None:
        pause = _SHORTEST_PAUSE
        while True:
            began = time.monotonic()
            self._wait_for_death()
            pause = _SHORTEST_PAUSE if time.monotonic() - began > _LONGEST_PAUSE else min(pause * 2, _LONGEST_PAUSE)
            with alone(self._data_dir), self._deciding:
                if self._leaving:
                    return
                if self._has_users():
                    with suppress(ServerError, OSError):  # a full disk, say: tried again after a pause
                        self._cluster.start_if_stopped()
            time.sleep(pause)

    def _wait_for_death(self) -> None:
        server = open_lock(self._cluster.home / "server.lock")
        try:
            wait_for_lock(server, shared=True)
        finally:
            os.close(server)

    def _has_users(self) -> bool:
        users = open_lock(self._users)
        try:
            return not try_lock(users)
        finally:
            os.close(users)


def main(data_dir: Path) -> None:
    """Leave the caller's session and keep."""
    if os.fork() != 0:
        os._exit(0)
    os.setsid()
    Keeper(data_dir).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
