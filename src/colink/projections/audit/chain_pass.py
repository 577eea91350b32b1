"""The pass `chain`: every event is, byte for byte, what was sealed, and every seal continues the one before it.

Leaves and links are computed again from the stored bytes. After a difference the check goes on from what is stored:
each finding is about its own position and not about everything behind it.

Events behind the last seal have none yet: the sealer follows the writers. They are counted, not passed over.
"""

from __future__ import annotations

from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.sealing.encoding import (
    NotSealable,
    genesis,
    leaf_data,
    leaf_hash,
    leaf_hashes,
    link,
    links,
)
from colink.projections.audit.part import Part
from colink.projections.audit.reading import LogRow, Window
from colink.projections.engine import Connection


class ChainCheck:
    """`sealed`: the position of the last seal; `origin`: what this log's chain begins with."""

    def __init__(self, part: Part, *, sealed: int, origin: str) -> None:
        self._part = part
        self._result = part.results[Pass.CHAIN]
        self._sealed = sealed
        self._genesis = genesis(origin)

    def check(self, window: Window) -> None:
        end = min(window.last, self._sealed)
        rows = [row for row in window.rows if row.position <= end] if end < window.last else window.rows
        self._part.unsealed += len(window.rows) - len(rows)
        if end < window.first:
            return
        self._result.checked += len(rows)
        if not self._is_as_sealed(window, rows, end):
            self._find_differences(window, rows, end)

    def _is_as_sealed(self, window: Window, rows: list[LogRow], end: int) -> bool:
        """Whether all of it is as it must be, which it nearly always is."""
        [(number, leaves, chain, before)] = window.reader.rows(
            "SELECT count(*), string_agg(leaf, '' ORDER BY position), string_agg(chain, '' ORDER BY position),"
            " (SELECT chain FROM colink.seals WHERE position = %s)"
            " FROM colink.seals WHERE position BETWEEN %s AND %s",
            window.first - 1,
            window.first,
            end,
        )
        previous = self._genesis if window.first == 1 else before
        if previous is None or not number == len(rows) == end - window.first + 1:
            return False
        try:
            computed = leaf_hashes(rows)
        except NotSealable:
            return False
        return (leaves, chain) == (b"".join(computed), b"".join(links(previous, computed)))

    def _find_differences(self, window: Window, rows: list[LogRow], end: int) -> None:
        seals = {
            position: (leaf, chain)
            for position, leaf, chain in window.reader.rows(
                "SELECT position, leaf, chain FROM colink.seals WHERE position BETWEEN %s AND %s",
                window.first - 1,
                end,
            )
        }
        events = {row.position: row for row in rows}
        for position in range(window.first, end + 1):
            seal, event = seals.get(position), events.get(position)
            if seal is None:
                what = (
                    f"event {position} has no seal"
                    if event is not None
                    else f"event {position} and its seal are gone"
                )
                self._find(Kind.MISSING, position, f"{what}, though later ones are sealed")
                continue
            if event is None:
                self._find(Kind.MISSING, position, f"event {position} was sealed and is not in the log")
            else:
                self._compare(event, seal[0])
            before = (b"", self._genesis) if position == 1 else seals.get(position - 1)
            if before is not None and link(before[1], seal[0]) != seal[1]:
                what = "does not begin as this log's" if position == 1 else f"breaks at {position}"
                self._find(Kind.CHANGED, position, f"the chain of seals {what}")

    def _compare(self, event: LogRow, leaf: bytes) -> None:
        position = event.position
        try:
            computed = leaf_hash(leaf_data(event))
        except NotSealable as error:
            self._find(Kind.CHANGED, position, str(error))
            return
        if computed != leaf:
            self._result.find(
                Kind.CHANGED,
                position,
                f"{position}",
                f"event {position} is not what was sealed",
                recorded=computed.hex(),
                derived=leaf.hex(),
            )

    def _find(self, kind: Kind, position: int, message: str) -> None:
        self._result.find(kind, position, f"{position}", message)


async def last_seal(conn: Connection) -> int:
    """The position up to which the log is sealed, 0 where nothing is."""
    row = await (await conn.execute("SELECT coalesce(max(position), 0) FROM colink.seals")).fetchone()
    return int(row[0]) if row else 0


async def check_seals_outside(conn: Connection, result: PassResult, *, head: int, whole_log: bool) -> None:
    """Seals of events that the log does not have."""
    cursor = await conn.execute(
        "SELECT min(position), max(position) FROM colink.seals WHERE position > %s OR (%s AND position < 1)",
        (head, whole_log),
    )
    first, last = await cursor.fetchone() or (None, None)
    if first is not None:
        result.find(
            Kind.MISSING,
            first,
            f"{first}",
            f"events {first} to {last} were sealed and are not in the log, which ends at {head}",
        )
