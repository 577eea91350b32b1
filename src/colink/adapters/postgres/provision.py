"""Roles and databases: makes sure that CoLink's own exist, on the embedded server or on one that is given.

`colink_owner` (or the user of COLINK_DATABASE_URL) owns the schema and migrates it; `colink_app` is what the program
works as: it reads, and writes the log through functions only. What it may do is granted by the migrations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from colink.adapters.postgres.binaries import ServerError
from colink.adapters.postgres.cluster import APP, OWNER, SUPERUSER
from colink.adapters.postgres.server import EmbeddedServer, ServerHandle

OLDEST_SERVER = 15
DATABASE = "colink"
_LOCK = 0x_C0_11_4C


@dataclass(frozen=True, kw_only=True)
class Database:
    """How to connect: to migrate, and to work."""

    owner_dsn: str
    app_dsn: str


def _quiet(_: str) -> None:
    """Reports nothing."""


@contextmanager
def open_database(url: str | None, data_dir: Path, *, report: Callable[[str], None] = _quiet) -> Iterator[Database]:
    """A provisioned database, not yet migrated: the one of `url`, else of the embedded server in `data_dir`, which
    runs while this context lasts. Raises ServerError."""
    if url is not None:
        yield provision_given(url)
        return
    with EmbeddedServer(data_dir, report=report).acquire() as server:
        yield provision(server)


def provision(server: ServerHandle, database: str = DATABASE, *, template: str = "template0") -> Database:
    """Create roles and database on the embedded server where they are missing. Safe at once with itself."""
    with psycopg.connect(server.dsn(SUPERUSER, "postgres"), autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", [_LOCK])
        roles = {name for (name,) in connection.execute("select rolname from pg_roles")}
        if APP not in roles:
            connection.execute("revoke all on database postgres, template1 from public")
        for role in (OWNER, APP):
            if role not in roles:
                connection.execute(sql.SQL("create role {} login").format(sql.Identifier(role)))
        if connection.execute("select from pg_database where datname = %s", [database]).fetchone() is None:
            create_database(connection, database, template=template)
    return Database(owner_dsn=server.dsn(OWNER, database), app_dsn=server.dsn(APP, database))


def create_database(
    connection: psycopg.Connection[tuple[object, ...]], database: str, *, template: str = "template0"
) -> None:
    """A database of the owner that only he and the application may enter. `connection` is the superuser's."""
    names = {"name": sql.Identifier(database), "owner": sql.Identifier(OWNER), "app": sql.Identifier(APP)}
    connection.execute(
        sql.SQL("create database {name} owner {owner} template {template}").format(
            **names, template=sql.Identifier(template)
        )
    )
    connection.execute(sql.SQL("revoke all on database {name} from public").format(**names))
    connection.execute(sql.SQL("grant connect, temporary on database {name} to {app}").format(**names))


def provision_given(url: str) -> Database:
    """Check a server that was given, and make sure that it has the application's role.

    The user of `url` is the owner: he needs the right to create a schema in that database. The application works as
    the role colink_app, which each of its connections takes on (SET ROLE) at its start.
    Raises ServerError where the server is too old, cannot be reached, or lacks the role and may not be given it.
    """
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
            _check_server(connection)
            _ensure_app_role(connection)
    except psycopg.OperationalError as error:
        raise ServerError(f"the server of COLINK_DATABASE_URL cannot be reached: {error}") from error
    options = conninfo_to_dict(url).get("options") or ""
    return Database(owner_dsn=url, app_dsn=make_conninfo(url, options=f"{options} -c role={APP}".strip()))


def _check_server(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    version = connection.info.server_version
    if version < OLDEST_SERVER * 10_000:
        raise ServerError(
            f"the server of COLINK_DATABASE_URL is PostgreSQL {version // 10_000}; CoLink needs {OLDEST_SERVER} or "
            f"newer"
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise ServerError(f"the database of COLINK_DATABASE_URL is encoded in {encoding}; CoLink needs UTF8")


def _ensure_app_role(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    user = sql.Identifier(connection.info.user)
    # Since version 16 a membership says by itself whether it lets its holder SET ROLE; before, every one does.
    option = " with inherit false, set true" if connection.info.server_version >= 160_000 else ""
    statements = (
        sql.SQL("create role {} nologin").format(sql.Identifier(APP)),
        sql.SQL("grant {} to {}" + option).format(sql.Identifier(APP), user),
        sql.SQL("grant connect, temporary on database {} to {}").format(
            sql.Identifier(connection.info.dbname), sql.Identifier(APP)
        ),
    )
    try:
        try:
            connection.execute(statements[0])
        except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
            pass  # it exists, or another process created it this moment
        except psycopg.errors.InsufficientPrivilege:
            if connection.execute("select from pg_roles where rolname = %s", [APP]).fetchone() is None:
                raise
        if not _may_take_on(connection):
            connection.execute(statements[1])
        connection.execute(statements[2])
        connection.execute(sql.SQL("set role {}; reset role").format(sql.Identifier(APP)))
    except psycopg.errors.InsufficientPrivilege as error:
        commands = "\n".join(f"    {statement.as_string(connection)};" for statement in statements)
        raise ServerError(
            f"the user of COLINK_DATABASE_URL may not set up the role {APP} ({error.diag.message_primary}). "
            f"Let an administrator run:\n{commands}"
        ) from error


def _may_take_on(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    privilege = "set" if connection.info.server_version >= 160_000 else "member"
    row = connection.execute("select pg_has_role(%s, %s)", [APP, privilege]).fetchone()
    return row is not None and bool(row[0])
