"""Stops the embedded server after its last user, also when that one was killed and could not. A small process of its
own beside the server: `python -m colink.adapters.postgres.keeper HOME`.

It waits for the lock that every user of the server holds; getting it means that nobody is left.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from colink.adapters.postgres.binaries import user_of
from colink.adapters.postgres.cluster import Cluster, open_lock, try_lock, wait_for_lock


def ensure_keeper(cluster: Cluster) -> None:
    """Start the keeper of this cluster unless it lives. To be called by a user of the server."""
    held = open_lock(cluster.home / "keeper.lock")
    try:
        if try_lock(held):
            # It inherits the lock, and leaves its parent at once: this returns as soon as it did.
            subprocess.run(  # noqa: S603 - our own program with our own arguments, no shell
                [sys.executable, "-m", __name__, str(cluster.home)],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[held],
                check=True,
            )
    finally:
        os.close(held)


def main(home: Path) -> None:
    """Leave the caller's session, wait until nobody uses the server, stop it."""
    if os.fork() != 0:
        os._exit(0)
    os.setsid()
    cluster = Cluster(home, user_of((home / "data").stat().st_uid))
    users = open_lock(home / "users.lock")
    wait_for_lock(users)
    cluster.stop()  # who wants to use it now waits for `users`, and starts it again


if __name__ == "__main__":
    main(Path(sys.argv[1]))
