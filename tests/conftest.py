"""One PostgreSQL for the whole run, and fresh databases on it.

The first test that wants a database starts an embedded server (all xdist workers share it), migrates a template once,
and every database is a copy of that. Nothing outside the run is used, and nothing of it stays.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from colink.adapters.postgres.cluster import APP, OWNER, SUPERUSER
from colink.adapters.postgres.migrate import migrate
from colink.adapters.postgres.provision import create_database, provision
from colink.adapters.postgres.server import EmbeddedServer, ServerHandle

_RUN = "COLINK_TEST_RUN"  # how the workers of a run find the folder that its controller made
_TEMPLATE = "colink_template"
_EMPTY = "colink_empty"
# Crashes of this server are not tested, so nothing has to reach the disk: those tests start servers of their own.
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "200",
    "shared_buffers": "128MB",
}


@dataclass(frozen=True, kw_only=True)
class TestDatabase:
    """A migrated database of its own. `app_dsn` connects as the application, as which code under test works;
    `owner_dsn` as the owner of the schema, `superuser_dsn` as whom nothing is refused."""

    __test__ = False

    name: str
    app_dsn: str
    owner_dsn: str
    superuser_dsn: str


def data_dir_of(dsn: str) -> Path:
    """The data folder that goes with a database of this run: who opens it again finds the keys of its people."""
    return Path(os.environ[_RUN]) / "data" / str(conninfo_to_dict(dsn)["dbname"])


FreshDatabase = Callable[..., AbstractContextManager[TestDatabase]]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    for name in [name for name in os.environ if name.startswith(("COLINK_", "PG")) and name != _RUN]:
        del os.environ[name]  # settings of the person at the keyboard are no part of any test
    if not hasattr(config, "workerinput"):
        folder = tempfile.mkdtemp(prefix="colink-tests-")
        Path(folder).chmod(0o711)  # the server's user passes through where the tests run as root
        os.environ[_RUN] = folder


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and _RUN in os.environ:
        shutil.rmtree(os.environ.pop(_RUN), ignore_errors=True)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[ServerHandle]:
    """The server of this run, with the template in it."""
    with EmbeddedServer(Path(os.environ[_RUN]) / "server", settings=_SETTINGS).acquire() as server:
        provision(server)
        with psycopg.connect(server.dsn(SUPERUSER, "postgres"), autocommit=True) as connection:
            connection.execute("select pg_advisory_lock(1)")  # of two workers the second finds it done
            for name in (_TEMPLATE, _EMPTY):
                if connection.execute("select from pg_database where datname = %s", [name]).fetchone() is None:
                    create_database(connection, name)
            migrate(server.dsn(OWNER, _TEMPLATE))
        yield server


@pytest.fixture(scope="session")
def fresh_database(postgres: ServerHandle) -> FreshDatabase:
    """For fixtures: `with fresh_database() as database`, dropped in the end. `migrated=False`: without a schema."""
    numbers = itertools.count()

    @contextmanager
    def create(*, migrated: bool = True) -> Iterator[TestDatabase]:
        name = f"test_{os.getpid()}_{next(numbers)}"
        with psycopg.connect(postgres.dsn(SUPERUSER, "postgres"), autocommit=True) as connection:
            create_database(connection, name, template=_TEMPLATE if migrated else _EMPTY)
        try:
            yield TestDatabase(
                name=name,
                app_dsn=postgres.dsn(APP, name),
                owner_dsn=postgres.dsn(OWNER, name),
                superuser_dsn=postgres.dsn(SUPERUSER, name),
            )
        finally:
            with psycopg.connect(postgres.dsn(SUPERUSER, "postgres"), autocommit=True) as connection:
                connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))

    return create


@pytest.fixture
def make_database(fresh_database: FreshDatabase) -> Iterator[Callable[..., TestDatabase]]:
    """For tests that need several: `make_database()`, or `make_database(migrated=False)` for one without a schema."""
    with ExitStack() as stack:
        yield lambda *, migrated=True: stack.enter_context(fresh_database(migrated=migrated))


@pytest.fixture
def database(fresh_database: FreshDatabase) -> Iterator[TestDatabase]:
    """A database for this test alone."""
    with fresh_database() as created:
        yield created


@pytest.fixture(scope="module")
def shared_database(fresh_database: FreshDatabase) -> Iterator[TestDatabase]:
    """One database for all tests of a module: for those that only add, and look at what they added."""
    with fresh_database() as created:
        yield created
