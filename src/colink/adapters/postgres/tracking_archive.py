"""Takes whole months out of the tracking log: into a file first, then out of the database, by its own function only.

The function (migrations/sql/0007_tracking_partitions.sql) decides whether a month may go and hashes its rows once
more; the file is durable before it is asked. A process that dies in between has written a file for nothing: the next
one writes the same again. Also reads archived events back, for projections that are built anew. Everything here
blocks: call it in a thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from threading import Lock

import psycopg
from psycopg.rows import TupleRow, class_row

from colink.adapters.archive_files import ArchivedEvent, ArchiveFiles
from colink.application.tracking_archive import ArchivedMonth, TrackedMonth, tell_nobody
from colink.domain.errors import Conflict, Unavailable

_ROWS_A_CHUNK = 2_000
_LOCK = 0x_C0_11_4E
_TRIES = 40  # a quarter of a second each: readers of the whole log (an audit) may hold it for a while
_EVENTS = """
    select position, stream_id, version, topic, schema_version, payload, organization_id, recorded_at, actor,
           correlation_id, causation_id
      from colink.tracking_events where recorded_at >= %s and recorded_at < %s order by position"""
_ARCHIVES = """
    select first_position, last_position, month, chain, file, archived_at
      from colink.tracking_archives order by first_position"""
Connection = psycopg.Connection[TupleRow]


@dataclass(frozen=True, kw_only=True)
class TrackingArchive:
    """TrackingMonths on PostgreSQL. `dsn` connects as the application."""

    dsn: str
    files: ArchiveFiles

    def prepare(self, at: datetime) -> int:
        """Make the partitions of the month of `at` and the next; how many were missing."""
        with self._connect() as connection:
            row = connection.execute("select colink.prepare_tracking_months(%s)", [at]).fetchone()
        return int(row[0]) if row else 0

    def months(self) -> list[TrackedMonth]:
        """The months in the log, oldest first."""
        with self._connect() as connection:
            return _months(connection)

    def archived(self) -> list[ArchivedMonth]:
        """The months that left the log, oldest first."""
        with self._connect() as connection, connection.cursor(row_factory=class_row(ArchivedMonth)) as cursor:
            return cursor.execute(_ARCHIVES).fetchall()

    def archive(self, before: date, *, report: Callable[[TrackedMonth], None] = tell_nobody) -> list[TrackedMonth]:
        done = []
        with self._connect() as connection:
            # Who wrote a month that another has just taken out would write an empty file in place of the full one.
            if not connection.execute("select pg_try_advisory_lock(%s)", [_LOCK]).fetchall()[0][0]:
                msg = "another process archives months of tracking now"
                raise Conflict(msg)
            for month in _months(connection):
                if month.ends.astimezone(UTC).date() > before:
                    break
                report(month)
                self._archive(connection, month)
                done.append(month)
        return done

    def archive_older_than(self, at: datetime) -> int:
        """As `archive`, of the months that ended before `at` and that nothing needs any more; how many."""
        with self._connect() as connection:
            row = connection.execute("select least(%s, now() - colink.tracking_is_needed_for())", [at]).fetchone()
        return len(self.archive(row[0].astimezone(UTC).date())) if row else 0

    def checked(self) -> Iterator[tuple[ArchivedMonth, str | None]]:
        with self._connect() as connection:
            row = connection.execute("select colink.tracking_genesis()").fetchone()
        chain = bytes(row[0]) if row else b""
        for month in self.archived():
            try:
                found = self.files.chain(month.file, previous=chain)
            except (OSError, EOFError, ValueError) as error:
                yield month, str(error)
            else:
                yield month, None if found == month.chain else "its events are not those that the log held"
            chain = month.chain

    def _archive(self, connection: Connection, month: TrackedMonth) -> None:
        row = connection.execute("select colink.tracking_chain_start()").fetchone()
        chain = bytes(row[0]) if row else b""
        file = ""
        if month.first_position is not None:
            file = f"tracking/{month.month:%Y-%m}.{month.first_position}-{month.last_position}.ndjson.gz"
            expected = (month.last_position or 0) - month.first_position + 1
            try:
                with connection.transaction():
                    chain = self.files.write(file, _events(connection, month), expected=expected, previous=chain)
            except ValueError as error:
                msg = f"{month.month:%Y-%m} was not archived: {error}; see `colink audit verify`"
                raise Conflict(msg) from error
        for tried in range(1, _TRIES + 1):
            try:
                connection.execute("select colink.archive_tracking_month(%s, %s, %s)", [month.month, chain, file])
            except psycopg.errors.LockNotAvailable as error:
                if tried == _TRIES:
                    msg = f"{month.month:%Y-%m} was not archived: the log is being read; try again later"
                    raise Conflict(msg) from error
                time.sleep(0.25)
            except (psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.InvalidParameterValue) as error:
                raise Conflict(error.diag.message_primary or str(error)) from error
            else:
                return

    def _connect(self) -> Connection:
        return psycopg.connect(self.dsn, autocommit=True, options="-c timezone=UTC")


def _months(connection: Connection) -> list[TrackedMonth]:
    with connection.cursor(row_factory=class_row(TrackedMonth)) as cursor:
        return cursor.execute(
            "select month, ends, first_position, last_position from colink.tracking_months() order by month"
        ).fetchall()


def _events(connection: Connection, month: TrackedMonth) -> Iterator[Sequence[ArchivedEvent]]:
    begins = datetime(month.month.year, month.month.month, 1, tzinfo=UTC)
    with connection.cursor("archive", row_factory=class_row(ArchivedEvent)) as cursor:
        cursor.execute(_EVENTS, [begins, month.ends])
        while chunk := cursor.fetchmany(_ROWS_A_CHUNK):
            yield chunk


class ArchivedEvents:
    """Reads archived events window after window, keeping its place in the file: a rebuild asks for them in order."""

    def __init__(self, files: ArchiveFiles) -> None:
        self._files = files
        self._lock = Lock()  # whoever reads ahead may still be at it when he is no longer waited for
        self._place: tuple[str, int] | None = None
        self._chunks: Iterator[list[ArchivedEvent]] = iter(())
        self._ahead: list[ArchivedEvent] = []

    def read(self, file: str, after: int, to: int) -> list[ArchivedEvent]:
        """The events of a file behind `after`, up to `to`. Raises Unavailable where the file cannot be read."""
        with self._lock:
            if self._place != (file, after):
                self._chunks, self._ahead = self._files.read(file), []
            self._place = None
            found: list[ArchivedEvent] = []
            try:
                while True:
                    found += [event for event in self._ahead if after < event.position <= to]
                    self._ahead = [event for event in self._ahead if event.position > to]
                    if self._ahead or not (chunk := next(self._chunks, [])):
                        break
                    self._ahead = chunk
            except (OSError, EOFError, ValueError) as error:
                msg = f"archived events cannot be read from {file}: {error}"
                raise Unavailable(msg) from error
            self._place = file, to
            return found
