"""How far projections are: their checkpoints, and their lag in events and seconds. Only asks; `versions.py` and
`advance.py` write what is read here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from colink.projections.logs import HEADS, TABLES, Connection, Log


class State(StrEnum):
    LIVE = "live"
    BUILDING = "building"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """How far a version of a projection is. `lag`: events of the log behind it; `lag_seconds`: the age of the oldest
    of them (0.0 where there is none). `error`: why it is parked at `error_position`."""

    projection: str
    version: int
    shape: int
    state: State
    log: Log
    position: int
    lag: int
    lag_seconds: float
    error: str | None
    error_position: int | None


@dataclass(frozen=True, kw_only=True)
class Lag:
    """How far the version that readers use is behind a log: `events` not applied yet, and the age of the oldest of
    them in `seconds` (0.0 where there is none)."""

    projection: str
    log: Log
    events: int
    seconds: float


async def all_checkpoints(conn: Connection) -> list[Checkpoint]:
    """Of the versions that are live or being built, by projection, shape, version and log. Times are
    the database's, so that a moved clock moves none."""
    known: list[Checkpoint] = []
    for log, head_table in HEADS.items():
        cursor = await conn.execute(
            "SELECT v.projection, v.version, v.shape, v.completed_at IS NOT NULL, c.position,"
            " greatest(h.position - c.position, 0), coalesce(greatest(extract(epoch FROM clock_timestamp()"
            f" - (SELECT e.recorded_at FROM {TABLES[log]} e WHERE e.position > c.position"
            " ORDER BY e.position LIMIT 1)), 0), 0)::float8, c.error, c.error_position"
            " FROM colink.projection_versions v JOIN colink.projection_checkpoints c"
            f" ON c.projection = v.projection AND c.version = v.version CROSS JOIN {head_table} h"
            " WHERE c.log = %s AND v.retired_at IS NULL",
            (log.value,),
        )
        known += [_checkpoint(log, row) for row in await cursor.fetchall()]
    return sorted(known, key=lambda each: (each.projection, each.shape, each.version, each.log))


def _checkpoint(log: Log, row: tuple[Any, ...]) -> Checkpoint:
    projection, version, shape, completed, position, behind, seconds, error, error_position = row
    return Checkpoint(
        projection=projection,
        version=version,
        shape=shape,
        state=State.LIVE if completed else State.BUILDING,
        log=log,
        position=position,
        lag=behind,
        lag_seconds=seconds,
        error=error,
        error_position=error_position,
    )


async def checkpoints(conn: Connection) -> list[Checkpoint]:
    """Of the versions that readers use, by projection and log: the latest shape of it. Of one that is still being
    built where there is no other."""
    latest: dict[tuple[str, Log], Checkpoint] = {}
    for each in await all_checkpoints(conn):
        known = latest.get((each.projection, each.log))
        if known is None or each.state is State.LIVE:
            latest[each.projection, each.log] = each
    return list(latest.values())


async def lag(conn: Connection) -> list[Lag]:
    """How far what readers use is behind, by projection and log."""
    return [
        Lag(projection=each.projection, log=each.log, events=each.lag, seconds=each.lag_seconds)
        for each in await checkpoints(conn)
    ]
