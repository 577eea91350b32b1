"""CPU time, which a busy machine disturbs much less than the clock: ours, and that of a database's connections."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psycopg

_BACKENDS = "select pid from pg_stat_activity where datname = %s and backend_type = 'client backend'"


@dataclass(frozen=True)
class Cpu:
    """Seconds so far: of this process, and of the server processes behind the connections there were at the start."""

    python: float
    postgres: float
    pids: tuple[int, ...]

    @classmethod
    def now(cls, superuser_dsn: str, database: str) -> Self:
        """`superuser_dsn`: to see the connections of others."""
        with psycopg.connect(superuser_dsn, autocommit=True) as connection:
            pids = tuple(pid for (pid,) in connection.execute(_BACKENDS, [database]))
        return cls(time.process_time(), _of(pids), pids)

    def spent_since(self) -> float:
        """Seconds of both since then."""
        return time.process_time() - self.python + _of(self.pids) - self.postgres

    def since(self, units: int) -> str:
        """What each of `units` has taken since then, for the detail of a claim."""
        python = (time.process_time() - self.python) / units * 1e6
        postgres = (_of(self.pids) - self.postgres) / units * 1e6
        return f"CPU: Python {python:.0f} us, PostgreSQL {postgres:.0f} us"


def _of(pids: tuple[int, ...]) -> float:
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:  # it ended, or this system has no /proc
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
