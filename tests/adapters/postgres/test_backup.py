"""A backup holds every month of the tracking log, wherever it was when the backup began: in the log or in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.adapters.postgres.conftest import Store
from tests.adapters.postgres.test_tracking_months import EDGE, MARCH, record

from colink.adapters.archive_files import ArchiveFiles
from colink.adapters.postgres import backup
from colink.adapters.postgres.binaries import ServerError
from colink.adapters.postgres.provision import Database
from colink.adapters.postgres.tracking_archive import TrackingArchive


def test_a_month_that_is_archived_while_the_backup_begins_is_in_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(store, EDGE, EDGE.replace(month=3))
    data_dir = tmp_path / "data"
    archive = TrackingArchive(dsn=store.app_dsn, files=ArchiveFiles(data_dir / "objects"))
    (data_dir / "keys").mkdir(parents=True)
    dump = backup._run

    def archive_first(*arguments: Any) -> None:
        assert len(archive.archive(MARCH)) == 1
        (data_dir / "objects" / "tracking" / ".half-written").touch()
        dump(*arguments)

    monkeypatch.setattr(backup, "_run", archive_first)
    backup.back_up(Database(owner_dsn=store.owner_dsn, app_dsn=store.app_dsn), data_dir, tmp_path / "backup")
    kept = sorted(path.relative_to(tmp_path / "backup").as_posix() for path in (tmp_path / "backup").rglob("*.*"))
    assert kept == ["colink.dump", "files/objects/tracking/2025-01.1-1.ndjson.gz"]


def test_a_backup_never_holds_itself(store: Store, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    (data_dir / "keys").mkdir(parents=True)
    database = Database(owner_dsn=store.owner_dsn, app_dsn=store.app_dsn)
    for inside in (data_dir / "backups" / "monday", tmp_path / "elsewhere" / ".." / "data" / "monday"):
        with pytest.raises(ServerError, match="is in the data folder"):
            backup.back_up(database, data_dir, inside)
    (tmp_path / "file").touch()
    with pytest.raises(ServerError, match="cannot be made"):
        backup.back_up(database, data_dir, tmp_path / "file" / "monday")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["data", "file", "keys"]
