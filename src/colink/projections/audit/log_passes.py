"""Passes over the log as such: positions, times, versions of streams; and over the rows that point into it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import LiteralString

import msgspec

from colink.application.ports import cause_of_key
from colink.domain.aggregates import declared_events
from colink.domain.audit.report import Kind, Pass, PassResult
from colink.projections.audit.part import Part
from colink.projections.audit.reading import LogRow, Window, moment_of
from colink.projections.audit.rows import each_row
from colink.projections.engine import Connection

_ANSWERS_A_CHUNK = 500
_FIRST_FIELDS = 120  # characters of a payload, in which its time and what it makes stand
_MAKES = '"originator_topic":'
_LAST_FIELD = 40
_VERSION = ',"class_version":'
_Answer = tuple[int, str, str]  # position, the id it names, subject


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRange:
    """Positions `first` to `last` of the log in `table`, whose head is `head`, as `head_table` says. `label` tells
    its positions from those of the other log."""

    table: LiteralString
    head_table: LiteralString
    first: int
    last: int
    head: int
    label: str = ""


class PositionCheck:
    """The part of the pass `order` about positions: gapless, recorded times never going back, each event of a topic
    and a shape that this program knows, and the first of a stream the making of what its topic names. `end`: where
    the part ends."""

    def __init__(self, part: Part, *, first: int, end: int) -> None:
        self._result = part.results[Pass.ORDER]
        self._before, self._end = first - 1, end
        self._newest = {topic: event.class_version for topic, event in declared_events().items()}
        self._recorded_before: int | None = None

    def check(self, window: Window) -> None:
        if self._recorded_before is None and window.before is not None:
            self._recorded_before = window.before.recorded_at
        self._result.checked += len(window.rows)
        for row in window.rows:
            position, recorded_at = row.position, row.recorded_at
            if position != self._before + 1:
                self._find_gap(position)
            if self._recorded_before is not None and recorded_at < self._recorded_before:
                self._result.find(
                    Kind.TIME_GOES_BACK,
                    position,
                    f"{position}",
                    f"event {position} was recorded before the one before it",
                    recorded=moment_of(recorded_at),
                    derived=f"not before {moment_of(self._recorded_before)}",
                )
            if not 1 <= row.schema_version <= self._newest.get(row.topic, 0):
                self._result.find(
                    Kind.UNREADABLE,
                    position,
                    row.stream_id,
                    f"this program does not know version {row.schema_version} of {row.topic}: a newer CoLink may "
                    "have written it",
                )
            elif not _says_its_version(row):
                self._result.find(
                    Kind.UNREADABLE,
                    position,
                    row.stream_id,
                    f"the payload of event {position} is of another version of {row.topic} than it was recorded as",
                    recorded=row.payload[-_LAST_FIELD:],
                    derived=row.schema_version,
                )
            elif not _makes_what_it_names(row):
                self._result.find(
                    Kind.EXTRA,
                    position,
                    row.stream_id,
                    f"{row.stream_id} begins with {row.topic} and is another thing",
                )
            self._before, self._recorded_before = position, recorded_at
        if window.last == self._end and self._before < self._end:
            self._find_gap(self._end + 1)

    def _find_gap(self, position: int) -> None:
        """Before `position`."""
        missing = self._before + 1
        span = f"{missing}" if missing == position - 1 else f"{missing} to {position - 1}"
        self._result.find(Kind.GAP, missing, f"{missing}", f"no event at {span}")


class StreamCheck:
    """The part of the pass `order` about streams: versions of each count from 1 without a gap, in order of position,
    and all of its events are of one thing (what their topics begin with). Streams whose versions are wrong are
    carried out: `find_irregular` says what is wrong with them."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._result = part.results[Pass.ORDER]

    def check(self, window: Window) -> None:
        for stream_id, rows in window.streams.items():
            earlier = window.earlier.get(stream_id, ())
            version = earlier[-1].version if earlier else 0
            for row in rows:
                version += 1
                if row.version != version:
                    self._part.irregular_streams.add(stream_id)
                    break
            if earlier or len(rows) > 1:
                self._find_foreign(stream_id, (earlier or rows)[0].topic, rows)

    def _find_foreign(self, stream_id: str, first_topic: str, rows: Sequence[LogRow]) -> None:
        """Events that no pass over orders or payouts would look at, where those after them build on the stream."""
        thing = first_topic.partition(".")[0] + "."
        for row in rows:
            if not row.topic.startswith(thing):
                self._result.find(
                    Kind.EXTRA,
                    row.position,
                    stream_id,
                    f"{stream_id} began with {first_topic}: no {row.topic} belongs to it",
                )


def _says_its_version(row: LogRow) -> bool:
    """A version above 1 stands at the end of the payload."""
    _, mark, version = row.payload[-_LAST_FIELD:].rpartition(_VERSION)
    return (version if mark else "1}") == f"{row.schema_version}}}"


def _makes_what_it_names(row: LogRow) -> bool:
    """A first event says what it makes, some later ones too."""
    begins = row.payload[:_FIRST_FIELDS]
    if row.version > 1 and _MAKES not in begins:
        return True
    return f'{_MAKES}"{row.topic.partition(".")[0]}"' in begins


async def find_beyond(conn: Connection, result: PassResult, log: LogRange) -> None:
    """Events behind the head, and a head of another time than its event: the next event would be recorded then."""
    beyond = await conn.execute(f"SELECT min(position) FROM {log.table} WHERE position > %s", (log.head,))
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
    cursor = await conn.execute(
        f"SELECT h.recorded_at, e.recorded_at FROM {log.head_table} h JOIN {log.table} e ON e.position = h.position"
        " WHERE h.recorded_at <> e.recorded_at"
    )
    for recorded, derived in await cursor.fetchall():
        result.find(
            Kind.HEAD_DIFFERS,
            log.head,
            f"{log.label}log_head",
            f"the {log.label}head has another time than its event {log.head}",
            recorded=recorded,
            derived=derived,
        )


async def check_sequence(conn: Connection, result: PassResult, log: LogRange) -> int:
    """Find gaps in the positions of a log and times that go back; how many events there are."""
    rows = each_row(
        conn,
        "SELECT position, before, recorded_at, recorded_before FROM ("
        "SELECT position, lag(position, 1, %s) OVER by_position AS before, recorded_at,"
        f" lag(recorded_at, 1, recorded_at) OVER by_position AS recorded_before FROM {log.table}"
        " WHERE position BETWEEN %s AND %s WINDOW by_position AS (ORDER BY position)) log"
        " WHERE position <> before + 1 OR recorded_at < recorded_before ORDER BY position",
        (log.first - 1, log.first, log.last),
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
    counted = await conn.execute(
        f"SELECT count(*), coalesce(max(position), %s) FROM {log.table} WHERE position BETWEEN %s AND %s",
        (log.first - 1, log.first, log.last),
    )
    number, newest = await counted.fetchone() or (0, log.first - 1)
    if newest < log.last:
        result.find(
            Kind.GAP,
            newest + 1,
            f"{log.label}{newest + 1}",
            f"no {log.label}event from {newest + 1} to the head {log.last}",
        )
    await find_beyond(conn, result, log)
    return int(number)


async def find_irregular(
    conn: Connection, result: PassResult, log: LogRange, streams: Collection[str] | None = None
) -> None:
    """Find gaps in the versions of streams, and versions out of order; of these streams, or of all."""
    rows = each_row(
        conn,
        "SELECT stream_id, version, expected, position, position_before FROM ("
        "SELECT stream_id, version, position, lag(version, 1, 0) OVER by_version + 1 AS expected,"
        f" lag(position, 1, 0::bigint) OVER by_version AS position_before FROM {log.table}"
        " WHERE position <= %s AND (%s::text[] IS NULL OR stream_id = ANY(%s::text[]))"
        " WINDOW by_version AS (PARTITION BY stream_id ORDER BY version)) streams"
        " WHERE (version <> expected OR position <= position_before) AND position >= %s ORDER BY position",
        (log.last, *([None if streams is None else list(streams)] * 2), log.first),
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


async def check_references(conn: Connection, result: PassResult, log: LogRange, *, named_from: int | None) -> None:
    """Idempotency keys and deliveries name positions of the log and were kept with the events there; answers kept for
    keys name streams that their commands wrote. Nothing more of an answer can be derived. From event `named_from` on
    events name their keys."""
    for table, subject, kept_at in (
        ("colink.idempotency_keys", "t.scope || ' ' || t.key", "t.recorded_at"),
        ("colink.inbox", "t.source || ' ' || t.delivery_id", "coalesce(t.replayed_at, t.recorded_at)"),
    ):
        dangling = each_row(
            conn,
            f"SELECT t.position, {subject} FROM {table} t WHERE t.position BETWEEN %s AND %s"
            " AND NOT EXISTS (SELECT FROM colink.events e WHERE e.position = t.position)"
            f" UNION ALL SELECT t.position, {subject} FROM {table} t WHERE t.position > %s OR t.position < 1"
            " ORDER BY 1",
            (log.first, log.last, log.head),
        )
        async for position, name in dangling:
            result.find(
                Kind.DANGLING, position, f"{table} {name}", f"{table} names position {position}: no event there"
            )
        moved = each_row(
            conn,
            f"SELECT t.position, {subject}, {kept_at}, e.recorded_at FROM {table} t"
            f" JOIN colink.events e ON e.position = t.position WHERE t.position BETWEEN %s AND %s"
            f" AND {kept_at} <> e.recorded_at ORDER BY 1",
            (log.first, log.last),
        )
        async for position, name, recorded, derived in moved:
            result.find(
                Kind.CHANGED,
                position,
                f"{table} {name}",
                f"{table} says another time than event {position}, with which it was kept",
                recorded=recorded,
                derived=derived,
            )
        counted = await conn.execute(
            f"SELECT count(*) FROM {table} WHERE position BETWEEN %s AND %s", (log.first, log.last)
        )
        result.checked += (await counted.fetchone() or (0,))[0]
    await _check_answers(conn, result, log)
    if named_from is not None:
        await _find_unnamed_keys(conn, result, log, named_from)


async def _find_unnamed_keys(conn: Connection, result: PassResult, log: LogRange, named_from: int) -> None:
    """The event that a key says its command ended with names it; events of a delivery that was read again do not."""
    rows = each_row(
        conn,
        "SELECT k.position, k.scope, k.key, e.causation_id FROM colink.idempotency_keys k"
        " JOIN colink.events e ON e.position = k.position WHERE k.position BETWEEN %s AND %s"
        " AND coalesce(NOT starts_with(e.causation_id, 'dlv_'), true) ORDER BY 1",
        (max(log.first, named_from), log.last),
    )
    async for position, scope, key, cause in rows:
        if cause != cause_of_key(scope, key):
            result.find(
                Kind.DANGLING,
                position,
                f"colink.idempotency_keys {scope} {key}",
                f"event {position} was recorded with another key, or none",
                recorded=cause_of_key(scope, key),
                derived=cause,
            )


async def _check_answers(conn: Connection, result: PassResult, log: LogRange) -> None:
    chunk: list[_Answer] = []
    rows = each_row(
        conn,
        "SELECT position, scope || ' ' || key, answer FROM colink.idempotency_keys WHERE position BETWEEN %s AND %s"
        " ORDER BY 1",
        (log.first, log.last),
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
            await _find_misnamed(conn, result, chunk)
            chunk = []
    await _find_misnamed(conn, result, chunk)


async def _find_misnamed(conn: Connection, result: PassResult, chunk: Sequence[_Answer]) -> None:
    """A key's position is that of its command's last event; the command's events share a correlation id."""
    cursor = await conn.execute(
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
