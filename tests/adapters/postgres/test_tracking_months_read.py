"""Who reads the tracking log while a month leaves it finds the month in the log or in the archive: never in neither,
never in both."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.adapters.postgres.conftest import Store
from tests.adapters.postgres.test_tracking_months import FEBRUARY, MARCH, archive, three_months

from colink.adapters.archive_files import ArchiveFiles
from colink.adapters.postgres.mapper import EventMapper
from colink.adapters.postgres.pool import create_pool
from colink.adapters.postgres.tracking_archive import ArchivedEvents, TrackingArchive
from colink.domain.audit.report import Pass
from colink.domain.errors import Conflict
from colink.domain.tracking import TouchRecorded
from colink.projections.audit.verify import verify
from colink.projections.logs import Connection, Log, LogReader

__all__ = ["archive", "three_months"]  # fixtures


class _Touch(msgspec.Struct):
    """Nothing of it."""


class _Interrupted:
    """A connection on which something else happens behind the first statement."""

    def __init__(self, connection: Connection, rival: Any) -> None:
        self._connection, self._rival = connection, rival

    async def execute(self, *statement: Any) -> Any:
        cursor = await self._connection.execute(*statement)
        rival, self._rival = self._rival, lambda: None
        rival()
        return cursor


def test_a_rebuild_misses_no_month_that_leaves_meanwhile(store: Store, three_months: TrackingArchive) -> None:
    """A rebuild that began after the database had looked who still needs the month."""
    reader = LogReader(
        Log.TRACKING, {TouchRecorded: _Touch}, EventMapper().newest, ArchivedEvents(three_months.files)
    )

    async def story() -> list[int]:
        async with create_pool(store.app_dsn) as pool, pool.connection() as connection:
            interrupted: Any = _Interrupted(connection, lambda: three_months.archive(MARCH))
            return [event.position for event in await reader.read(interrupted, 0, 4)]

    assert asyncio.run(story()) == [1, 2, 3, 4]
    assert len(three_months.archived()) == 2


def test_a_month_stays_while_it_is_verified(
    store: Store, three_months: TrackingArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verification may take minutes before it comes to the tracking log."""
    monkeypatch.setattr("colink.adapters.postgres.tracking_archive._TRIES", 1)
    refused = []

    def meanwhile(what: str, _done: int, _total: int) -> None:
        if what == Pass.TRACKING.value:
            with pytest.raises(Conflict, match="the log is being read; try again later"):
                three_months.archive(FEBRUARY)
            refused.append(what)

    async def story() -> Any:
        async with create_pool(store.app_dsn) as pool, pool.connection() as connection:
            return await verify(connection, EventMapper().event, only={Pass.TRACKING}, progress=meanwhile)

    (result,) = asyncio.run(story()).passes
    assert (result.findings, result.checked, refused) == ([], 5, ["tracking"])
    assert len(three_months.archive(FEBRUARY)) == 1


def test_a_file_is_durable_with_every_folder_that_was_made_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    sync = os.fsync

    def noted(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink())
        sync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    files = ArchiveFiles(tmp_path / "archive")
    files.write("tracking/january", [[]], expected=0, previous=bytes(32))
    assert set(synced[1:]) == {tmp_path / "archive" / "tracking", tmp_path / "archive", tmp_path}
    synced.clear()
    files.write("tracking/february", [[]], expected=0, previous=bytes(32))
    assert synced[1:] == [tmp_path / "archive" / "tracking"]


def test_what_a_killed_writer_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".january.abc").write_bytes(b"half of it")
    ArchiveFiles(tmp_path).write("january", [[]], expected=0, previous=bytes(32))
    assert [path.name for path in tmp_path.iterdir()] == ["january"]
