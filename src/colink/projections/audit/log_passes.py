"""Passes over the log as such: positions, times, versions of streams; and over the rows that point into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

import msgspec

from colink.domain.audit.report import Kind, Pass, PassResult
from colink.projections.audit.context import Verification

_ANSWERS_A_CHUNK = 500
_Answer = tuple[int, str, str]  # position, the id it names, subject


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRange:
    """Positions `first` to `last` of the log in `table`, whose head is `head`. `label` tells its positions from those
    of the other log."""

    table: LiteralString
    first: int
    last: int
    head: int
    label: str = ""


async def check_positions(v: Verification) -> None:
    """Gapless from 1 to the head, recorded times never going back."""
    result = v.results[Pass.POSITIONS]
    result.checked = await check_sequence(v, result, _commerce(v))


async def check_streams(v: Verification) -> None:
    """Versions of each stream count from 1 without a gap, in order of position."""
    result = v.results[Pass.STREAMS]
    result.checked = await check_versions(v, result, _commerce(v))


def _commerce(v: Verification) -> LogRange:
    return LogRange(table="colink.events", first=v.first, last=v.last, head=v.head)


async def check_sequence(v: Verification, result: PassResult, log: LogRange) -> int:
    """Find gaps in the positions of a log and times that go back; how many events there are."""
    rows = v.rows(
        result.audit_pass,
        "SELECT position, before, recorded_at, recorded_before FROM ("
        "SELECT position, lag(position, 1, %s) OVER by_position AS before, recorded_at,"
        f" lag(recorded_at, 1, recorded_at) OVER by_position AS recorded_before FROM {log.table}"
        " WHERE position BETWEEN %s AND %s WINDOW by_position AS (ORDER BY position)) log"
        " WHERE position <> before + 1 OR recorded_at < recorded_before ORDER BY position",
        (log.first - 1, log.first, log.last),
        total=log.last,
    )
    async for position, before, recorded_at, recorded_before in rows:
        if position != before + 1:
            missing = f"{before + 1}" if position == before + 2 else f"{before + 1} to {position - 1}"
            result.find(Kind.GAP, before + 1, f"{log.label}{before + 1}", f"no {log.label}event at {missing}")
        if recorded_at < recorded_before:
            result.find(
                Kind.TIME_GOES_BACK,
                position,
                f"{log.label}{position}",
                f"{log.label}event {position} was recorded before the one before it",
                recorded=recorded_at,
                derived=f"not before {recorded_before}",
            )
    counted = await v.conn.execute(
        f"SELECT count(*), coalesce(max(position), 0) FROM {log.table} WHERE position BETWEEN %s AND %s",
        (log.first, log.last),
    )
    number, newest = await counted.fetchone() or (0, 0)
    if newest < log.last:
        result.find(
            Kind.GAP,
            newest + 1,
            f"{log.label}{newest + 1}",
            f"no {log.label}event from {newest + 1} to the head {log.last}",
        )
    beyond = await v.conn.execute(f"SELECT min(position) FROM {log.table} WHERE position > %s", (log.head,))
    found = await beyond.fetchone()
    if found and found[0] is not None:
        result.find(
            Kind.HEAD_DIFFERS,
            found[0],
            f"{log.label}log_head",
            f"there are {log.label}events beyond the head {log.head}",
            recorded=log.head,
            derived=found[0],
        )
    return int(number)


async def check_versions(v: Verification, result: PassResult, log: LogRange) -> int:
    """Find gaps in the versions of streams, and versions out of order; how many streams there are."""
    rows = v.rows(
        result.audit_pass,
        "SELECT stream_id, version, expected, position, position_before FROM ("
        "SELECT stream_id, version, position, lag(version, 1, 0) OVER by_version + 1 AS expected,"
        f" lag(position, 1, 0::bigint) OVER by_version AS position_before FROM {log.table}"
        " WHERE position <= %s WINDOW by_version AS (PARTITION BY stream_id ORDER BY version)) streams"
        " WHERE (version <> expected OR position <= position_before) AND position >= %s ORDER BY position",
        (log.last, log.first),
        total=log.last,
    )
    async for stream_id, version, expected, position, position_before in rows:
        if version != expected:
            result.find(
                Kind.GAP,
                position,
                stream_id,
                f"{stream_id} has version {version} where {expected} was expected",
                recorded=version,
                derived=expected,
            )
        if position <= position_before:
            result.find(
                Kind.TIME_GOES_BACK, position, stream_id, f"version {version} of {stream_id} lies before its last"
            )
    counted = await v.conn.execute(
        f"SELECT count(DISTINCT stream_id) FROM {log.table} WHERE position BETWEEN %s AND %s", (log.first, log.last)
    )
    return int((await counted.fetchone() or (0,))[0])


async def check_references(v: Verification) -> None:
    """Idempotency keys and deliveries name positions of the log, and answers kept for keys name streams that their
    commands wrote. Nothing more of an answer can be derived."""
    result = v.results[Pass.REFERENCES]
    for table, subject in (
        ("colink.idempotency_keys", "t.scope || ' ' || t.key"),
        ("colink.inbox", "t.source || ' ' || t.delivery_id"),
    ):
        async with v.conn.cursor(name="audit_references") as cursor:
            await cursor.execute(
                f"SELECT t.position, {subject} FROM {table} t WHERE t.position BETWEEN %s AND %s"
                " AND NOT EXISTS (SELECT FROM colink.events e WHERE e.position = t.position)"
                f" UNION ALL SELECT t.position, {subject} FROM {table} t WHERE t.position > %s OR t.position < 1"
                " ORDER BY 1",
                (v.first, v.last, v.head),
            )
            async for position, name in cursor:
                result.find(
                    Kind.DANGLING, position, f"{table} {name}", f"{table} names position {position}: no event there"
                )
        counted = await v.conn.execute(
            f"SELECT count(*) FROM {table} WHERE position BETWEEN %s AND %s", (v.first, v.last)
        )
        result.checked += (await counted.fetchone() or (0,))[0]
    await _check_answers(v, result)


async def _check_answers(v: Verification, result: PassResult) -> None:
    chunk: list[_Answer] = []
    rows = v.rows(
        Pass.REFERENCES,
        "SELECT position, scope || ' ' || key, answer FROM colink.idempotency_keys WHERE position BETWEEN %s AND %s"
        " ORDER BY 1",
        (v.first, v.last),
        total=v.last,
    )
    async for position, key, text in rows:
        subject = f"colink.idempotency_keys {key}"
        try:
            answer = msgspec.json.decode(text, type=dict[str, object])
        except msgspec.DecodeError as error:
            result.find(Kind.UNREADABLE, position, subject, f"the answer kept for {key} is unreadable: {error}")
            continue
        named = answer.get("id", answer.get("order_id"))
        if isinstance(named, str):
            chunk.append((position, named, subject))
        if len(chunk) >= _ANSWERS_A_CHUNK:
            await _find_misnamed(v, result, chunk)
            chunk = []
    await _find_misnamed(v, result, chunk)


async def _find_misnamed(v: Verification, result: PassResult, chunk: Sequence[_Answer]) -> None:
    """A key's position is that of its command's last event; the command's events share a correlation id."""
    cursor = await v.conn.execute(
        "SELECT named.position, named.id, named.subject"
        " FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS named (position, id, subject)"
        " JOIN colink.events last ON last.position = named.position"
        " WHERE NOT EXISTS (SELECT FROM colink.events e WHERE e.stream_id = named.id AND e.position <= named.position"
        " AND e.correlation_id = last.correlation_id)",
        tuple(list(column) for column in zip(*chunk, strict=True)) if chunk else ([], [], []),
    )
    for position, named, subject in await cursor.fetchall():
        result.find(
            Kind.DANGLING,
            position,
            subject,
            f"the answer of {subject} names {named}, to which its command wrote nothing",
            recorded=named,
        )
