"""The embedded PostgreSQL server: found, started, shared, stopped.

    with EmbeddedServer(data_dir).acquire() as server:
        psycopg.connect(server.dsn(OWNER, "colink"))

Any number of processes may do so at once: the first starts the server, the last one to leave stops it. Not
responsible for roles and databases (provision.py) or for what is on disk (cluster.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg.conninfo import make_conninfo

from colink.adapters.postgres.binaries import ServerError
from colink.adapters.postgres.cluster import (
    PORT,
    SUPERUSER,
    Cluster,
    alone,
    locate,
    open_lock,
    prepare_data_dir,
    try_lock,
    wait_for_lock,
)
from colink.adapters.postgres.keeper import ensure_keeper, wait_for_keeper

_ATTEMPTS = 3
_POLL_SECONDS = 0.02
_REPORT_SECONDS = 3.0
_REFUSED_SECONDS = 30.0  # how long a server that calls itself ready may refuse us (one that is just being replaced)


def _quiet(_: str) -> None:
    """Reports nothing."""


class EmbeddedServer:
    """The server of one data dir. `settings` are lines of postgresql.conf for when this process starts it; `report`
    is told, in words for a person, whatever takes long."""

    def __init__(
        self, data_dir: Path, *, settings: Mapping[str, str] | None = None, report: Callable[[str], None] = _quiet
    ) -> None:
        self.data_dir = data_dir.absolute()
        self._settings = dict(settings or {})
        self._report = report

    def acquire(self) -> ServerHandle:
        """A running server that takes connections, until the handle is released. Waits for crash recovery however
        long it takes. Raises ServerError where it cannot start."""
        try:
            prepare_data_dir(self.data_dir)
            with alone(self.data_dir, self._report):
                cluster = locate(self.data_dir)
                cluster.initialize()
                users = open_lock(cluster.home / "users.lock")
                try:
                    wait_for_lock(users, shared=True, report=self._report, reason="waiting for the database to stop")
                    ensure_keeper(cluster, self.data_dir)
                    self.ensure_running(cluster)
                except BaseException:
                    os.close(users)
                    raise
        except PermissionError as error:
            raise ServerError(f"no access to the data dir {self.data_dir}: {error}") from error
        return ServerHandle(self, cluster, users)

    def ensure_running(self, cluster: Cluster) -> None:
        """Start the server unless it runs, and wait until it takes connections."""
        starts, began = 0, time.monotonic()
        reported, refused = began, None
        while True:
            if cluster.start_if_stopped(self._settings):
                starts += 1
                if starts > _ATTEMPTS:
                    raise ServerError(f"the database does not start:\n{cluster.last_messages()}")
            if cluster.says_ready():
                try:
                    psycopg.connect(_dsn(cluster, SUPERUSER, "postgres")).close()
                except psycopg.OperationalError as error:
                    refused = refused or time.monotonic()
                    if time.monotonic() - refused > _REFUSED_SECONDS:
                        raise ServerError(f"the database refuses connections: {error}") from error
                else:
                    return
            if time.monotonic() - reported > _REPORT_SECONDS:
                reported = time.monotonic()
                self._report(
                    f"the database is recovering or starting, {reported - began:.0f} s so far; "
                    f"see {cluster.log} for its progress"
                )
            time.sleep(_POLL_SECONDS)


class ServerHandle:
    """The right to use a running server. Release it (or leave the `with`) in the end; a process that dies has."""

    def __init__(self, server: EmbeddedServer, cluster: Cluster, users: int) -> None:
        self._server = server
        self._users: int | None = users
        self.cluster = cluster

    def dsn(self, role: str, database: str) -> str:
        """How to connect as one of the roles of cluster.py. Holds no secret."""
        return _dsn(self.cluster, role, database)

    def ensure_running(self) -> None:
        """Wait until the server takes connections again, after a crash of it. The keeper starts it by itself soon;
        this does so at once."""
        with alone(self._server.data_dir):
            self._server.ensure_running(self.cluster)

    def release(self) -> None:
        """Stop the server if nobody else uses it; returns after it and its keeper have gone. Repeating it does
        nothing."""
        users, self._users = self._users, None
        if users is None:
            return
        with alone(self._server.data_dir):
            try:
                last = try_lock(users)
                if last:
                    self.cluster.stop()
                else:
                    # Either others use it, or the keeper was quicker and is stopping it: then wait until it has.
                    wait_for_lock(users, shared=True)
            finally:
                os.close(users)
            if last:
                wait_for_keeper(self.cluster)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _dsn(cluster: Cluster, role: str, database: str) -> str:
    return make_conninfo("", host=str(cluster.sockets), port=PORT, user=role, dbname=database)
