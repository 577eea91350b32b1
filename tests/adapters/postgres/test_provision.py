"""Promises for COLINK_DATABASE_URL: any server from version 15 on, the program works as a role that owns nothing, and
where that cannot be arranged, the error says what an administrator has to run."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from colink.adapters.postgres import provision as subject
from colink.adapters.postgres.binaries import ServerError
from colink.adapters.postgres.cluster import APP, OWNER, SUPERUSER
from colink.adapters.postgres.migrate import migrate
from colink.adapters.postgres.provision import create_database, open_database, provision, provision_given
from colink.adapters.postgres.server import EmbeddedServer, ServerHandle

CHEAP = {"fsync": "off", "shared_buffers": "64MB"}


@pytest.fixture
def given() -> Iterator[ServerHandle]:
    """A server that plays somebody else's: with a database of colink_owner and, so far, no role for the program."""
    path = Path(tempfile.mkdtemp(prefix="colink-given-"))
    path.chmod(0o711)
    with EmbeddedServer(path / "data", settings=CHEAP).acquire() as server:
        provision(server, "postgres")
        with psycopg.connect(server.dsn(SUPERUSER, "postgres"), autocommit=True) as connection:
            create_database(connection, "shop")
            connection.execute(f"drop owned by {APP}; drop role {APP}")
        yield server
    shutil.rmtree(path)


def works_as(dsn: str) -> str:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select current_user").fetchone()
    assert row is not None
    return str(row[0])


def test_an_owner_who_may_create_roles_needs_nothing_else(given: ServerHandle) -> None:
    with psycopg.connect(given.dsn(SUPERUSER, "postgres"), autocommit=True) as connection:
        connection.execute(f"alter role {OWNER} createrole")
    url = given.dsn(OWNER, "shop")
    database = provision_given(url)
    assert provision_given(url) == database
    assert works_as(database.owner_dsn) == OWNER
    assert works_as(database.app_dsn) == APP

    migrate(database.owner_dsn)
    with psycopg.connect(database.app_dsn) as connection:
        assert connection.execute("select count(*) from colink.installation").fetchone() == (3,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("delete from colink.installation")


def test_an_owner_who_may_not_is_told_what_to_ask_for(given: ServerHandle) -> None:
    url = given.dsn(OWNER, "shop")
    with pytest.raises(ServerError, match="may not set up the role colink_app") as raised:
        provision_given(url)
    commands = re.findall(r"^    (.+;)$", str(raised.value), flags=re.MULTILINE)
    assert commands == [
        'create role "colink_app" nologin;',
        'grant "colink_app" to "colink_owner" with inherit false, set true;',
        'grant connect, temporary on database "shop" to "colink_app";',
    ]
    with psycopg.connect(given.dsn(SUPERUSER, "shop"), autocommit=True) as connection:
        for command in commands:
            connection.execute(command)
    assert works_as(provision_given(url).app_dsn) == APP


def test_other_options_of_the_url_are_kept(given: ServerHandle) -> None:
    with psycopg.connect(given.dsn(SUPERUSER, "postgres"), autocommit=True) as connection:
        connection.execute(f"alter role {OWNER} createrole")
    url = make_conninfo(given.dsn(OWNER, "shop"), options="-c statement_timeout=1234")
    with (
        open_database(url, Path("/nonexistent")) as database,
        psycopg.connect(database.app_dsn) as connection,
    ):
        assert connection.execute("select current_user, current_setting('statement_timeout')").fetchone() == (
            APP,
            "1234ms",
        )


@pytest.mark.parametrize(
    ("version", "encoding", "problem"),
    [
        (140012, "UTF8", "is PostgreSQL 14; CoLink needs 15 or newer"),
        (150000, "LATIN1", "is encoded in LATIN1; CoLink needs UTF8"),
    ],
)
def test_servers_we_cannot_use(version: int, encoding: str, problem: str) -> None:
    info = SimpleNamespace(server_version=version, parameter_status=lambda name: encoding)
    connection = cast("psycopg.Connection[tuple[object, ...]]", SimpleNamespace(info=info))
    with pytest.raises(ServerError, match=problem):
        subject._check_server(connection)


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(ServerError, match="cannot be reached"):
        provision_given("postgresql://colink@127.0.0.1:1/colink")


def test_without_a_url_the_server_is_embedded_and_runs_while_it_is_open() -> None:
    path = Path(tempfile.mkdtemp(prefix="colink-embedded-"))
    path.chmod(0o711)
    said: list[str] = []
    with open_database(None, path / "data", report=said.append) as database:
        assert works_as(database.owner_dsn) == OWNER
        assert works_as(database.app_dsn) == APP
    with pytest.raises(psycopg.OperationalError):
        works_as(database.app_dsn)
    shutil.rmtree(path)
