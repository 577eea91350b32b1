"""Idempotency keys and what makes the installation stay as they were written."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_SQL = Path(__file__).parent.parent / "sql"


def upgrade() -> None:
    statements = (_SQL / "0018_keys_stay.sql").read_text()
    # Straight to the driver and without parameters: text() would read `:name`, and the driver `%`, as one.
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})
