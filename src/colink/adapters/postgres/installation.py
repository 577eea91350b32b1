"""What makes a database this installation: made with its schema, never changed."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from colink.adapters.postgres.binaries import ServerError
from colink.adapters.postgres.migrate import is_demo_database


@dataclass(frozen=True, kw_only=True)
class Installation:
    """`pepper`: what customers' addresses are hashed with. `log_id`: in the name that the log is sealed under.
    `demo`: the clock may move."""

    pepper: bytes
    log_id: str
    demo: bool


def read_installation(dsn: str) -> Installation:
    """Raises ServerError where something of it was lost: with another pepper nobody would be recognised again."""
    with psycopg.connect(dsn) as connection:
        values: dict[str, str] = dict(connection.execute("select name, value from colink.installation").fetchall())
        demo = is_demo_database(connection)
    if lost := [name for name in ("log_id", "pepper") if name not in values]:
        msg = (
            f"the table colink.installation of this database has lost {' and '.join(lost)}: put it back from a backup"
            " of the same database"
        )
        raise ServerError(msg)
    return Installation(pepper=bytes.fromhex(values["pepper"]), log_id=values["log_id"], demo=demo)
