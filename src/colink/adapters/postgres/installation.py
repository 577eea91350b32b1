"""What makes a database this installation: made with its schema, never changed."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from colink.adapters.postgres.migrate import is_demo_database


@dataclass(frozen=True, kw_only=True)
class Installation:
    """`pepper`: what customers' addresses are hashed with. `log_id`: in the name that the log is sealed under.
    `demo`: the clock may move."""

    pepper: bytes
    log_id: str
    demo: bool


def read_installation(dsn: str) -> Installation:
    with psycopg.connect(dsn) as connection:
        values: dict[str, str] = dict(connection.execute("select name, value from colink.installation").fetchall())
        demo = is_demo_database(connection)
    return Installation(pepper=bytes.fromhex(values["pepper"]), log_id=values["log_id"], demo=demo)
