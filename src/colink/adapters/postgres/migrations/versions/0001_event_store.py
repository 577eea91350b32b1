"""The event store: logs, inline rows, append functions, permissions.

The name of the application's role comes in as the alembic config attribute `app_role`; the roles exist already.
"""

from __future__ import annotations

from pathlib import Path

from alembic import context, op
from psycopg import sql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SQL = Path(__file__).parent.parent / "sql"


def _run(statements: str) -> None:
    # Straight to the driver and without parameters: text() would read `:name`, and the driver `%`, as one.
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def upgrade() -> None:
    _run((_SQL / "0001_tables.sql").read_text())
    _run((_SQL / "0001_append.sql").read_text())
    app = sql.Identifier(context.config.attributes.get("app_role", "colink_app")).as_string()
    _run((_SQL / "0001_grants.sql").read_text().replace("{app}", app))
