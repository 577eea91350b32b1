"""Brings a database to the schema of this version, and says where it is.

Alembic runs the steps in `migrations/`; this module adds what makes it safe: one process at a time, held by a session
level advisory lock that dies with its process, and one transaction from the old version to the new, so that a process
killed half-way leaves the old version. Not responsible for databases and roles (provision.py) or for SQL.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from sqlalchemy import Connection, NullPool, create_engine

APP_ROLE = "colink_app"
SCHEMA = "colink"
VERSION_TABLE = "schema_version"

_LOCK = 0x_C0_11_4B  # any number, the same for ever, in each database's own space of advisory locks
_POLL_SECONDS = 0.1
_SCRIPTS = Path(__file__).parent / "migrations"


class MigrationError(Exception):
    """The database cannot be brought to this version; nothing was changed."""


@dataclass(frozen=True, kw_only=True)
class SchemaStatus:
    """`current` is None where CoLink was never set up. `pending` are the revisions still to run, oldest first."""

    current: str | None
    head: str | None
    pending: tuple[str, ...]


def _quiet(_: str) -> None:
    """Reports nothing."""


def migrate(
    dsn: str,
    *,
    demo: bool = False,
    app_role: str = APP_ROLE,
    report: Callable[[str], None] = _quiet,
    scripts: Path = _SCRIPTS,
) -> SchemaStatus:
    """Run all pending steps in one transaction; with none pending, do nothing. `dsn` connects as the owner.

    `demo` marks the database as one whose clock may be moved, and only when this call creates the schema: a database
    with real money in it can never become a demo. Safe to call from any number of processes at once.
    Raises MigrationError where the database is newer than this program, psycopg.Error where a step fails.
    """
    with _connected(dsn) as connection:
        _lock(connection, report)
        before = _status(connection, scripts)
        if before.pending:
            report(f"migrating the database from {before.current or 'nothing'} to {before.head}")
            config = _config(scripts)
            config.attributes.update(
                connection=connection, app_role=app_role, mark_demo=demo and before.current is None
            )
            with connection.begin():
                connection.exec_driver_sql(f"create schema if not exists {SCHEMA}")
                command.upgrade(config, "head")
        return _status(connection, scripts)


def status(dsn: str, *, scripts: Path = _SCRIPTS) -> SchemaStatus:
    """Where the database stands. Waits for nobody and changes nothing; any role may ask."""
    with _connected(dsn) as connection:
        return _status(connection, scripts)


def is_demo_database(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    """Whether the database was created with COLINK_DEMO=1: only then may COLINK_CLOCK_OFFSET move the clock."""
    row = connection.execute("select value from colink.installation where name = 'demo'").fetchone()
    return row is not None and row[0] == "true"


@contextmanager
def _connected(dsn: str) -> Iterator[Connection]:
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            # Of a process that was killed, the server gives up what is still running, and with it the lock.
            connection.exec_driver_sql("set client_connection_check_interval = '500ms'")
            connection.commit()
            yield connection
    finally:
        engine.dispose()


def _lock(connection: Connection, report: Callable[[str], None]) -> None:
    # Asked for again and again instead of waited for: a statement that waits holds a snapshot, which a
    # CREATE INDEX CONCURRENTLY of the holder would wait for in turn.
    waiting = False
    while True:
        taken = connection.exec_driver_sql(f"select pg_try_advisory_lock({_LOCK})").scalar_one()
        connection.commit()
        if taken:
            return
        if not waiting:
            report("waiting for another process that is migrating the database")
            waiting = True
        time.sleep(_POLL_SECONDS)


def _status(connection: Connection, scripts: Path) -> SchemaStatus:
    directory = ScriptDirectory.from_config(_config(scripts))
    context = MigrationContext.configure(
        connection, opts={"version_table": VERSION_TABLE, "version_table_schema": SCHEMA}
    )
    said = context.get_current_heads()
    tables = connection.exec_driver_sql(f"select to_regclass('{SCHEMA}.events') is not null").scalar_one()
    connection.rollback()
    if len(said) > 1 or (tables and not said):
        raise MigrationError(
            f"the database says {' and '.join(sorted(said)) or 'nothing'} of its version, where it must say one: put"
            f" back what stood in {SCHEMA}.{VERSION_TABLE}, as a backup has it"
        )
    current = said[0] if said else None
    head = directory.get_current_head()
    try:
        steps = list(directory.iterate_revisions(head, current)) if head is not None else []
    except RevisionError as error:
        raise MigrationError(
            f"the database is at version {current}, which this program does not know: it was migrated by a newer "
            f"CoLink; use that one"
        ) from error
    return SchemaStatus(current=current, head=head, pending=tuple(step.revision for step in reversed(steps)))


def _config(scripts: Path) -> Config:
    config = Config()
    # Alembic reads `%` in options as interpolation.
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("version_locations", str(scripts / "versions").replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    return config
