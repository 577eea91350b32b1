"""Run by Alembic for each upgrade, on the connection and in the transaction that migrate.py opened."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from colink.adapters.postgres.migrate import SCHEMA, VERSION_TABLE


def _run() -> None:
    attributes = context.config.attributes
    connection: Connection = attributes["connection"]
    context.configure(connection=connection, version_table=VERSION_TABLE, version_table_schema=SCHEMA)
    context.run_migrations()
    if attributes["mark_demo"]:
        connection.exec_driver_sql(f"insert into {SCHEMA}.installation (name, value) values ('demo', 'true')")


_run()
