"""The tracking log by month: months come by themselves, nothing in them changes, and old ones leave it whole, proven,
and only when nothing needs them any more."""

from __future__ import annotations

import asyncio
import gzip
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import errors
from tests.adapters.postgres.commands import Decide, nothing
from tests.adapters.postgres.conftest import Store
from tests.adapters.postgres.test_touches_at_once import click

from colink.adapters.archive_files import ArchiveFiles
from colink.adapters.postgres import migrate as schema
from colink.adapters.postgres.append import TRACKING
from colink.adapters.postgres.mapper import EventMapper
from colink.adapters.postgres.pool import create_pool
from colink.adapters.postgres.tracking_archive import ArchivedEvents, TrackingArchive
from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.campaigns import Campaign, CampaignDetails
from colink.domain.errors import Conflict
from colink.projections.attribution_report import AttributionReport
from colink.projections.audit.tracking_pass import check_tracking
from colink.projections.engine import ProjectionEngine, table

JANUARY, FEBRUARY, MARCH = date(2025, 1, 1), date(2025, 2, 1), date(2025, 3, 1)
EDGE = datetime(2025, 1, 31, 23, 59, 59, tzinfo=UTC)


def record(store: Store, *moments: datetime) -> None:
    """A click at each of these times, `clk_<position>`."""

    async def told() -> None:
        async with store.committer(log=TRACKING) as (bus, _):
            for moment in moments:
                store.clock.time = moment
                number = store.value("select position + 1 from colink.tracking_head")
                await bus.submit(click(f"clk_{number}", networks=(f"net_{number}",)))

    asyncio.run(told())


def partitions(store: Store) -> list[tuple[str, list[int]]]:
    names = store.rows(
        "select inhrelid::regclass::text from pg_inherits where inhparent = 'colink.tracking_events'::regclass"
        " order by 1"
    )
    rows = store.rows("select tableoid::regclass::text, position from colink.tracking_events order by 2")
    return [(name, [position for at, position in rows if at == name]) for (name,) in names]


@pytest.fixture
def archive(store: Store, tmp_path: Path) -> TrackingArchive:
    return TrackingArchive(dsn=store.app_dsn, files=ArchiveFiles(tmp_path))


@pytest.fixture
def three_months(store: Store, archive: TrackingArchive) -> TrackingArchive:
    """Clicks 1 and 2 in January, 3 in February, 4 and 5 in March 2025."""
    record(store, EDGE - timedelta(days=3), EDGE, EDGE + timedelta(seconds=1))
    record(store, EDGE + timedelta(days=30), EDGE + timedelta(days=31))
    return archive


def audited(store: Store) -> PassResult:
    async def told() -> PassResult:
        result = PassResult(audit_pass=Pass.TRACKING)
        async with create_pool(store.app_dsn) as pool, pool.connection() as connection, connection.transaction():
            await check_tracking(connection, result, EventMapper().event)
        return result

    return asyncio.run(told())


def test_the_append_makes_the_month_it_needs(store: Store, three_months: TrackingArchive) -> None:
    assert partitions(store)[:3] == [
        ("colink.tracking_events_2025_01", [1, 2]),
        ("colink.tracking_events_2025_02", [3]),
        ("colink.tracking_events_2025_03", [4, 5]),
    ]
    assert store.rows("select tableoid::regclass::text, position from colink.touches order by 2") == [
        ("colink.touches_2025_01", 1),
        ("colink.touches_2025_01", 2),
        ("colink.touches_2025_02", 3),
        ("colink.touches_2025_03", 4),
        ("colink.touches_2025_03", 5),
    ]
    # A clock that goes back does not lead back: times in the log never do.
    record(store, EDGE)
    assert partitions(store)[2] == ("colink.tracking_events_2025_03", [4, 5, 6])
    assert audited(store).findings == []
    assert audited(store).checked == 6


def test_months_to_come_are_made_once_also_by_many_at_once(store: Store, archive: TrackingArchive) -> None:
    async def told() -> list[int]:
        return list(await asyncio.gather(*(asyncio.to_thread(archive.prepare, EDGE) for _ in range(4))))

    assert sorted(asyncio.run(told())) == [0, 0, 0, 2]
    record(store, EDGE, EDGE + timedelta(seconds=1))
    assert partitions(store)[:2] == [
        ("colink.tracking_events_2025_01", [1]),
        ("colink.tracking_events_2025_02", [2]),
    ]


@pytest.mark.parametrize("change", ["update {} set payload = '{{}}'", "delete from {}", "truncate {}"])
@pytest.mark.parametrize("role", ["owner_dsn", "superuser_dsn"])
def test_a_month_is_as_immutable_as_the_log(
    store: Store, three_months: TrackingArchive, database: Any, role: str, change: str
) -> None:
    with psycopg.connect(getattr(database, role), autocommit=True) as connection:
        if role == "superuser_dsn":
            connection.execute("set session_replication_role = replica")
        with pytest.raises(errors.InsufficientPrivilege, match="append-only"):
            connection.execute(change.format("colink.tracking_events_2025_01").encode())
    with (
        psycopg.connect(store.app_dsn, autocommit=True) as connection,
        pytest.raises(errors.InsufficientPrivilege, match="permission denied"),
    ):
        connection.execute(change.format("colink.tracking_events_2025_01").encode())


def test_old_months_leave_the_log_and_it_goes_on(store: Store, three_months: TrackingArchive, tmp_path: Path) -> None:
    before = store.rows("select position, payload, recorded_at from colink.tracking_events order by 1")
    assert [month.month for month in three_months.archive(MARCH)] == [JANUARY, FEBRUARY]
    assert [(one.month, one.first_position, one.last_position, one.file) for one in three_months.archived()] == [
        (JANUARY, 1, 2, "tracking/2025-01.1-2.ndjson.gz"),
        (FEBRUARY, 3, 3, "tracking/2025-02.3-3.ndjson.gz"),
    ]
    assert [(month.month, month.first_position) for month in three_months.months()][:1] == [(MARCH, 4)]
    assert store.rows("select position from colink.touches order by 1") == [(4,), (5,)]
    assert three_months.archive(MARCH) == []

    lines = gzip.decompress((tmp_path / "tracking" / "2025-01.1-2.ndjson.gz").read_bytes()).splitlines()
    kept = [msgspec.json.decode(line) for line in lines]
    assert [(row["position"], row["payload"]) for row in kept] == [row[:2] for row in before[:2]]
    assert [datetime.fromisoformat(row["recorded_at"]) for row in kept] == [row[2] for row in before[:2]]

    record(store, EDGE + timedelta(days=40))
    assert store.rows("select position from colink.tracking_events order by 1") == [(4,), (5,), (6,)]
    result = audited(store)
    assert (result.findings, result.checked) == ([], 3)
    assert [problem for _, problem in three_months.checked()] == [None, None]


def test_nobody_changes_what_was_archived(store: Store, three_months: TrackingArchive) -> None:
    three_months.archive(FEBRUARY)
    for dsn in (store.owner_dsn, store.app_dsn):
        with psycopg.connect(dsn, autocommit=True) as connection:
            for change in ("update {} set file = ''", "delete from {}", "truncate {}"):
                with pytest.raises(errors.InsufficientPrivilege):
                    connection.execute(change.format("colink.tracking_archives").encode())
    with (
        psycopg.connect(store.app_dsn, autocommit=True) as connection,
        pytest.raises(errors.InsufficientPrivilege),
    ):
        connection.execute("insert into colink.tracking_archives default values")


def test_what_may_still_be_credited_stays(store: Store, archive: TrackingArchive) -> None:
    """Windows are 7 days where no campaign has a longer one, and orders may be told of 30 days late."""
    now = datetime.now(UTC)
    record(store, now - timedelta(days=70))
    month = archive.months()[0]
    days = (now - month.ends).days
    assert days > 37
    campaign = CampaignDetails(
        id="cmp_1", organization_id="org_1", name="Raya", slug="raya", click_window_hours=24 * (days - 29)
    )

    async def create(bus: Any, _: Any) -> None:
        await bus.submit(Decide(make=lambda _: nothing(events=Campaign.create(campaign, at=now).new_events())))

    store.run(create)
    with pytest.raises(Conflict, match="orders may still be credited to touches of"):
        archive.archive(now.date())
    assert archive.archive_older_than(now) == 0
    assert archive.archived() == []
    assert len(store.rows("select from colink.touches")) == 1


def test_a_month_that_a_projection_has_not_read_stays(store: Store, three_months: TrackingArchive) -> None:
    with psycopg.connect(store.owner_dsn, autocommit=True) as connection:
        connection.execute(
            "insert into colink.projection_versions (projection, version, shape, tables)"
            " values ('report', 1, 1, '{}');"
            "insert into colink.projection_checkpoints (projection, version, log, position)"
            " values ('report', 1, 'tracking', 2)"
        )
    with pytest.raises(Conflict, match="the projection report has not read the events of 2025-02 yet"):
        three_months.archive(MARCH)
    assert [month.month for month in three_months.archived()] == [JANUARY]


@pytest.mark.parametrize(
    ("month", "written", "problem"),
    [
        (FEBRUARY, None, "there are older months than 2025-02"),
        (date(2024, 12, 1), None, "the tracking log has no month 2024-12"),
        (date(2025, 1, 2), None, "the tracking log has no month 2025-01"),
        (JANUARY, bytes(32), "what was written of 2025-01 is not what the log holds"),
    ],
)
def test_the_database_takes_only_the_oldest_month_and_only_as_it_is(
    store: Store, three_months: TrackingArchive, month: date, written: bytes | None, problem: str
) -> None:
    with (
        psycopg.connect(store.app_dsn, autocommit=True) as connection,
        pytest.raises(psycopg.Error, match=problem),
    ):
        connection.execute("select colink.archive_tracking_month(%s, %s, 'file')", [month, written or bytes(32)])
    assert len(store.rows("select from colink.tracking_events")) == 5


def test_who_reads_the_whole_log_is_not_waited_for_by_clicks(
    store: Store, three_months: TrackingArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("colink.adapters.postgres.tracking_archive._TRIES", 2)
    with psycopg.connect(store.app_dsn) as reader:
        reader.execute("select count(*) from colink.tracking_events").fetchall()
        with pytest.raises(Conflict, match="the log is being read; try again later"):
            three_months.archive(FEBRUARY)
    assert [month.month for month in three_months.archive(FEBRUARY)] == [JANUARY]


def test_of_two_who_archive_at_once_none_spoils_what_the_other_wrote(
    store: Store, three_months: TrackingArchive, tmp_path: Path
) -> None:
    def attempt(_: int) -> int:
        try:
            return len(three_months.archive(MARCH))
        except Conflict:
            return 0

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(attempt, range(4))) == 2
    assert [problem for _, problem in three_months.checked()] == [None, None]
    assert sorted(path.name for path in (tmp_path / "tracking").iterdir()) == [
        "2025-01.1-2.ndjson.gz",
        "2025-02.3-3.ndjson.gz",
    ]
    assert audited(store).findings == []


def test_a_file_that_would_lack_events_is_not_written(store: Store, three_months: TrackingArchive) -> None:
    whole = three_months.files.write("january", [[]], expected=0, previous=bytes(32))
    assert whole == bytes(32)
    with pytest.raises(ValueError, match="would hold 0 events instead of 2"):
        three_months.files.write("january", [], expected=2, previous=bytes(32))
    assert list(three_months.files.read("january")) == []


def test_clicks_go_on_while_months_are_archived(store: Store, three_months: TrackingArchive) -> None:
    async def story(bus: Any, _: Any) -> None:
        async def follow(number: int) -> None:
            for n in range(20):
                await bus.submit(click(f"clk_{number}_{n}", networks=(f"net_{number}_{n}",)))

        archiving = asyncio.to_thread(three_months.archive, MARCH)
        done, *_ = await asyncio.gather(archiving, *(follow(number) for number in range(8)))
        assert [month.month for month in done] == [JANUARY, FEBRUARY]

    store.run(story, log=TRACKING)
    assert store.rows("select min(position), max(position), count(*) from colink.tracking_events") == [(4, 165, 162)]
    assert audited(store).findings == []


def spoil(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()))))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"lnk_1", b"lnk_2", 1),
        lambda text: text.split(b"\n", 1)[1],
        lambda text: b"".join(reversed(text.splitlines(keepends=True))),
        lambda text: text + b"{}\n",
    ],
    ids=["changed", "one missing", "swapped", "one more"],
)
def test_a_file_that_differs_is_found(
    three_months: TrackingArchive, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    three_months.archive(MARCH)
    spoil(tmp_path / "tracking" / "2025-01.1-2.ndjson.gz", change)
    found = [(month.month, problem is None) for month, problem in three_months.checked()]
    assert found == [(JANUARY, False), (FEBRUARY, True)]
    shutil.rmtree(tmp_path / "tracking")
    assert all("No such file" in str(problem) for _, problem in three_months.checked())


def test_an_audit_tells_archived_from_missing(store: Store, three_months: TrackingArchive, database: Any) -> None:
    three_months.archive(MARCH)
    with psycopg.connect(database.superuser_dsn, autocommit=True) as connection:
        connection.execute("alter table colink.tracking_archives disable trigger append_only")
        connection.execute("delete from colink.tracking_archives where month = '2025-02-01'")
    (finding,) = audited(store).findings
    assert (finding.kind, finding.position, finding.message) == (Kind.GAP, 3, "no tracking event at 3")
    with psycopg.connect(database.superuser_dsn, autocommit=True) as connection:
        connection.execute(
            "insert into colink.tracking_archives values (3, 4, '2025-02-01', %s, '', now())", [bytes(32)]
        )
    (finding,) = audited(store).findings
    assert (finding.kind, finding.position) == (Kind.EXTRA, 4)


def touches_of(store: Store, archive: ArchiveFiles | None) -> tuple[list[Any], str | None]:
    """What a report built now says of clicks, and why it stopped if it did."""

    async def told() -> tuple[list[Any], str | None]:
        async with create_pool(store.app_dsn, max_size=12) as pool:
            engine = ProjectionEngine(
                pool,
                [AttributionReport()],
                EventMapper().newest,
                batch_size=2,
                open_archive=lambda: ArchivedEvents(archive) if archive else None,
            )
            rebuilt = await engine.rebuild(AttributionReport().name)
            at = [each for each in await engine.checkpoints() if each.version == rebuilt.version and each.error]
            async with pool.connection() as connection:
                cursor = await connection.execute(
                    f"select quarter, clicks from {table('attribution_touches', rebuilt.version)} order by 1"
                )
                return await cursor.fetchall(), at[0].error if at else None

    return asyncio.run(told())


def test_a_report_built_anew_reads_the_archive_and_never_skips_it(
    store: Store, three_months: TrackingArchive
) -> None:
    before, error = touches_of(store, None)
    assert (sum(clicks for _, clicks in before), error) == (5, None)
    three_months.archive(MARCH)
    assert touches_of(store, three_months.files) == (before, None)
    _, error = touches_of(store, None)
    assert error == (
        "Unavailable: events 1 to 2 of the tracking log are archived in tracking/2025-01.1-2.ndjson.gz: they cannot "
        "be read here"
    )


def test_the_archive_is_read_from_any_place_to_any_other(three_months: TrackingArchive) -> None:
    three_months.archive(FEBRUARY)
    file = three_months.archived()[0].file
    reader = ArchivedEvents(three_months.files)

    def read(after: int, to: int) -> Iterable[int]:
        return [event.position for event in reader.read(file, after, to)]

    assert [read(0, 1), read(1, 2), read(0, 2), read(1, 1), read(2, 2), read(0, 1)] == [[1], [2], [1, 2], [], [], [1]]


def test_a_log_from_before_is_cut_by_its_migration(
    make_database: Callable[..., Any], tmp_path: Path, store: Store
) -> None:
    """Rows of several months, as a program of that day wrote them."""
    before = tmp_path / "migrations"
    shutil.copytree(Path(schema.__file__).parent / "migrations", before)
    for version in (before / "versions").glob("*.py"):
        if version.name >= "0007":
            version.unlink()
    database = make_database(migrated=False)
    schema.migrate(database.owner_dsn, scripts=before)
    with psycopg.connect(database.superuser_dsn, autocommit=True) as connection:
        for position, at in enumerate((EDGE, EDGE + timedelta(seconds=1), EDGE + timedelta(days=60)), start=1):
            row = (position, f"clk_{position}", 1, "touch.recorded", 1, "{}", None, at, "shopper", "c", None)
            connection.execute(
                "insert into colink.tracking_events values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)", row
            )
            connection.execute(
                "insert into colink.touches values (%s, 'click', null, null, null, 'cre_1', null, %s, '{}', %s)",
                (f"clk_{position}", at, position),
            )
        connection.execute("update colink.tracking_head set position = 3, recorded_at = %s", [EDGE])
    schema.migrate(database.owner_dsn)
    moved = Store(database)
    assert [(name, rows) for name, rows in partitions(moved) if rows] == [
        ("colink.tracking_events_2025_01", [1]),
        ("colink.tracking_events_2025_02", [2]),
        ("colink.tracking_events_2025_04", [3]),
    ]
    assert moved.rows("select touch_id, position, recorded_at = occurred_at from colink.touches order by 2") == [
        (f"clk_{n}", n, True) for n in (1, 2, 3)
    ]
    record(moved, EDGE + timedelta(days=61))
    assert moved.value("select max(position) from colink.tracking_events") == 4
