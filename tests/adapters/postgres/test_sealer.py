"""Sealing on real PostgreSQL: every event is sealed once, in order, whoever seals and whenever it is killed; and what
contradicts an earlier signature is never signed."""

from __future__ import annotations

import asyncio
import random
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.adapters.postgres.commands import Post
from tests.adapters.postgres.sealed import SealedLog

from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.pool import AsyncPool, create_pool
from colink.adapters.postgres.sealer import Sealer
from colink.adapters.sealing_keys import SealRefused
from colink.application.sealing.keys import signature_is_good
from colink.domain.sealing.checkpoint import Checkpoint, VerifierKey, verified_checkpoint
from colink.domain.sealing.encoding import NotSealable, genesis, leaf_hashes, links
from colink.domain.sealing.merkle import CompactRange
from colink.projections.seals import seal_state

pytestmark = pytest.mark.anyio


@pytest.fixture
def log(database: Any, tmp_path: Path) -> SealedLog:
    return SealedLog(database, tmp_path / "keys")


def assert_sealed_whole(log: SealedLog) -> None:
    """Chain, tree nodes and newest checkpoint are those of the events, computed from nothing but them."""
    leaves = leaf_hashes(log.events())
    sealed = log.rows("select position, leaf, chain from colink.seals order by position")
    assert [position for position, _, _ in sealed] == list(range(1, len(leaves) + 1))
    assert [leaf for _, leaf, _ in sealed] == leaves
    assert [chain for _, _, chain in sealed] == links(genesis(log.origin), leaves)
    tree = CompactRange(watch=(8, 16))
    tree.extend(leaves)
    nodes = [(level, index, node) for level in (8, 16) for index, node in enumerate(tree.completed.get(level, []))]
    assert log.rows("select level, index, hash from colink.merkle_nodes order by level, index") == nodes
    assert newest(log) == Checkpoint(origin=log.origin, size=len(leaves), root=tree.root())


def newest(log: SealedLog) -> Checkpoint:
    """The newest checkpoint, its signature checked with the log's public key."""
    note = log.value("select note from colink.checkpoints order by tree_size desc limit 1")
    key = VerifierKey.parse(
        log.value("select verifier_key from colink.checkpoint_keys order by ordinal desc limit 1")
    )
    return verified_checkpoint(note, key, check=signature_is_good)


async def test_a_backlog_is_sealed_whole(log: SealedLog) -> None:
    log.grow(66_001)  # a subtree of 2^16 leaves is complete, and some of the next
    assert await log.seal(batch_size=5_000) == 66_001
    assert_sealed_whole(log)


async def test_the_database_puts_the_same_bytes_together(log: SealedLog) -> None:
    """Sealing lets PostgreSQL join the columns, verification does it in Python: texts and times of every kind."""
    texts = ["", "'", "\\", "\\x1f", "Kopi \u2615 \U0001f600", "\n\r\t\x01\x1d\x7f", "a" * 70_000, "NULL", "\u2028"]
    times = ["2026-03-01 12:00:00.123456+00", "1970-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00"]
    with psycopg.connect(log.database.owner_dsn, autocommit=True) as connection:
        for position, text in enumerate(texts, 1):
            null = None if position % 2 else text
            connection.execute(
                "insert into colink.events values (%s, %s, %s, %s, 32767, %s, %s, %s, %s, %s, %s)",
                (position, f"s{text[:9]}", 2**31 - position, text, text, null, times[position % 3], text, text, null),
            )
        connection.execute("update colink.log_head set position = %s", [len(texts)])
    assert await log.seal() == len(texts)
    assert_sealed_whole(log)


@pytest.mark.parametrize("sizes", [[1, 1, 254, 1, 300], [255, 1, 256, 1]])
async def test_a_log_that_grows_is_sealed_on_from_where_it_was(log: SealedLog, sizes: list[int]) -> None:
    for size in sizes:
        log.grow(size)
        assert await log.seal(batch_size=200) == size
        assert_sealed_whole(log)


async def test_an_empty_log_has_no_checkpoint_and_no_key(log: SealedLog) -> None:
    assert await log.seal() == 0
    assert log.rows("select * from colink.checkpoints") == log.rows("select * from colink.checkpoint_keys") == []
    assert not log.folder.exists()


async def test_while_the_log_grows_it_is_signed_once_a_second_and_when_it_stands_still(log: SealedLog) -> None:
    now = 100.0

    async def story(pool: AsyncPool) -> None:
        nonlocal now
        sealer = log.sealer(pool, monotonic=lambda: now)
        signed = []
        for seconds in (0.0, 0.25, 0.5, 0.25, 0.25):
            now += seconds
            log.grow(10)
            assert await sealer.run() == 10
            signed.append(newest(log).size)
        assert signed == [10, 10, 10, 40, 40]
        assert await sealer.run() == 0
        assert newest(log).size == 50

    await log.run(story)


async def test_the_key_is_private_and_made_once(log: SealedLog) -> None:
    log.grow(1)
    await log.seal()
    (verifier,) = (VerifierKey.parse(key) for (key,) in log.rows("select verifier_key from colink.checkpoint_keys"))
    assert verifier.name == log.origin == f"colink/{log.log_id}/commerce"
    folder = log.folder / log.log_id
    name = verifier.key_id.hex()
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.checkpoint", f"{name}.key", f"{name}.vkey"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    log.grow(1)
    await log.seal()
    assert log.value("select count(*) from colink.checkpoint_keys") == 1
    assert newest(log).size == 2


async def test_several_sealers_at_once_seal_everything_once(log: SealedLog) -> None:
    async def story(pool: AsyncPool) -> int:
        sealers = [log.sealer(pool, batch_size=37) for _ in range(4)]
        sealed = 0
        for _ in range(12):
            log.grow(100)
            sealed += sum(await asyncio.gather(*(sealer.run() for sealer in sealers)))
        while added := await sealers[0].run():
            sealed += added
        return sealed

    assert await log.run(story) == 1_200
    assert_sealed_whole(log)
    assert log.value("select count(*) from colink.checkpoint_keys") == 1


async def test_what_is_appended_meanwhile_is_sealed_in_its_order(log: SealedLog) -> None:
    """Commands through two committers, as of two processes, while two sealers follow them."""
    async with (
        create_pool(log.database.app_dsn, for_commands=True) as commands,
        Committer(commands, log.clock, in_flight=2) as one,
        Committer(commands, log.clock, in_flight=2) as other,
        create_pool(log.database.app_dsn) as pool,
    ):
        writing, begun = True, asyncio.Event()

        async def follow(sealer: Sealer) -> None:
            while writing or await sealer.run():
                if await sealer.run():
                    begun.set()
                await asyncio.sleep(0)

        sealers = [asyncio.create_task(follow(log.sealer(pool, batch_size=5))) for _ in range(2)]
        for portion in range(10):
            await asyncio.gather(
                *(bus.submit(Post(journal_id=f"jrn_{portion}_{n}")) for n, bus in enumerate([one, other] * 10))
            )
            await begun.wait()
        writing = False
        await asyncio.gather(*sealers)
    await log.seal()
    assert len(log.events()) == 200
    assert_sealed_whole(log)
    assert log.value("select count(*) from colink.checkpoints") > 1


async def test_a_second_sealer_cannot_fork_the_chain(log: SealedLog) -> None:
    """What a sealer without the lock would do: both compute the same positions, one after the other writes."""
    log.grow(2)
    await log.seal()
    log.grow(1)
    last = log.value("select chain from colink.seals where position = 2")

    def seal(first: int, previous: bytes, count: int = 1) -> Any:
        with psycopg.connect(log.database.app_dsn, autocommit=True) as connection:
            rows = connection.execute(
                "select colink.seal(%s, %s, %s, %s, '', '')",
                (first, previous, b"l" * 32 * count, b"c" * 32 * count),
            )
            return rows.fetchall()

    assert seal(2, last) == [(False,)]
    assert seal(4, last) == [(False,)]
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="does not end in what position 3 continues"):
        seal(3, b"x" * 32)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="no event at position 4 to seal"):
        seal(3, last, count=2)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="do not fit each other"):
        seal(3, last, count=0)
    assert log.value("select count(*) from colink.seals") == 2
    await log.seal()
    assert_sealed_whole(log)


async def test_the_chain_begins_with_the_name_of_its_log(log: SealedLog) -> None:
    log.grow(1)
    with (
        psycopg.connect(log.database.app_dsn, autocommit=True) as connection,
        pytest.raises(psycopg.errors.InvalidParameterValue, match="does not end in what position 1 continues"),
    ):
        connection.execute(
            "select colink.seal(1, %s, %s, %s, '', '')", (genesis("colink/another/commerce"), b"l" * 32, b"c" * 32)
        )


async def test_a_signature_that_was_not_published_any_more_is_not_forgotten(
    log: SealedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the tree head was kept in the folder, before the database has it."""

    class Killed(BaseException):
        pass

    def kept_then_killed(verifier: VerifierKey, note: str) -> None:
        remember(verifier, note)
        raise Killed

    remember = log.keys.remember
    log.grow(300)
    with monkeypatch.context() as patched:
        patched.setattr(log.keys, "remember", kept_then_killed)
        with pytest.raises(Killed):
            await log.seal(batch_size=100)
    assert log.rows("select * from colink.checkpoints") == []
    assert await log.seal() == 0
    assert_sealed_whole(log)


async def test_sealers_killed_while_they_race_leave_what_the_next_one_goes_on_from(log: SealedLog) -> None:
    log.grow(8_000)
    moments = random.Random(4)
    count = "select count(*) from colink.seals"
    for _ in range(2):
        before = log.value(count)
        processes = [sealing_process(log) for _ in range(2)]
        try:
            while log.value(count) == before:
                assert all(process.poll() is None for process in processes)
                await asyncio.sleep(0.005)
            await asyncio.sleep(moments.uniform(0, 0.1))
        finally:
            for process in processes:
                process.kill()
                process.wait()
    sealed = log.value(count)
    assert 0 < sealed < 8_000
    assert await log.seal() == 8_000 - sealed
    assert_sealed_whole(log)
    assert log.value("select count(*) from colink.checkpoint_keys") == 1


def sealing_process(log: SealedLog) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.adapters.postgres.sealing_process", log.database.app_dsn, str(log.folder)]
    return subprocess.Popen(command, cwd=Path(__file__).parents[3])


@pytest.mark.parametrize("value", [r"E'b\x1fc'", r"E'\x1e'"])
async def test_a_row_that_came_in_past_the_append_is_not_sealed(log: SealedLog, value: str) -> None:
    log.grow(3)
    log.as_owner("update colink.log_head set position = 4")
    log.as_owner(f"insert into colink.events values (4, 's', 1, 't', 1, '{{}}', null, now(), 'a', {value}, null)")
    with pytest.raises(NotSealable, match="position 4"):
        await log.seal(batch_size=3)
    assert log.value("select max(position) from colink.seals") == 3
    assert "position 4" in log.value("select reason from colink.seal_alarms")


async def test_a_gap_in_the_log_is_not_sealed(log: SealedLog) -> None:
    log.grow(5)
    log.as_attacker("delete from colink.events where position = 3")
    with pytest.raises(SealRefused, match="no event at position 3"):
        await log.seal()
    assert log.rows("select * from colink.seals") == []


# What contradicts an earlier signature ------------------------------------------------------------------------------


@pytest.fixture
async def signed(log: SealedLog) -> SealedLog:
    """A log of 700 events, sealed and signed."""
    log.grow(700)
    await log.seal()
    return log


async def refusal(log: SealedLog) -> str:
    """What the sealer says, having sealed what is new; it signs nothing, and says so where people look."""
    before = log.rows("select note from colink.checkpoints order by tree_size")
    remembered = log.keys.signed()
    with pytest.raises(SealRefused) as refused:
        await log.seal()
    assert log.rows("select note from colink.checkpoints order by tree_size") == before
    assert log.keys.signed() == remembered
    async with await psycopg.AsyncConnection.connect(log.database.app_dsn) as connection:
        state = await seal_state(connection, now=log.clock.now())
    assert state.alarm == refused.value.detail
    return refused.value.detail


async def test_a_log_that_was_rolled_back_is_not_signed(signed: SealedLog) -> None:
    """As after a restore of an older backup: everything in the database fits together, but it was 700 before."""
    signed.as_attacker(
        "delete from colink.checkpoints",
        "delete from colink.seals where position > 500",
        "delete from colink.merkle_nodes where index > 0",
        "delete from colink.events where position > 500",
        "update colink.log_head set position = 500",
    )
    assert "700 events was signed, but only 500 are sealed" in await refusal(signed)
    signed.grow(400)
    assert "the first 700 seals are not those that were signed" in await refusal(signed)


async def test_a_log_that_was_rewritten_is_not_signed(signed: SealedLog) -> None:
    """An attacker who may do everything in the database changes an event and seals the whole log again."""
    before = newest(signed)
    signed.as_attacker(
        "update colink.events set payload = '{\"n\":-3}' where position = 3",
        "truncate colink.seals, colink.merkle_nodes, colink.checkpoints",
    )
    assert "the first 700 seals are not those that were signed" in await refusal(signed)
    assert before.size == signed.value("select count(*) from colink.seals")


async def test_a_database_that_forgot_its_keys_is_not_signed(signed: SealedLog) -> None:
    signed.as_attacker("truncate colink.seals, colink.merkle_nodes, colink.checkpoints, colink.checkpoint_keys")
    assert "the database knows no key" in await refusal(signed)


async def test_the_database_remembers_too_where_the_folder_lost_what_was_signed(signed: SealedLog) -> None:
    for path in signed.folder.rglob("*.checkpoint"):
        path.unlink()
    signed.as_attacker("update colink.seals set leaf = sha256('x') where position = 690")
    signed.grow(1)
    assert "the first 700 seals are not those" in await refusal(signed)


async def test_seals_that_change_under_a_running_sealer_are_not_signed(log: SealedLog) -> None:
    log.grow(10)

    async def story(pool: AsyncPool) -> None:
        sealer = log.sealer(pool, monotonic=lambda: 0.0)
        await sealer.run()
        log.grow(10)
        await sealer.run()  # sealed, not signed yet
        log.as_attacker("update colink.seals set leaf = sha256('x') where position = 15")
        with pytest.raises(SealRefused, match="the seals changed"):
            await sealer.run()

    await log.run(story)
    assert newest(log).size == 10


async def test_another_machine_without_the_key_does_not_sign(signed: SealedLog, tmp_path: Path) -> None:
    elsewhere = SealedLog(signed.database, tmp_path / "elsewhere")
    elsewhere.grow(1)
    assert "which is not in" in await refusal(elsewhere)
    assert not elsewhere.folder.exists()
    assert await signed.seal() == 0
    assert newest(signed).size == 701


async def test_a_damaged_memory_of_what_was_signed_is_not_taken_for_none(signed: SealedLog) -> None:
    (path,) = signed.folder.rglob("*.checkpoint")
    path.write_text(path.read_text().replace("\n700\n", "\n600\n"))
    with pytest.raises(SealRefused, match="the signature of the checkpoint is wrong"):
        signed.keys.signed()
    signed.grow(1)
    with pytest.raises(SealRefused, match="what was signed last cannot be read"):
        await signed.seal()
    assert newest(signed).size == 700


async def test_after_a_loss_the_log_goes_on_under_a_new_key(signed: SealedLog) -> None:
    """The operator has no newer backup: what was lost is lost, and the old key signs nothing against it."""
    old = signed.value("select verifier_key from colink.checkpoint_keys")
    signed.as_attacker(
        "delete from colink.checkpoints",
        "delete from colink.seals where position > 500",
        "delete from colink.merkle_nodes where index > 0",
        "delete from colink.events where position > 500",
        "update colink.log_head set position = 500",
    )
    await refusal(signed)

    async def new_key(pool: AsyncPool) -> VerifierKey:
        return await signed.sealer(pool).add_key()

    signed.clock.time += timedelta(seconds=1)
    verifier = await signed.run(new_key)
    assert await signed.seal() == 0
    assert newest(signed).size == 500
    assert signed.rows("select verifier_key, tree_size from colink.checkpoint_keys order by ordinal") == [
        (old, 700),
        (str(verifier), 500),
    ]
    name = VerifierKey.parse(old).key_id.hex()
    assert sorted(path.name for path in signed.folder.rglob(f"retired/{name}.*")) == [
        f"{name}.checkpoint",
        f"{name}.key",
        f"{name}.vkey",
    ]
    async with await psycopg.AsyncConnection.connect(signed.database.app_dsn) as connection:
        assert (await seal_state(connection, now=signed.clock.now())).alarm is None


async def test_how_far_sealing_is_behind(log: SealedLog) -> None:
    async def state() -> tuple[int, float, int]:
        async with await psycopg.AsyncConnection.connect(log.database.app_dsn) as connection:
            found = await seal_state(connection, now=datetime(2026, 3, 1, 12, 0, 10, 123_456, tzinfo=UTC))
        return found.lag, found.lag_seconds, found.checkpoint

    assert await state() == (0, 0.0, 0)
    log.grow(5)
    assert await state() == (5, 10.0, 0)
    await log.seal()
    assert await state() == (0, 0.0, 5)
