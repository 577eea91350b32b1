"""A salt that is destroyed is not in the table's file any more, and no backup ever holds one."""

from __future__ import annotations

import asyncio
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from tests.conftest import TestDatabase

from colink.adapters.postgres import backup
from colink.adapters.postgres.binaries import packaged_programs
from colink.adapters.postgres.pool import create_pool
from colink.adapters.postgres.provision import Database
from colink.adapters.postgres.salts import PostgresSalts, destroy_old_salts

MONDAY = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)
_FILE = "select pg_read_binary_file(pg_relation_filepath('colink.tracking_salts'))"


def test_a_destroyed_salt_leaves_the_disk_and_the_others_stay(database: TestDatabase) -> None:
    async def two_days() -> tuple[bytes, bytes]:
        async with create_pool(database.app_dsn) as pool:
            salts = PostgresSalts(pool)
            (old,) = await salts.salts(MONDAY)
            (new,) = await salts.salts(MONDAY + timedelta(days=1))
            assert old in on_disk(database)
            assert await destroy_old_salts(pool, at=MONDAY + timedelta(days=1)) == 0
            assert await destroy_old_salts(pool, at=MONDAY + timedelta(days=2)) == 1
            assert (await PostgresSalts(pool).salts(MONDAY + timedelta(days=1))) == (new,)
        return old, new

    old, new = asyncio.run(two_days())
    file = on_disk(database)
    assert old not in file
    assert new in file


def test_no_backup_holds_a_salt(database: TestDatabase, tmp_path: Path) -> None:
    with psycopg.connect(database.app_dsn, autocommit=True) as connection:
        connection.execute("insert into colink.tracking_salts values ('2026-03-09', 'a salt that nobody may keep')")
    (tmp_path / "data").mkdir()
    at = Database(owner_dsn=database.owner_dsn, app_dsn=database.app_dsn)
    backup.back_up(at, tmp_path / "data", tmp_path / "copy")
    dump = subprocess.run(
        [packaged_programs() / "pg_restore", "--file=-", tmp_path / "copy" / "colink.dump"],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    assert b"CREATE TABLE colink.tracking_salts" in dump
    assert b"a salt that nobody may keep".hex().encode() not in dump


def on_disk(database: TestDatabase) -> bytes:
    with psycopg.connect(database.superuser_dsn, autocommit=True) as connection:
        connection.execute("checkpoint")
        row = connection.execute(_FILE).fetchone()
    assert row is not None
    return bytes(row[0])
