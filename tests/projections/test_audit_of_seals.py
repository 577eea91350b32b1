"""Whatever is done to a sealed log, its seals or its checkpoints, with all rights on the database, is found where it
was done; what was kept outside the database convicts even who rewrote everything in it."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import psycopg
import pytest
from tests.conftest import FreshDatabase, TestDatabase
from tests.projections.test_audit import a_few_orders, found, verified
from tests.projections.world import AINA, World

from colink.adapters.postgres.mapper import EventMapper
from colink.adapters.postgres.sealer import Sealer
from colink.adapters.sealing_keys import KeyFolder
from colink.domain.aggregates import Event
from colink.domain.audit.periods import PeriodBook
from colink.domain.audit.report import Kind, Pass, Report, Status
from colink.domain.audit.terms import TermsBook
from colink.domain.sealing.encoding import origin_of
from colink.projections.audit import Outside, verify
from colink.projections.audit.personal_pass import Personal
from colink.projections.audit.processes import verify_segments
from colink.projections.audit.reading import Source
from colink.projections.audit.segment import Segment, Setting
from colink.projections.audit.touch_pass import Tracked
from colink.projections.audit.verify import Effort

pytestmark = pytest.mark.anyio

SIGNED = (12, 34)  # the sizes of the two checkpoints
MIDDLE = 17  # a position in the middle of the log
OF_LOG = {Pass.ORDER, Pass.ORDER, Pass.CHAIN, Pass.SEAL}
NOTHING = Outside()
TABLES = (
    *("events", "log_head", "seals", "merkle_nodes", "checkpoints", "checkpoint_keys", "entries", "balances"),
    *("orders", "documents", "terms_heads"),
)


BESIDE_THE_LOG = {Pass.TRACKING, Pass.INBOX, Pass.IDEMPOTENCY, Pass.PERSONAL}
"""Passes over tables that are not transplanted."""


async def sealer_of(world: World, folder: Path) -> Sealer:
    [(log_id,)] = await world.rows("SELECT value FROM colink.installation WHERE name = 'log_id'")
    origin = origin_of(log_id)
    return Sealer(world.pool, KeyFolder(folder, origin=origin), world.clock, origin=origin)


async def kept(world: World, folder: Path) -> Outside:
    """What is in the data folder."""
    [(log_id,)] = await world.rows("SELECT value FROM colink.installation WHERE name = 'log_id'")
    notes, keys = KeyFolder(folder, origin=origin_of(log_id)).kept()
    return Outside(notes=notes, keys=keys)


@pytest.fixture
async def sealed(world: World, tmp_path: Path) -> World:
    """Three orders, sealed and signed twice."""
    sealer = await sealer_of(world, tmp_path)
    await world.order(9, 1_000)
    await sealer.run()
    await sealer.run()
    await a_few_orders(world)
    sealer = await sealer_of(world, tmp_path)
    await sealer.run()
    await sealer.run()
    return world


async def of_log(world: World, outside: Outside = NOTHING) -> set[tuple[Pass, Kind, int]]:
    """Findings about the log itself."""
    return found(await verified(world, only=OF_LOG, outside=outside))


async def head(world: World) -> int:
    [(position,)] = await world.rows("SELECT position FROM colink.log_head")
    return int(position)


async def signed_sizes(world: World) -> list[int]:
    return [size for (size,) in await world.rows("SELECT tree_size FROM colink.checkpoints ORDER BY 1")]


async def test_a_sealed_log_as_it_was_written(sealed: World, tmp_path: Path) -> None:
    report = await verified(sealed, outside=await kept(sealed, tmp_path))
    assert report.findings == []
    unknown = [result.audit_pass for result in report.passes if result.status is not Status.PASSED]
    assert unknown == [Pass.PROJECTIONS], "nobody has built a report"
    assert (report.result(Pass.CHAIN).checked, report.unsealed) == (report.head, 0)
    assert await signed_sizes(sealed) == list(SIGNED)
    assert report.result(Pass.SEAL).checked == 3, "two checkpoints, and the newest once more as kept in the folder"


async def test_what_is_not_sealed_yet_is_said(sealed: World) -> None:
    before = await head(sealed)
    await sealed.order(77, 2_000)
    report = await verified(sealed)
    assert report.clean
    assert (report.result(Pass.CHAIN).checked, report.unsealed) == (before, 4)


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("payload", "overlay(payload placing chr(ascii(substr(payload, 40, 1)) # 1) from 40)"),
        ("stream_id", "stream_id || '7'"),
        ("version", "version + 10"),
        ("topic", "'order.split'"),
        ("schema_version", "schema_version + 1"),
        ("organization_id", "'org_2'"),
        ("organization_id", "NULL"),
        ("recorded_at", "recorded_at + interval '1 microsecond'"),
        ("actor", "'someone'"),
        ("correlation_id", "correlation_id || ' '"),
        ("causation_id", "'dlv_1'"),
        ("causation_id", "U&'\\001E'"),  # the sign for NULL, where there was NULL
        ("actor", "actor || U&'\\001F'"),
    ],
)
async def test_a_changed_column_of_an_event(sealed: World, column: str, change: str) -> None:
    assert sealed.tamper_with_log(f"UPDATE colink.events SET {column} = {change} WHERE position = {MIDDLE}") == [1]
    report = await verified(sealed, only=OF_LOG)
    assert (Pass.CHAIN, Kind.CHANGED, MIDDLE) in found(report)
    assert {finding.position for finding in report.findings if finding.audit_pass is Pass.CHAIN} == {MIDDLE}


async def test_a_dropped_event(sealed: World) -> None:
    sealed.tamper_with_log(f"DELETE FROM colink.events WHERE position = {MIDDLE}")
    findings = await of_log(sealed)
    assert {(Pass.ORDER, Kind.GAP, MIDDLE), (Pass.CHAIN, Kind.MISSING, MIDDLE)} <= findings
    assert min(position for _, _, position in findings) == MIDDLE


async def test_a_dropped_event_and_its_seal(sealed: World) -> None:
    """The pass `chain` by itself sees it too."""
    sealed.tamper_with_log(
        *(f"DELETE FROM colink.{table} WHERE position = {MIDDLE}" for table in ("events", "seals"))
    )
    assert found(await verified(sealed, only={Pass.CHAIN})) == {(Pass.CHAIN, Kind.MISSING, MIDDLE)}


async def test_seals_and_checkpoints_gone(sealed: World) -> None:
    """As if nothing had been sealed yet; the key that was made then tells."""
    sealed.tamper_with_log("DELETE FROM colink.seals", "DELETE FROM colink.checkpoints")
    assert await of_log(sealed) == {(Pass.SEAL, Kind.MISSING, 1)}


async def test_swapped_events(sealed: World) -> None:
    swap = "UPDATE colink.events SET position = {} WHERE position = {}"
    sealed.tamper_with_log(swap.format(-1, MIDDLE), swap.format(MIDDLE, MIDDLE + 4), swap.format(MIDDLE + 4, -1))
    assert {each for each in await of_log(sealed) if each[0] is Pass.CHAIN} == {
        (Pass.CHAIN, Kind.CHANGED, MIDDLE),
        (Pass.CHAIN, Kind.CHANGED, MIDDLE + 4),
    }


async def test_an_inserted_event_with_the_others_moved_up(sealed: World) -> None:
    end = await head(sealed)
    sealed.tamper_with_log(
        f"UPDATE colink.events SET position = -position - 1 WHERE position >= {MIDDLE}",
        "UPDATE colink.events SET position = -position WHERE position < 0",
        "INSERT INTO colink.events SELECT position - 1, stream_id || '7', 1, topic, schema_version, payload,"
        " organization_id, recorded_at, actor, correlation_id, causation_id FROM colink.events"
        f" WHERE position = {MIDDLE + 1}",
        "UPDATE colink.log_head SET position = position + 1",
    )
    chain = {position for audit_pass, _, position in await of_log(sealed) if audit_pass is Pass.CHAIN}
    assert chain == set(range(MIDDLE, end + 1)), "from there on, no event is the one that was sealed"


async def test_an_event_added_behind_the_head(sealed: World) -> None:
    end = await head(sealed)
    sealed.tamper_with_log(
        f"INSERT INTO colink.events SELECT {end + 1}, stream_id || '7', 1, topic, schema_version, payload,"
        " organization_id, recorded_at, actor, correlation_id, causation_id FROM colink.events"
        f" WHERE position = {end}"
    )
    assert await of_log(sealed) == {(Pass.ORDER, Kind.HEAD_DIFFERS, end + 1)}


def cut_short(world: World, end: int, *tables: str) -> None:
    """As if the log had never been longer, as far as these tables know."""
    world.tamper_with_log(
        f"DELETE FROM colink.events WHERE position > {end}",
        f"UPDATE colink.log_head SET position = {end},"
        f" recorded_at = (SELECT recorded_at FROM colink.events WHERE position = {end})",
        *(
            f"DELETE FROM colink.{table} WHERE {'tree_size' if table == 'checkpoints' else 'position'} > {end}"
            for table in tables
        ),
    )


async def test_a_log_cut_short(sealed: World, tmp_path: Path) -> None:
    end = await head(sealed) - 5
    cut_short(sealed, end)
    assert await of_log(sealed) == {(Pass.CHAIN, Kind.MISSING, end + 1)}
    cut_short(sealed, end, "seals")
    assert await of_log(sealed) == {(Pass.SEAL, Kind.MISSING, end + 1)}, "a checkpoint was signed over more"
    cut_short(sealed, end, "seals", "checkpoints")
    assert await of_log(sealed, await kept(sealed, tmp_path)) == {(Pass.SEAL, Kind.MISSING, end + 1)}


async def test_a_log_rewritten_and_sealed_anew(sealed: World, tmp_path: Path) -> None:
    """Everything in the database is of one piece again, signed by a key that only the forger has."""
    outside = await kept(sealed, tmp_path)
    end = await head(sealed)
    sealed.tamper_with_log(
        f"UPDATE colink.events SET actor = 'forger' WHERE position = {MIDDLE}",
        *(f"DELETE FROM colink.{table}" for table in ("seals", "merkle_nodes", "checkpoints", "checkpoint_keys")),
    )
    forger = await sealer_of(sealed, tmp_path / "forger")
    await forger.run()
    await forger.run()
    assert await of_log(sealed) == set()
    assert await of_log(sealed, outside) == {(Pass.SEAL, Kind.CHANGED, end), (Pass.SEAL, Kind.CHANGED, 0)}
    [place] = outside.notes
    messages = {finding.message for finding in (await verified(sealed, only=OF_LOG, outside=outside)).findings}
    assert messages == {
        f"the first {end} events are not those that the checkpoint in {place} was signed over",
        "the key that signs is none that is known outside the database",
    }


async def test_an_older_checkpoint_of_the_auditor(sealed: World) -> None:
    """The log must begin with what it was signed over, however long it has become."""
    [(size, note)] = await sealed.rows("SELECT tree_size, note FROM colink.checkpoints ORDER BY tree_size LIMIT 1")
    await sealed.order(78, 2_000)
    assert await of_log(sealed, Outside(notes={"mine": note})) == set()
    signature = note.rindex(" ") + 20
    forged = note[:signature] + ("A" if note[signature] != "A" else "B") + note[signature + 1 :]
    assert await of_log(sealed, Outside(notes={"mine": forged})) == {(Pass.SEAL, Kind.CHANGED, 0)}
    assert size < await head(sealed)


async def test_a_transplanted_log(sealed: World, fresh_database: FreshDatabase) -> None:
    """Another installation's log with everything that belongs to it, all of one piece: it is not this one's."""
    with fresh_database() as other:
        transplant(sealed.database, other)
        async with await psycopg.AsyncConnection.connect(other.app_dsn, autocommit=True) as conn:
            report = await verify(conn, sealed.mapper.event, only=set(Pass) - BESIDE_THE_LOG)
    assert {finding.audit_pass for finding in report.findings} == {Pass.CHAIN, Pass.SEAL}
    assert (Pass.CHAIN, Kind.CHANGED, 1) in found(report)
    assert {each.audit_pass: each.status for each in report.passes}[Pass.SPLIT] is Status.PASSED


def transplant(source: TestDatabase, target: TestDatabase) -> None:
    with psycopg.connect(source.superuser_dsn) as old, psycopg.connect(target.superuser_dsn) as new:
        # Test databases are copies of one template and would all be the same installation.
        new.execute("ALTER TABLE colink.installation DISABLE TRIGGER ALL")
        new.execute("UPDATE colink.installation SET value = md5(value) WHERE name = 'log_id'")
        for table in TABLES:
            new.execute(f"ALTER TABLE colink.{table} DISABLE TRIGGER ALL".encode())
            new.execute(f"DELETE FROM colink.{table}".encode())
            with (
                old.cursor().copy(f"COPY colink.{table} TO STDOUT".encode()) as read,
                new.cursor().copy(f"COPY colink.{table} FROM STDIN".encode()) as write,
            ):
                for data in read:
                    write.write(data)


@pytest.mark.parametrize(
    ("change", "findings"),
    [
        (
            f"UPDATE colink.seals SET leaf = sha256('x') WHERE position = {MIDDLE}",
            {(Pass.CHAIN, Kind.CHANGED, MIDDLE), (Pass.SEAL, Kind.CHANGED, SIGNED[1])},
        ),
        (
            f"UPDATE colink.seals SET chain = sha256('x') WHERE position = {MIDDLE}",
            {(Pass.CHAIN, Kind.CHANGED, MIDDLE), (Pass.CHAIN, Kind.CHANGED, MIDDLE + 1)},
        ),
        (
            f"DELETE FROM colink.seals WHERE position = {MIDDLE}",
            {(Pass.CHAIN, Kind.MISSING, MIDDLE), (Pass.SEAL, Kind.MISSING, MIDDLE)},
        ),
        (
            "UPDATE colink.checkpoints SET root = sha256('x') WHERE tree_size < 20",
            {(Pass.SEAL, Kind.CHANGED, SIGNED[0])},
        ),
        (
            "UPDATE colink.checkpoints SET note = replace(note, 'commerce', 'tracking') WHERE tree_size < 20",
            {(Pass.SEAL, Kind.CHANGED, SIGNED[0])},
        ),
        (
            "INSERT INTO colink.merkle_nodes VALUES (8, 0, sha256('x'))",
            {(Pass.SEAL, Kind.EXTRA, 1)},
        ),
    ],
)
async def test_changed_seals(sealed: World, change: str, findings: set[tuple[Pass, Kind, int]]) -> None:
    assert sealed.tamper_with_log(change) == [1]
    assert await of_log(sealed) == findings


async def test_changed_nodes_of_the_tree(world: World, tmp_path: Path) -> None:
    for number in range(100, 170):
        await world.order(number, 1_000)
    await (await sealer_of(world, tmp_path)).run()
    assert await head(world) > 256
    assert await of_log(world) == set()
    assert world.tamper_with_log("UPDATE colink.merkle_nodes SET hash = sha256('x')") == [1]
    assert await of_log(world) == {(Pass.SEAL, Kind.CHANGED, 1)}
    assert world.tamper_with_log("DELETE FROM colink.merkle_nodes") == [1]
    assert await of_log(world) == {(Pass.SEAL, Kind.MISSING, 1)}


async def test_seals_that_cannot_be_read_are_incomplete(sealed: World) -> None:
    sealed.tamper("ALTER TABLE colink.seals RENAME TO seals_gone")
    async with sealed.pool.connection() as conn:
        report = await verify(conn, sealed.mapper.event)
    statuses = {result.audit_pass: result.status for result in report.passes}
    assert {each for each, status in statuses.items() if status is Status.INCOMPLETE} == {Pass.CHAIN, Pass.SEAL}
    assert not report.clean


def dies(stream_id: str, version: int, topic: str, payload: str) -> Event:
    """Stands for whatever kills a process, and reads the terms in the one that asks."""
    if multiprocessing.parent_process() is not None:
        os._exit(9)
    return EventMapper().event(stream_id, version, topic, payload)


async def test_a_process_that_dies_leaves_nothing_but_incomplete_passes(sealed: World) -> None:
    """Nothing is found where a part of the log is not known."""
    async with sealed.pool.connection() as conn:
        report = await verify(conn, dies, effort=Effort(processes=2, events_a_segment=12, events_a_window=6))
    assert {finding.audit_pass for finding in report.findings} == set()
    assert {report.result(each).status for each in (Pass.ENTRIES, Pass.BALANCES)} == {Status.INCOMPLETE}
    assert not report.clean


async def test_what_was_posted_before_the_range_cannot_be_read() -> None:
    """Only what builds on it is incomplete, and is that for certain."""
    source = Source(dsn="host=/nowhere", snapshot="", decode=dies)
    setting = Setting(
        source=source, first=9, last=20, sealed=20, origin="", book=TermsBook(), periods=PeriodBook(),
        whole_log=False, reports=(), sums=None, tracked=Tracked(), personal=Personal(keys=None, erasures={}),
        events_a_window=8,
    )  # fmt: skip
    before = Segment(first=1, last=8, passes=frozenset(), needed_by=frozenset({Pass.ENTRIES}))
    [part] = await verify_segments(setting, [before], processes=1, finished=lambda _: None)
    assert {each: result.status for each, result in part.results.items()} == {Pass.ENTRIES: Status.INCOMPLETE}


async def test_processes_say_what_one_says(sealed: World) -> None:
    """Segments in processes of their own; and a line of credits that is too long from its first entry on, which no
    segment can see by itself."""
    at_once = Effort(processes=2, events_a_segment=24, events_a_window=8)

    async def in_processes() -> Report:
        async with sealed.pool.connection() as conn:
            return await verify(conn, sealed.mapper.event, effort=at_once)

    assert (await in_processes()).clean
    account = f"payee:{AINA}:available"
    entries = f"colink.entries WHERE account = '{account}' AND credited_after IS NOT NULL"
    [(first, last, number)] = await sealed.rows(f"SELECT min(position), max(position), count(*) FROM {entries}")
    assert 24 < first == last
    longer = entries.replace("WHERE", "SET credited_after = credited_after + 1 WHERE", 1)
    assert sealed.tamper(f"UPDATE {longer}") == [number]
    findings = (await in_processes()).findings
    assert [(each.audit_pass, each.kind, each.position) for each in findings] == [
        (Pass.ENTRIES, Kind.CHANGED, first)
    ] * number
