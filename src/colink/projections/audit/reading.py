"""How a verification reads the commerce log: once, by position, a window of a few thousand events at a time.

Responsible for the snapshot all readers share, and for what a window offers to its checks: its rows as stored, the
events in them (decoded once, whichever check asks first), and what lies before and after it in the same streams.
Not responsible for what is checked.

    Source (picklable)  ->  WindowReader (a connection of its own, in the run's snapshot)  ->  Window after Window

A row is what is sealed: the eleven columns of the log.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, LiteralString, NamedTuple, Protocol

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from colink.domain.aggregates import Event
from colink.domain.audit.report import Kind, PassResult
from colink.domain.ledger import JournalPosted
from colink.projections.audit.journals import JournalRead, journal_of, read_journal
from colink.projections.engine import Decoder
from colink.projections.seals import SEALED_COLUMNS
from colink.projections.whole_numbers import read_whole_numbers

EVENTS_A_WINDOW = 2_048
_SAY_ALL = "seller_account."  # how topics begin whose events each say what their stream came to
PATIENT = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
"""A snapshot is held for as long as a verification takes, whatever the server's limits."""
# Every query of a window is by key: a plan for a table that has no statistics yet must not read all of it.
_SESSION = f"{PATIENT}; SET LOCAL jit = off; SET LOCAL timezone = 'UTC'; SET LOCAL enable_seqscan = off"


class LogRow(NamedTuple):
    """The columns of the log; an `EventRow` of what is sealed. `recorded_at` in microseconds since 1970."""

    position: int
    stream_id: str
    version: int
    topic: str
    schema_version: int
    payload: str
    organization_id: str | None
    recorded_at: int
    actor: str
    correlation_id: str
    causation_id: str | None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment_of(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the log is: the database, the snapshot another transaction holds open, and how events are decoded."""

    dsn: str
    snapshot: str
    decode: Decoder


Journal = tuple[int, str, int, JournalRead]
"""Position, id, version (1 of every real one), content."""


class WindowReader:
    """A connection that reads in the source's snapshot. Close it."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._conn: psycopg.Connection[TupleRow] = psycopg.connect(source.dsn)
        read_whole_numbers(self._conn)
        self._begin()

    def _begin(self) -> None:
        self._conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        self._conn.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(self.source.snapshot))
        self._conn.execute(_SESSION)

    def begin_again(self) -> None:
        """After an error: the same snapshot in a transaction that is usable."""
        self._conn.rollback()
        self._begin()

    def close(self) -> None:
        self._conn.close()

    def rows(self, query: LiteralString, *values: object) -> list[Any]:
        """All rows of a query that is known to give few."""
        return self._conn.execute(query, values).fetchall()

    def windows(self, first: int, last: int, *, until: int, size: int = EVENTS_A_WINDOW) -> Iterator[Window]:
        """The log from `first` to `last`. Windows end at multiples of `size`, wherever they start. `until`: where the
        verification ends, as if the log did."""
        while first <= last:
            end = min(first + size - 1 - (first - 1) % size, last)
            rows = self._log_rows(
                f"SELECT {SEALED_COLUMNS} FROM colink.events WHERE position BETWEEN %s AND %s ORDER BY position",
                first - 1,
                end,
            )
            before = rows.pop(0) if rows and rows[0].position == first - 1 else None
            yield Window(self, first=first, last=end, until=until, rows=rows, before=before)
            first = end + 1

    def stored(self, condition: LiteralString, *values: object) -> list[LogRow]:
        """Rows of the log that fit a condition by key, stream after stream."""
        return self._log_rows(
            f"SELECT {SEALED_COLUMNS} FROM colink.events WHERE {condition} ORDER BY stream_id, version", *values
        )

    def _log_rows(self, query: LiteralString, *values: object) -> list[LogRow]:
        return list(map(LogRow._make, self.rows(query, *values)))


class Window:
    """Positions `first` to `last` of the log: `rows` are those that are there, by position; `before` is the row just
    before them, None where there is none."""

    def __init__(
        self,
        reader: WindowReader,
        *,
        first: int,
        last: int,
        until: int,
        rows: list[LogRow],
        before: LogRow | None,
    ) -> None:
        self.reader = reader
        self.first, self.last, self._until = first, last, until
        self.rows, self.before = rows, before
        self._events: dict[int, Event | Exception] = {}
        self.unreadable_journals: list[LogRow] = []

    @cached_property
    def streams(self) -> dict[str, list[LogRow]]:
        """The rows of each stream, by position."""
        streams: dict[str, list[LogRow]] = {}
        for row in self.rows:
            streams.setdefault(row.stream_id, []).append(row)
        return streams

    @cached_property
    def earlier(self) -> dict[str, list[LogRow]]:
        """What lies before the window of those streams that do not begin in it, by version. Where each event says
        what its stream came to, only the one before: an account of a busy seller has events in every window."""
        continued = [rows[0] for rows in self.streams.values() if rows[0].version != 1]
        whole = [row.stream_id for row in continued if not row.topic.startswith(_SAY_ALL)]
        last = [(row.stream_id, row.version - 1) for row in continued if row.topic.startswith(_SAY_ALL)]
        found: list[LogRow] = []
        if whole:
            found += self.reader.stored("stream_id = ANY(%s) AND position < %s", whole, self.first)
        if last:
            found += self.reader.stored(
                "(stream_id, version) IN (SELECT * FROM unnest(%s::text[], %s::integer[])) AND position < %s",
                [stream_id for stream_id, _ in last],
                [version for _, version in last],
                self.first,
            )
        streams: dict[str, list[LogRow]] = {}
        for row in found:
            streams.setdefault(row.stream_id, []).append(row)
        return streams

    @cached_property
    def later(self) -> dict[str, int]:
        """The position of the next event of those streams that go on behind the window, while they are verified."""
        ends = [(stream_id, rows[-1].version + 1) for stream_id, rows in self.streams.items()]
        found = self.reader.rows(
            "SELECT stream_id, position FROM unnest(%s::text[], %s::integer[]) AS next (stream_id, version)"
            " JOIN colink.events USING (stream_id, version) WHERE position > %s"
            " AND position <= %s",
            [stream_id for stream_id, _ in ends],
            [version for _, version in ends],
            self.last,
            self._until,
        )
        return dict(found)

    @cached_property
    def journals(self) -> list[Journal]:
        """Those that can be read."""
        found = []
        for row in self.rows:
            if row.topic == JournalPosted.TOPIC:
                journal = read_journal(row.schema_version, row.payload)
                if journal is None:
                    event = self._decoded(row)
                    journal = journal_of(event) if isinstance(event, JournalPosted) else None
                if journal is None:
                    self.unreadable_journals.append(row)
                else:
                    found.append((row.position, row.stream_id, row.version, journal))
        return found

    def event(self, row: LogRow, result: PassResult) -> Event | None:
        """The event of a row of this window; None, and a finding, where it cannot be read."""
        event = self._decoded(row)
        if isinstance(event, Event):
            return event
        stream_id = row.stream_id
        result.find(
            Kind.UNREADABLE,
            row.position,
            stream_id,
            f"event {row.version} of {stream_id} is unreadable: {event}",
        )
        return None

    def events(self, rows: Iterable[LogRow], topics: Collection[str], result: PassResult) -> list[tuple[int, Event]]:
        """The events among these rows of the window that are of these topics, with their positions; one that cannot
        be read is a finding and left out."""
        decoded = [(row.position, self.event(row, result)) for row in rows if row.topic in topics]
        return [(position, event) for position, event in decoded if event is not None]

    def earlier_events(self, stream_id: str) -> list[tuple[int, Event]]:
        """The events of the stream that lie before the window. Those that cannot be read are left out: they are
        findings of the window they lie in."""
        decoded = [(row.position, self._decoded(row)) for row in self.earlier.get(stream_id, ())]
        return [(position, event) for position, event in decoded if isinstance(event, Event)]

    def _decoded(self, row: LogRow) -> Event | Exception:
        position = row.position
        event = self._events.get(position)
        if event is None:
            try:
                event = self.reader.source.decode(row.stream_id, row.version, row.topic, row.payload)
            except Exception as error:  # noqa: BLE001 - whatever a damaged payload provokes is what there is to report
                event = error
            self._events[position] = event
        return event


class WindowCheck(Protocol):
    """A part of a verification that looks at one window after the other. It writes findings into the results of its
    passes, and what only the whole log can say into what the segment carries out."""

    def check(self, window: Window) -> None: ...
