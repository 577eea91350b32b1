"""Personal data is encrypted per person.

The name of the application's role comes in as the alembic config attribute `app_role`; the roles exist already.
"""

from __future__ import annotations

from pathlib import Path

from alembic import context, op
from psycopg import sql

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None

_SQL = Path(__file__).parent.parent / "sql"


def upgrade() -> None:
    app = sql.Identifier(context.config.attributes.get("app_role", "colink_app")).as_string()
    statements = (_SQL / "0010_person_keys.sql").read_text().replace("{app}", app)
    # Straight to the driver and without parameters: text() would read `:name`, and the driver `%`, as one.
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})
