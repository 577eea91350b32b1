"""The part of the pass `projections` about which tables are read: pointers, versions, checkpoints and the tables
themselves must agree, or a report is read that nobody keeps up, or none.

No event makes a version; what is compared are four places that one transaction writes together (`versions.py`). When
a version was made, completed or dropped is not derived, nor versions that are dropped: nobody reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from colink.domain.audit.report import Kind, PassResult
from colink.projections.attribution_report import AttributionReport
from colink.projections.balances_in_time import BalancesInTime
from colink.projections.engine import Connection
from colink.projections.leaderboard import Leaderboard
from colink.projections.true_ups import TrueUps
from colink.projections.versions import SCHEMA, Projection

_KNOWN: Mapping[tuple[str, int], type[Projection]] = {
    (projection.name, projection.shape): projection
    for projection in (AttributionReport, Leaderboard, TrueUps, BalancesInTime)
}


@dataclass(frozen=True, kw_only=True)
class _Version:
    projection: str
    version: int
    shape: int
    tables: Sequence[str]
    completed_at: datetime | None
    retired_at: datetime | None
    dropped_at: datetime | None

    @property
    def is_current(self) -> bool:
        return self.completed_at is not None and self.retired_at is None and self.dropped_at is None

    @property
    def known_as(self) -> str:
        return f"version {self.version} of {self.projection}"

    def table_names(self) -> set[str]:
        return {f"{name}_v{self.version}" for name in self.tables}


class VersionsCheck:
    def __init__(self, conn: Connection, result: PassResult) -> None:
        self._conn, self._result = conn, result

    async def check(self) -> None:
        async with self._conn.cursor(row_factory=class_row(_Version)) as cursor:
            await cursor.execute(
                "SELECT projection, version, shape, tables, completed_at, retired_at, dropped_at"
                " FROM colink.projection_versions ORDER BY 1, 2"
            )
            versions = {(each.projection, each.version): each for each in await cursor.fetchall()}
        await self._check_pointers(versions)
        await self._check_checkpoints(versions)
        await self._check_tables(versions)

    async def _check_pointers(self, versions: Mapping[tuple[str, int], _Version]) -> None:
        cursor = await self._conn.execute("SELECT name, shape, live_version FROM colink.projections ORDER BY 1, 2")
        pointers: dict[tuple[str, int], int | None] = {(row[0], row[1]): row[2] for row in await cursor.fetchall()}
        for (name, shape), live in pointers.items():
            if live is None:
                continue
            version = versions.get((name, live))
            if version is None:
                self._find(Kind.MISSING, name, f"version {live} of {name} is read, and nothing is known of it")
            elif version.shape != shape or version.completed_at is None or version.dropped_at is not None:
                self._find(
                    Kind.CHANGED,
                    name,
                    f"{version.known_as} is read as one of shape {shape}, which it is not, or not yet",
                )
            elif version.retired_at is not None and not any(
                other.is_current and other.projection == name and other.shape > shape for other in versions.values()
            ):
                self._find(Kind.CHANGED, name, f"{version.known_as} is read and retired, and none took its place")
        for version in versions.values():
            if version.is_current and pointers.get((version.projection, version.shape)) != version.version:
                self._find(
                    Kind.MISSING, version.projection, f"{version.known_as} is complete, and is not what is read"
                )

    async def _check_checkpoints(self, versions: Mapping[tuple[str, int], _Version]) -> None:
        cursor = await self._conn.execute(
            "SELECT projection, version, array_agg(log ORDER BY log) FROM colink.projection_checkpoints GROUP BY 1, 2"
        )
        logs: dict[tuple[str, int], list[str]] = {(row[0], row[1]): row[2] for row in await cursor.fetchall()}
        for name, number in logs.keys() - versions.keys():
            self._find(
                Kind.EXTRA, name, f"a checkpoint says how far version {number} of {name} is, which is not there"
            )
        for key, version in versions.items():
            if version.dropped_at is not None:
                continue
            known = _KNOWN.get((version.projection, version.shape))
            read = sorted(log.value for log in known.parts) if known is not None else None
            if key not in logs or (read is not None and logs[key] != read):
                self._find(
                    Kind.MISSING,
                    version.projection,
                    f"nothing says how far {version.known_as} is in each log it reads",
                    recorded=logs.get(key),
                    derived=read,
                )
            if known is not None and list(version.tables) != list(known.tables):
                self._find(
                    Kind.CHANGED,
                    version.projection,
                    f"{version.known_as} has other tables than its shape",
                    recorded=list(version.tables),
                    derived=list(known.tables),
                )

    async def _check_tables(self, versions: Mapping[tuple[str, int], _Version]) -> None:
        cursor = await self._conn.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND c.relkind IN ('r', 'p')",
            (SCHEMA,),
        )
        there: set[str] = {name for (name,) in await cursor.fetchall()}
        owned: set[str] = set()
        for version in versions.values():
            if version.dropped_at is None:
                owned |= version.table_names()
                for name in sorted(version.table_names() - there):
                    self._find(Kind.MISSING, version.projection, f"{version.known_as} has no table {name}")
        for name in sorted(there - owned):
            self._find(Kind.EXTRA, f"{SCHEMA}.{name}", f"the table {SCHEMA}.{name} is no version's")

    def _find(
        self, kind: Kind, subject: str, message: str, *, recorded: object = None, derived: object = None
    ) -> None:
        self._result.find(kind, 0, subject, message, recorded=recorded, derived=derived)
