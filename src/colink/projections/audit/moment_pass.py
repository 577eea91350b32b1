"""The part of the pass `projections` about balances at any moment (`balances_in_time.py`): its moves are what the
journals added, and its sums are those of the moves, as far as the projection has come.

Moves are compared window by window, sums of the smallest blocks where a block ends; a block that two parts of the log
share is carried out of both and compared in the end. The sums of larger blocks must be those of the smaller ones in
them, and there must be no rows beside these. Memory does not grow with the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date
from typing import Any, LiteralString

from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.ledger import JournalPosted
from colink.domain.sealing.encoding import epoch_microseconds
from colink.projections import balances_in_time
from colink.projections.audit.part import Part
from colink.projections.audit.reading import Window, WindowReader
from colink.projections.audit.rows import each_row
from colink.projections.balances_in_time import BalancesInTime
from colink.projections.engine import Connection, Log, head
from colink.projections.versions import find_live_version, table

SumKey = tuple[str, str, date]
"""Account, currency, day (UTC) of a sum."""
Sum = tuple[int, int]
"""What was added, and the position of the last journal that added."""
_MICROSECONDS: LiteralString = "(extract(epoch from m.effective_at) * 1000000)::bigint"


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedSums:
    """The version that is read, and how far it is."""

    version: int
    position: int

    def table(self, name: str) -> str:
        return table(f"balance_{name}", self.version)


async def followed_sums(conn: Connection) -> FollowedSums | None:
    """None while nothing is read. Its tables stay for as long as the transaction."""
    version = await find_live_version(conn, BalancesInTime)
    if version is None:
        return None
    for name in BalancesInTime.tables:
        await conn.execute(f"LOCK TABLE {table(name, version)} IN ACCESS SHARE MODE")
    cursor = await conn.execute(
        "SELECT position FROM colink.projection_checkpoints WHERE projection = %s AND version = %s AND log = %s",
        (BalancesInTime.name, version, Log.COMMERCE.value),
    )
    row = await cursor.fetchone()
    return FollowedSums(version=version, position=row[0] if row is not None else 0)


class MomentCheck:
    """Moves, and the sums of blocks that lie in one part of the log. `first` and `last`: where the part begins and
    ends."""

    def __init__(self, part: Part, followed: FollowedSums, *, first: int, last: int) -> None:
        self._part, self._followed = part, followed
        self._result = part.results[Pass.PROJECTIONS]
        self._first, self._last = first, min(last, followed.position)
        self._width = balances_in_time.WIDTHS[0]
        self._sums: dict[int, dict[SumKey, Sum]] = {}

    def check(self, window: Window) -> None:
        if window.first > self._last:
            return
        moves: dict[tuple[str, str, int, int], int] = {}
        for position, _, _, journal in window.journals:
            if position > self._last:
                break
            effective_at = epoch_microseconds(journal.effective_at)
            day = journal.effective_at.astimezone(UTC).date()
            sums = self._sums.setdefault((position - 1) // self._width, {})
            for posting in journal.postings:
                move = (posting.account, posting.currency, effective_at, position)
                moves[move] = moves.get(move, 0) + posting.amount
                key = (posting.account, posting.currency, day)
                sums[key] = (sums.get(key, (0, 0))[0] + posting.amount, position)
        self._compare_moves(window.reader, moves)
        end = min(window.last, self._last)
        for block in range((window.first - 1) // self._width, -(-end // self._width)):
            start, stop = block * self._width + 1, (block + 1) * self._width
            if start >= self._first and (stop <= end or end == self._followed.position):
                self._compare_block(window.reader, block, self._sums.pop(block, {}))
            elif stop <= end or end == self._last:
                self._part.shared_sums[block] = self._sums.pop(block, {})

    def _compare_moves(self, reader: WindowReader, moves: Mapping[tuple[str, str, int, int], int]) -> None:
        if not moves:
            return
        self._result.checked += len(moves)
        self._part.moves += len(moves)
        columns = [list(column) for column in zip(*moves, strict=True)]
        rows = reader.rows(
            f"SELECT a.account, a.currency, {_MICROSECONDS}, m.position, m.amount"
            " FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[]) AS d (account, currency, at, position)"
            f" JOIN {self._followed.table('accounts')} a ON a.account = d.account AND a.currency = d.currency"
            f" JOIN {self._followed.table('moves')} m ON m.no = a.no AND m.position = d.position"
            " AND m.effective_at = timestamptz 'epoch' + d.at * interval '1 microsecond'",
            *columns,
        )
        recorded = {row[:4]: int(row[4]) for row in rows}
        for move, amount in moves.items():
            account, currency, _, position = move
            subject = f"{account} {currency}"
            if recorded.get(move) != amount:
                self._result.find(
                    Kind.MISSING if move not in recorded else Kind.CHANGED,
                    position,
                    subject,
                    f"what position {position} adds to {subject} is not what was posted",
                    recorded=recorded.get(move),
                    derived=amount,
                )

    def _compare_block(self, reader: WindowReader, block: int, derived: Mapping[SumKey, Sum]) -> None:
        rows = reader.rows(_block_query(self._followed), block)
        compare_block(self._result, block, derived, rows, width=self._width)


def _block_query(followed: FollowedSums) -> Any:
    return (
        f"SELECT a.account, a.currency, s.day, s.amount FROM {followed.table('sums')} s"
        f" LEFT JOIN {followed.table('accounts')} a USING (no) WHERE s.level = 0 AND s.block = %s"
    )


def compare_block(
    result: PassResult, block: int, derived: Mapping[SumKey, Sum], rows: list[Any], *, width: int
) -> None:
    """The sums of a block, both ways."""
    result.checked += len(derived)
    recorded = {row[:3]: int(row[3]) for row in rows}
    for key in derived.keys() | recorded.keys():
        amount, position = derived.get(key, (None, block * width + 1))
        if recorded.get(key) == amount:
            continue
        account, currency, day = key
        result.find(
            Kind.MISSING if key not in recorded else Kind.EXTRA if amount is None else Kind.CHANGED,
            position,
            f"{account} {currency}",
            f"what was added to {account} {currency} on {day}, within {width} positions, is not the sum kept",
            recorded=recorded.get(key),
            derived=amount,
        )


async def check_moments(conn: Connection, result: PassResult, followed: FollowedSums | None, part: Part) -> None:
    """Blocks that parts share, larger blocks, and rows beside what the journals explain."""
    if followed is None:
        result.leaves_out(f"no version of {BalancesInTime.name} is in use")
        return
    end = await head(conn, Log.COMMERCE)
    if followed.position < end:
        result.leaves_out(f"{BalancesInTime.name} has come to {followed.position} of {end} in the commerce log")
    elif followed.position > end:
        result.find(
            Kind.HEAD_DIFFERS,
            end,
            BalancesInTime.name,
            f"{BalancesInTime.name} says that it has come to {followed.position} in a log which ends at {end}",
            recorded=followed.position,
            derived=end,
        )
    for block, sums in part.shared_sums.items():
        cursor = await conn.execute(_block_query(followed), (block,))
        compare_block(result, block, sums, await cursor.fetchall(), width=balances_in_time.WIDTHS[0])
    await _check_larger_blocks(conn, result, followed)
    await _find_extra_rows(conn, result, followed, part)


async def _check_larger_blocks(conn: Connection, result: PassResult, followed: FollowedSums) -> None:
    """The sums of each level are those of the level below it."""
    sums, widths = followed.table("sums"), balances_in_time.WIDTHS
    for level in range(1, len(widths)):
        query = (
            f"SELECT coalesce(s.block, b.block), coalesce(s.no, b.no), coalesce(s.day, b.day), s.amount, b.amount"
            f" FROM (SELECT * FROM {sums} WHERE level = %s) s FULL JOIN (SELECT block / %s AS block, no, day,"
            f" sum(amount) AS amount FROM {sums} WHERE level = %s GROUP BY 1, 2, 3) b"
            " ON s.block = b.block AND s.no = b.no AND s.day = b.day"
            " WHERE s.amount IS DISTINCT FROM b.amount"
        )
        values = (level, widths[level] // widths[level - 1], level - 1)
        async for block, number, day, recorded, derived in each_row(conn, query, values):
            result.find(
                Kind.MISSING if recorded is None else Kind.EXTRA if derived is None else Kind.CHANGED,
                min(block * widths[level] + 1, followed.position),
                f"account {number}",
                f"what was added to account {number} on {day}, within {widths[level]} positions, is not the sum kept",
                recorded=recorded,
                derived=derived,
            )
    last = (followed.position - 1) // widths[0]
    query = (
        f"SELECT level, block, count(*) FROM {sums} WHERE level < 0 OR level >= %s OR (level = 0 AND"
        " (block < 0 OR block > %s)) GROUP BY 1, 2 ORDER BY 1, 2"
    )
    async for level, block, count in each_row(conn, query, (len(widths), last)):
        result.find(
            Kind.EXTRA, 0, f"block {block} of level {level}", f"{count} sums are of a block that is not there"
        )


async def _find_extra_rows(conn: Connection, result: PassResult, followed: FollowedSums, part: Part) -> None:
    accounts, moves = followed.table("accounts"), followed.table("moves")
    query = (
        f"SELECT a.account, a.currency FROM {accounts} a WHERE NOT EXISTS (SELECT FROM {moves} m WHERE m.no = a.no)"
        " ORDER BY 1, 2"
    )
    async for account, currency in each_row(conn, query):
        subject = f"{account} {currency}"
        result.find(Kind.EXTRA, 0, subject, f"{subject} is numbered and nothing was added to it")
    counted = await (await conn.execute(f"SELECT count(*) FROM {moves}")).fetchone()
    if counted == (part.moves,) and not result.findings:
        return  # each that must be there is, and there are no more
    query = (
        f"SELECT m.position, a.account, a.currency, m.amount FROM {moves} m LEFT JOIN {accounts} a USING (no)"
        " WHERE NOT EXISTS (SELECT FROM colink.events e, jsonb_array_elements(e.payload::jsonb -> 'postings') p"
        " WHERE e.position = m.position AND e.position <= %s AND e.topic = %s"
        " AND (e.payload::jsonb ->> 'effective_at')::timestamptz = m.effective_at"
        " AND p ->> 'account' = a.account AND p ->> 'currency' = a.currency) ORDER BY 1, 2, 3"
    )
    async for position, account, currency, amount in each_row(conn, query, (followed.position, JournalPosted.TOPIC)):
        subject = f"{account} {currency}"
        result.find(
            Kind.EXTRA, position, subject, f"position {position} added nothing to {subject} then", recorded=amount
        )
