"""People are found, erased and kept erased by commands, also where a backup that knows them is restored."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict
from tests.api.shop import open_shop
from tests.api.test_privacy import BUYER, CREATOR, deliver, found_in
from tests.cli.conftest import CommandLine
from tests.conftest import FreshDatabase, TestDatabase

from colink.adapters.postgres.provision import Database


async def sell(database: TestDatabase, data_dir: Path) -> str:
    """One creator, one order: the creator's id."""
    at = Database(owner_dsn=database.owner_dsn, app_dsn=database.app_dsn)
    async with open_shop(at, data_dir=data_dir) as shop:
        store = await shop.store(await shop.organization())
        await deliver(shop, store, order_id=501)
        return str((await shop.creator(**CREATOR))["id"])


def command_line(database: TestDatabase, data_dir: Path) -> CommandLine:
    at = conninfo_to_dict(database.superuser_dsn)
    url = f"postgresql://{at['user']}@/{at['dbname']}?host={at['host']}&port={at['port']}"
    return CommandLine(data_dir=data_dir, settings={"COLINK_DATABASE_URL": url})


def keys_left(database: TestDatabase) -> int:
    with psycopg.connect(database.superuser_dsn) as connection:
        row = connection.execute("select count(*) from colink.private_values where name like 'key:%'").fetchone()
    assert row is not None
    return int(row[0])


def test_an_erasure_outlives_the_restore_of_a_backup_from_before_it(
    database: TestDatabase, fresh_database: FreshDatabase, data_dir: Path
) -> None:
    creator_id = asyncio.run(sell(database, data_dir))
    colink = command_line(database, data_dir)
    backup = data_dir.with_name(f"{data_dir.name}-backup")
    new_dir = data_dir.with_name(f"{data_dir.name}-new")
    try:
        colink.run("db", "backup", str(backup))
        [creator] = colink.json("privacy", "find", CREATOR["email"])["items"]
        assert (creator["person_id"], creator["kind"]) == (creator_id, "creator")
        [buyer] = colink.json("privacy", "find", BUYER["email"])["items"]
        for person in (creator, buyer):
            said = colink.json("privacy", "erase", person["person_id"], "--reason", "request 17")
            assert (said["person_id"], said["owners"]) == (person["person_id"], 1)
        assert colink.json("privacy", "find", BUYER["email"], code=1) == {"items": []}
        assert (
            "nothing personal is kept"
            in colink.run("privacy", "erase", buyer["person_id"], "--reason", "again", code=2).stderr
        )
        assert keys_left(database) == 0
        assert colink.json("audit", "verify")["clean"]
        told = [colink.run("inbox", "list").stdout, colink.run("audit", "trace", "1").stdout]
        told.append(colink.run("audit", "export", "--format", "hledger").stdout)
        told.append(colink.run("audit", "export", "--format", "ndjson", "--events").stdout)
        parquet = data_dir / "entries.parquet"
        colink.run("audit", "export", "--format", "parquet", "-o", str(parquet))
        for output in (*(text.encode() for text in told), parquet.read_bytes()):
            assert output
            assert found_in(output, BUYER | CREATOR) == []

        people = next((data_dir / "keys").glob("*/people"))
        kept = new_dir / people.relative_to(data_dir)
        kept.mkdir(parents=True)
        shutil.copy(people / "erased", kept)
        with fresh_database(migrated=False) as empty:
            restored = command_line(empty, new_dir)
            restored.run("db", "restore", str(backup))
            assert keys_left(empty) == 0
            assert restored.json("audit", "verify")["clean"]
    finally:
        shutil.rmtree(backup, ignore_errors=True)
        shutil.rmtree(new_dir, ignore_errors=True)


def test_a_database_is_not_opened_with_other_keys_than_its_own(database: TestDatabase, data_dir: Path) -> None:
    asyncio.run(sell(database, data_dir))
    colink = command_line(database, data_dir)
    shutil.rmtree(data_dir / "keys")
    assert "is sealed with other keys" in colink.run("inbox", "list", code=2).stderr
