"""The eventsourcing library's recorder on our tables: it inserts through the append functions, like everyone else.

Implements `ApplicationRecorder` directly (architecture section 4 says why it is not the library's PostgreSQL one). A
connection lost around a commit is reported as it is: nothing here tries again on its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Thread
from typing import Any
from uuid import UUID

import psycopg
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    DataError,
    InfrastructureFactory,
    IntegrityError,
    InterfaceError,
    ListenNotifySubscription,
    Notification,
    NotSupportedError,
    OperationalError,
    PersistenceError,
    ProcessRecorder,
    ProgrammingError,
    StoredEvent,
    Subscription,
    TrackingRecorder,
)
from eventsourcing.utils import Environment
from psycopg_pool import PoolClosed, PoolTimeout

from colink.adapters.postgres.append import Log
from colink.adapters.postgres.mapper import EventMapper, event_class, schema_version
from colink.adapters.postgres.pool import SyncPool
from colink.adapters.postgres.prepared import Prepared, StampedEvent
from colink.application.ports import Caller
from colink.domain.aggregates import Event
from colink.domain.errors import InvalidInput
from colink.projections.inline import Row, project

POLL_SECONDS = 1.0  # a listener also polls: a NOTIFY may be lost with its connection
_LISTENING = 0.1  # seconds after which a listener looks whether it was stopped
_CALLER = Caller(actor="recorder", correlation_id="recorder")


@contextmanager
def library_errors() -> Iterator[None]:
    """The driver's errors as the library's."""
    try:
        yield
    except (psycopg.IntegrityError, psycopg.errors.UniqueViolation) as error:
        raise IntegrityError(str(error)) from error
    except (psycopg.DataError, InvalidInput) as error:
        raise DataError(str(error)) from error
    except (psycopg.OperationalError, PoolTimeout, PoolClosed) as error:
        raise OperationalError(str(error)) from error
    except psycopg.InterfaceError as error:
        raise InterfaceError(str(error)) from error
    except psycopg.ProgrammingError as error:
        raise ProgrammingError(str(error)) from error
    except psycopg.Error as error:
        raise PersistenceError(str(error)) from error


class PostgresRecorder(ApplicationRecorder):
    """Reads and writes one of the two logs, from threads. Inline rows of our own events are written with them."""

    def __init__(self, pool: SyncPool, log: Log) -> None:
        self.pool = pool
        self.log = log
        self._mapper = EventMapper()
        columns = "stream_id, version, topic, payload"
        self._select_stream = f"select {columns} from {log.events_table} where stream_id = %(stream_id)s"
        self._select_log = f"select position, {columns} from {log.events_table} where true"
        self._select_head = f"select nullif(position, 0) from {log.head_table}"

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int]:
        """Positions of the events, gapless and in order. Raises IntegrityError when a stream moved on."""
        if kwargs.get("tracking") is not None:
            msg = "tracking objects are not recorded with events: projections keep their own checkpoints"
            raise NotSupportedError(msg)
        if not stored_events:
            return []
        prepared = Prepared(
            events=[StampedEvent.of(event, self._version_of(event)) for event in stored_events],
            rows=[self._rows_of(event) for event in stored_events],
            caller=_CALLER,
            answer="null",
        )
        with library_errors():
            parameters = self.log.parameters([prepared], datetime.now(UTC))
            with self.pool.connection() as connection:
                rows = connection.execute(self.log.append, parameters).fetchall()
        if rows[0][1] is not None:
            msg = f"a stream moved on ({rows[0][1]})"
            raise IntegrityError(msg)
        base = rows[0][2]
        return [base + ordinal for ordinal in range(1, len(stored_events) + 1)]

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        query = self._select_stream
        query += " and version > %(gt)s" if gt is not None else ""
        query += " and version <= %(lte)s" if lte is not None else ""
        query += " order by version desc" if desc else " order by version"
        query += " limit %(limit)s" if limit is not None else ""
        values = {"stream_id": str(originator_id), "gt": gt, "lte": lte, "limit": limit}
        with library_errors(), self.pool.connection() as connection:
            rows = connection.execute(query, values).fetchall()
        return [
            StoredEvent(originator_id=stream_id, originator_version=version, topic=topic, state=payload.encode())
            for stream_id, version, topic, payload in rows
        ]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        query = self._select_log
        if start is not None:
            query += " and position >= %(start)s" if inclusive_of_start else " and position > %(start)s"
        query += " and position <= %(stop)s" if stop is not None else ""
        query += " and topic = any(%(topics)s)" if topics else ""
        query += " order by position limit %(limit)s"
        values = {"start": start, "stop": stop, "topics": list(topics), "limit": limit}
        with library_errors(), self.pool.connection() as connection:
            rows = connection.execute(query, values).fetchall()
        return [
            Notification(
                id=position, originator_id=stream_id, originator_version=version, topic=topic, state=payload.encode()
            )
            for position, stream_id, version, topic, payload in rows
        ]

    def max_notification_id(self) -> int | None:
        with library_errors(), self.pool.connection() as connection:
            row = connection.execute(self._select_head).fetchone()
        return row[0] if row else None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        return PostgresSubscription(recorder=self, gt=gt, topics=topics)

    def _version_of(self, event: StoredEvent) -> int:
        ours = _event_class(event.topic)
        return schema_version(ours) if ours else 1

    def _rows_of(self, event: StoredEvent) -> list[Row]:
        return project(self._mapper.to_domain_event(event)) if _event_class(event.topic) else []


def _event_class(topic: str) -> type[Event] | None:
    """Our event class of that topic; None for topics that are not ours."""
    try:
        return event_class(topic)
    except LookupError:
        return None


class PostgresSubscription(ListenNotifySubscription[PostgresRecorder]):
    """Yields events as they come: told by NOTIFY where the log has a channel, and by polling."""

    def __init__(self, recorder: PostgresRecorder, gt: int | None = None, topics: Sequence[str] = ()) -> None:
        super().__init__(recorder=recorder, gt=gt, topics=topics)
        self._listen_thread = Thread(target=self._listen, name=f"listen:{recorder.log.name}")
        self._listen_thread.start()

    def __exit__(self, *args: object, **kwargs: Any) -> None:
        try:
            super().__exit__(*args, **kwargs)
        finally:
            self._listen_thread.join()

    def _listen(self) -> None:
        try:
            with library_errors(), self._recorder.pool.connection() as connection:
                if self._recorder.log.channel:
                    connection.execute(f"listen {self._recorder.log.channel}")
                try:
                    self._watch(connection)
                finally:
                    if not connection.closed:
                        connection.execute("unlisten *")
        except Exception as error:  # noqa: BLE001 - it is raised in the thread that iterates
            if self._thread_error is None:
                self._thread_error = error
            self.stop()

    def _watch(self, connection: psycopg.Connection[Any]) -> None:
        quiet = 0.0
        while not self._has_been_stopped and not self._thread_error:
            told = list(connection.notifies(timeout=_LISTENING, stop_after=1))
            quiet += _LISTENING
            if told or quiet >= POLL_SECONDS:
                self._has_been_notified.set()
                quiet = 0.0


class PostgresFactory(InfrastructureFactory[TrackingRecorder]):
    """Gives the library our recorder and mapper. Snapshots and process recorders are not used."""

    def __init__(self, env: Environment, *, pool: SyncPool, log: Log) -> None:
        super().__init__(env)
        self._pool = pool
        self._log = log

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        if purpose != "events":
            msg = f"there are no {purpose} here: aggregates are folded from their events"
            raise NotSupportedError(msg)
        return self.application_recorder()

    def application_recorder(self) -> PostgresRecorder:
        return PostgresRecorder(self._pool, self._log)

    def tracking_recorder(self, tracking_recorder_class: type[Any] | None = None) -> Any:
        what = tracking_recorder_class or "tracking recorder"
        msg = f"there is no {what}: projections keep their own checkpoints (projections.engine)"
        raise NotSupportedError(msg)

    def process_recorder(self) -> ProcessRecorder:
        msg = "projections keep their own checkpoints (projections.engine)"
        raise NotSupportedError(msg)
