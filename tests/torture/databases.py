"""Databases for the long forms, which run outside pytest: on an embedded server of their own, with the settings of an
installation."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import psycopg
from tests.conftest import TestDatabase

from colink.adapters.postgres.cluster import APP, OWNER, SUPERUSER
from colink.adapters.postgres.migrate import migrate
from colink.adapters.postgres.provision import create_database, provision
from colink.adapters.postgres.server import EmbeddedServer, ServerHandle


class TortureDatabase(Protocol):
    """What is needed of a fresh, migrated database."""

    @property
    def app_dsn(self) -> str: ...

    @property
    def superuser_dsn(self) -> str: ...


class DurableServer:
    """A server with the settings of an installation."""

    def __init__(self, handle: ServerHandle) -> None:
        self._handle = handle
        self._numbers = itertools.count(1)

    @contextmanager
    def database(self) -> Iterator[TestDatabase]:
        name = f"torture_{next(self._numbers)}"
        with psycopg.connect(self._handle.dsn(SUPERUSER, "postgres"), autocommit=True) as connection:
            create_database(connection, name)
        migrate(self._handle.dsn(OWNER, name))
        yield TestDatabase(
            name=name,
            app_dsn=self._handle.dsn(APP, name),
            owner_dsn=self._handle.dsn(OWNER, name),
            superuser_dsn=self._handle.dsn(SUPERUSER, name),
        )
        with psycopg.connect(self._handle.dsn(SUPERUSER, "postgres"), autocommit=True) as connection:
            connection.execute(f"drop database {name} with (force)")


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that the server's user can pass through where this runs as root; removed in the end."""
    path = Path(tempfile.mkdtemp(prefix="colink-torture-"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def durable_server() -> Iterator[DurableServer]:
    with folder() as data_dir, EmbeddedServer(data_dir).acquire() as handle:
        provision(handle)
        yield DurableServer(handle)
