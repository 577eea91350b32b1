"""What is asked of the seals: roots, proofs, tiles, published checkpoints, and how far sealing is behind.

Responsible for reading the tables of migration 0004; a proof reads at most some 600 rows of them by key and one more
per 65,536 events. Not responsible for writing them (adapters.postgres.sealer), for the tree itself
(domain.sealing.merkle), or for checking that seals say the truth about the events (`audit verify`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from psycopg.rows import class_row

from colink.application.representations import told_payload
from colink.application.sealing.proofs import Consistency, Inclusion, encoded, inclusion
from colink.domain.errors import InvalidInput, NotFound
from colink.domain.sealing.encoding import EventRow
from colink.domain.sealing.merkle import (
    Range,
    Span,
    consistency_ranges,
    inclusion_ranges,
    range_root,
    spans,
    subtree_root,
)
from colink.projections.engine import Connection

SEALED_COLUMNS: LiteralString = (
    "position, stream_id, version, topic, schema_version, payload, organization_id,"
    " (extract(epoch from recorded_at) * 1000000)::bigint, actor, correlation_id, causation_id"
)
"""The columns of colink.events as an EventRow has them. The epoch is numeric: no digit is lost."""

SEALED_DATA: LiteralString = (
    "convert_to(concat_ws(U&'\\001F', 'colink.event.1', position, stream_id, version, topic, schema_version, payload,"
    " coalesce(organization_id, U&'\\001E'), (extract(epoch from recorded_at) * 1000000)::bigint, actor,"
    " correlation_id, coalesce(causation_id, U&'\\001E')), 'UTF8'), num_nulls(organization_id, causation_id)"
)
"""The canonical bytes of a row of colink.events and how many NULLs are among them, put together by PostgreSQL: what
`domain.sealing.encoding` does, for the sealer. Verification does it in Python, so that each checks the other."""

TILE_WIDTH = 256
_TILE_LEVEL = 8  # a tile spans that many levels of the tree


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCheckpoint:
    """A signed tree head. `note` is the whole signed text."""

    tree_size: int
    root: bytes
    note: str
    signed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SealState:
    """How far sealing is. `lag`: events not sealed yet; `lag_seconds`: how long the oldest of them waits; `alarm`:
    why the sealer refuses to go on."""

    head: int
    sealed: int
    lag: int
    lag_seconds: float
    checkpoint: int
    verifier_key: str | None
    alarm: str | None
    alarm_at: datetime | None


async def seal_state(conn: Connection, *, now: datetime) -> SealState:
    """`now` is the clock that events are recorded by."""
    cursor = await conn.execute(
        "SELECT h.position, coalesce(s.position, 0), c.tree_size, k.verifier_key, a.reason, a.raised_at,"
        " (SELECT e.recorded_at FROM colink.events e WHERE e.position = coalesce(s.position, 0) + 1)"
        " FROM colink.log_head h"
        " LEFT JOIN (SELECT position FROM colink.seals ORDER BY position DESC LIMIT 1) s ON true"
        " LEFT JOIN (SELECT * FROM colink.checkpoints ORDER BY tree_size DESC LIMIT 1) c ON true"
        " LEFT JOIN (SELECT * FROM colink.checkpoint_keys ORDER BY ordinal DESC LIMIT 1) k ON true"
        " LEFT JOIN (SELECT * FROM colink.seal_alarms ORDER BY id DESC LIMIT 1) a"
        " ON a.raised_at >= greatest(c.signed_at, k.added_at, '-infinity')"
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFound("the log has no head: the database was damaged")
    head, sealed, size, verifier_key, alarm, alarm_at, waiting_since = row
    return SealState(
        head=head,
        sealed=sealed,
        lag=max(head - sealed, 0),
        lag_seconds=max((now - waiting_since).total_seconds(), 0.0) if waiting_since is not None else 0.0,
        checkpoint=size or 0,
        verifier_key=verifier_key,
        alarm=alarm,
        alarm_at=alarm_at,
    )


async def newest_checkpoint(conn: Connection) -> PublishedCheckpoint | None:
    return await _checkpoint(conn, " ORDER BY tree_size DESC LIMIT 1", ())


async def checkpoint_of(conn: Connection, size: int) -> PublishedCheckpoint | None:
    """The checkpoint of just this tree size, where one was published."""
    return await _checkpoint(conn, " WHERE tree_size = %s", (size,))


async def checkpoint_before(conn: Connection, position: int) -> PublishedCheckpoint | None:
    """The newest checkpoint of nothing but events up to a position."""
    return await _checkpoint(conn, " WHERE tree_size <= %s ORDER BY tree_size DESC LIMIT 1", (position,))


async def _checkpoint(conn: Connection, which: str, values: tuple[int, ...]) -> PublishedCheckpoint | None:
    async with conn.cursor(row_factory=class_row(PublishedCheckpoint)) as cursor:
        await cursor.execute(f"SELECT tree_size, root, note, signed_at FROM colink.checkpoints{which}", values)
        return await cursor.fetchone()


async def verifier_keys(conn: Connection) -> list[str]:
    """The public keys of the log, the one in use last."""
    cursor = await conn.execute("SELECT verifier_key FROM colink.checkpoint_keys ORDER BY ordinal")
    return [key for (key,) in await cursor.fetchall()]


async def stored_hashes(conn: Connection, wanted: Iterable[Span]) -> dict[tuple[int, int], bytes]:
    """The stored hashes of these spans, by level and index; those that are missing are left out."""
    levels: dict[int, list[int]] = {}
    for span in wanted:
        levels.setdefault(span.level, []).extend(range(span.first, span.last + 1))
    found: dict[tuple[int, int], bytes] = {}
    for level, indexes in levels.items():
        # By key and in one array: a join with ranges is planned as a scan of the whole table sooner or later.
        if level == 0:
            cursor = await conn.execute(
                "SELECT 0, position - 1, leaf FROM colink.seals WHERE position = ANY(%s)",
                ([index + 1 for index in indexes],),
            )
        else:
            cursor = await conn.execute(
                "SELECT level, index, hash FROM colink.merkle_nodes WHERE level = %s AND index = ANY(%s::bigint[])",
                (level, indexes),
            )
        found.update({(at, index): hashed for at, index, hashed in await cursor.fetchall()})
    return found


async def root_at(conn: Connection, size: int) -> bytes:
    """The root over the first `size` seals. Raises NotInTree where there are fewer."""
    return range_root(await stored_hashes(conn, spans([(0, size)])), (0, size))


async def prove_inclusion(conn: Connection, position: int, *, size: int | None = None) -> Inclusion:
    """That the event at `position` is in the tree of `size` leaves, the newest checkpoint's where None. Raises
    NotFound before the first checkpoint and for what no checkpoint covers yet, InvalidInput for no position."""
    newest = await required_checkpoint(conn)
    size = newest.tree_size if size is None else size
    _check_covered(size, newest, field="tree_size")
    if position < 1:
        raise InvalidInput("positions count from 1", field="position")
    if position > size:
        msg = f"position {position} is not among the {size} events of that tree"
        raise NotFound(msg, field="position")
    ranges: list[Range] = [(position - 1, position), *inclusion_ranges(position - 1, size), (0, size)]
    (leaf, *path, root) = await _roots(conn, ranges)
    checkpoint = newest if newest.tree_size == size else await checkpoint_of(conn, size)
    return inclusion(
        event=await _told_event(conn, position),
        leaf=leaf,
        index=position - 1,
        size=size,
        root=root,
        path=path,
        note=checkpoint.note if checkpoint else None,
    )


async def prove_consistency(conn: Connection, *, old: int, new: int | None = None) -> Consistency:
    """That the tree of `new` leaves (the newest checkpoint's where None) begins with that of `old` leaves. Raises
    as `prove_inclusion` does."""
    newest = await required_checkpoint(conn)
    new = newest.tree_size if new is None else new
    _check_covered(new, newest, field="to")
    if not 1 <= old <= new:
        msg = f"give a size from 1 to {new}"
        raise InvalidInput(msg, field="from")
    (old_root, new_root, *path) = await _roots(conn, [(0, old), (0, new), *consistency_ranges(old, new)])
    published = [await checkpoint_of(conn, size) for size in (old, new)]
    return Consistency(
        from_size=old,
        to_size=new,
        from_root=encoded(old_root),
        to_root=encoded(new_root),
        path=[encoded(each) for each in path],
        from_checkpoint=published[0].note if published[0] else None,
        to_checkpoint=published[1].note if published[1] else None,
    )


async def tile(conn: Connection, *, level: int, index: int, width: int = TILE_WIDTH) -> bytes:
    """A tile of the tree as C2SP tlog-tiles cuts it: `width` hashes, one after the other. Raises NotFound for one
    that the newest checkpoint does not cover."""
    newest = await newest_checkpoint(conn)
    whole = (newest.tree_size if newest else 0) >> (_TILE_LEVEL * level)
    first = index * TILE_WIDTH
    if not 1 <= width <= TILE_WIDTH or first + width > whole:
        raise NotFound("there is no such tile in the newest checkpoint")
    below = _TILE_LEVEL * level
    nodes = [(below, at) for at in range(first, first + width)]
    hashes = await stored_hashes(conn, spans([(at << below, (at + 1) << below) for _, at in nodes]))
    return b"".join([subtree_root(hashes, node) for node in nodes])


async def _roots(conn: Connection, ranges: list[Range]) -> list[bytes]:
    hashes = await stored_hashes(conn, spans(ranges))
    return [range_root(hashes, each) for each in ranges]


async def required_checkpoint(conn: Connection) -> PublishedCheckpoint:
    """The newest one. Raises NotFound before the first."""
    newest = await newest_checkpoint(conn)
    if newest is None:
        raise NotFound("nothing is sealed yet: the worker signs the first checkpoint after the first event")
    return newest


def _check_covered(size: int, newest: PublishedCheckpoint, *, field: str) -> None:
    if not 1 <= size <= newest.tree_size:
        msg = f"the newest checkpoint has {newest.tree_size} events: give a size from 1 to that"
        raise NotFound(msg, field=field)


async def _told_event(conn: Connection, position: int) -> EventRow | None:
    """The event as it was sealed; None for one of which something is told to nobody."""
    cursor = await conn.execute(f"SELECT {SEALED_COLUMNS} FROM colink.events WHERE position = %s", (position,))
    row: EventRow | None = await cursor.fetchone()
    if row is None:
        msg = f"the event at position {position} is gone from the log"
        raise NotFound(msg, field="position")
    topic, payload = row[3], row[5]
    return row if told_payload(topic, payload) == payload else None
