"""The library's own test cases, run against our recorder on both logs, and what is ours about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from eventsourcing.persistence import DataError, IntegrityError, NotSupportedError, StoredEvent, Tracking
from eventsourcing.tests.persistence import ApplicationRecorderTestCase, NonInterleavingNotificationIDsBaseCase
from tests.adapters.postgres.commands import journal

from colink.adapters.postgres.append import COMMERCE, TRACKING, Log
from colink.adapters.postgres.mapper import EventMapper
from colink.adapters.postgres.pool import SyncPool, create_blocking_pool
from colink.adapters.postgres.recorder import PostgresRecorder


class _OnOurTables:
    """Creates recorders on a fresh database."""

    log: Log
    _pool: SyncPool

    @pytest.fixture(autouse=True)
    def _fresh_database(self, database: Any) -> Iterator[None]:
        with create_blocking_pool(database.app_dsn, max_size=8) as pool:
            self._pool = pool
            yield

    def new_originator_id(self) -> str:
        return str(uuid4())

    def create_recorder(self) -> PostgresRecorder:
        return PostgresRecorder(self._pool, self.log)


class TestCommerceRecorder(_OnOurTables, ApplicationRecorderTestCase[PostgresRecorder]):
    log = COMMERCE

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestTrackingRecorder(_OnOurTables, ApplicationRecorderTestCase[PostgresRecorder]):
    log = TRACKING

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestPositionsDoNotInterleave(_OnOurTables, NonInterleavingNotificationIDsBaseCase):
    log = COMMERCE


@pytest.fixture
def recorder(database: Any) -> Iterator[PostgresRecorder]:
    with create_blocking_pool(database.app_dsn) as pool:
        yield PostgresRecorder(pool, COMMERCE)


def stored(stream_id: str, version: int, state: bytes = b"{}") -> StoredEvent:
    return StoredEvent(originator_id=stream_id, originator_version=version, topic="some.topic", state=state)


def test_inline_rows_are_written_by_the_recorder_too(recorder: PostgresRecorder) -> None:
    event = journal("jrn_1", ("payee:cre_1:pending", 500), ("platform:revenue", -500))
    recorder.insert_events([EventMapper().to_stored_event(event)])
    with recorder.pool.connection() as connection:
        rows = connection.execute("select account, amount, version from colink.balances order by account").fetchall()
    assert rows == [("payee:cre_1:pending", 500, 1), ("platform:revenue", -500, 1)]


def test_a_stream_takes_no_gap_and_no_version_twice(recorder: PostgresRecorder) -> None:
    recorder.insert_events([stored("a", 1)])
    for version in (1, 3):
        with pytest.raises(IntegrityError):
            recorder.insert_events([stored("a", version)])
    with pytest.raises(IntegrityError):
        recorder.insert_events([stored("b", 1), stored("b", 1)])
    assert recorder.max_notification_id() == 1
    assert recorder.insert_events([stored("a", 2)]) == [2]


def test_a_delimiter_in_a_payload_is_refused_and_nothing_is_written(recorder: PostgresRecorder) -> None:
    for state in (b"a\x1fb", b"a\x1eb", b"a\x00b"):
        with pytest.raises(DataError, match="payload"):
            recorder.insert_events([stored("a", 1), stored("a", 2, state)])
    assert recorder.max_notification_id() is None


def test_a_stream_can_be_read_in_parts_and_backwards(recorder: PostgresRecorder) -> None:
    recorder.insert_events([stored("a", version) for version in range(1, 6)])

    def versions(**limits: Any) -> list[int]:
        return [event.originator_version for event in recorder.select_events("a", **limits)]

    assert versions() == [1, 2, 3, 4, 5]
    assert versions(gt=2) == [3, 4, 5]
    assert versions(lte=2) == [1, 2]
    assert versions(gt=1, lte=4, desc=True) == [4, 3, 2]
    assert versions(desc=True, limit=1) == [5]


def test_tracking_objects_are_refused(recorder: PostgresRecorder) -> None:
    with pytest.raises(NotSupportedError):
        recorder.insert_events([stored("a", 1)], tracking=Tracking("other", 1))
