"""Old months of clicks and views are archived by a command or by the worker, and what was archived can be checked."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict
from tests.cli.conftest import CommandLine
from tests.conftest import TestDatabase
from tests.projections.world import open_world


async def three_months_of_clicks(database: TestDatabase) -> None:
    async with open_world(database) as world:
        for month in (1, 2, 3):
            world.clock.time = datetime(2025, month, 15, tzinfo=UTC)
            await world.touch()


def test_months_are_listed_archived_and_checked(database: TestDatabase, data_dir: Path) -> None:
    asyncio.run(three_months_of_clicks(database))
    at = conninfo_to_dict(database.superuser_dsn)
    url = f"postgresql://{at['user']}@/{at['dbname']}?host={at['host']}&port={at['port']}"
    colink = CommandLine(data_dir=data_dir, settings={"COLINK_DATABASE_URL": url})

    # The worker first reads all of them into the reports, then archives none: by default nothing ever goes.
    assert colink.json("worker", "--once")["failed"] == {}
    assert colink.json("tracking", "list")["archived"] == []
    done = colink.json("tracking", "archive", "--before", "2025-02-28")
    assert [month["month"] for month in done["items"]] == ["2025-01-01"]

    kept = CommandLine(data_dir=data_dir, settings=colink.settings | {"COLINK_TRACKING_RETENTION": "100d"})
    assert kept.json("worker", "--once")["failed"] == {}
    listed = colink.run("tracking", "list").stdout
    assert "tracking/2025-03.3-3.ndjson.gz" in listed
    assert colink.run("tracking", "check").stdout.count("as the log held it") == 3

    (data_dir / "objects" / "tracking" / "2025-02.2-2.ndjson.gz").unlink()
    problems = [item["problem"] for item in colink.json("tracking", "check", code=1)["items"]]
    assert [problem is None for problem in problems] == [True, False, True]
