"""A rebuild fills new tables beside those in use and points readers at them in one step: nothing is lost, nothing is
applied twice, whatever is killed or runs at once; and what readers may still hold is kept for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar

import msgspec
import psycopg
import pytest
from tests.projections.world import STORE, World

from colink.domain.errors import Conflict, NotFound, Unavailable
from colink.domain.order_deliveries import OrderPlaced
from colink.projections.engine import (
    Connection,
    Log,
    LogEvent,
    Parts,
    Progress,
    ProjectionEngine,
    State,
    live_version,
    table,
)

pytestmark = pytest.mark.anyio


class Nothing(msgspec.Struct):
    """All that a tally needs of an event."""


class Tally:
    """Counts how often it saw each order; breaks or waits where it is told to."""

    name: ClassVar[str] = "tally"
    shape: ClassVar[int] = 1
    tables: ClassVar[Mapping[str, str]] = {"tally": "(order_id text primary key, seen integer not null)"}
    parts: ClassVar[Mapping[Log, Parts]] = {Log.COMMERCE: {OrderPlaced: Nothing}}

    def __init__(self) -> None:
        self.fails_at: int | None = None
        self.dies_at: int | None = None
        self.may_go = asyncio.Event()
        self.may_go.set()
        self.waits = asyncio.Event()

    async def apply(self, conn: Connection, version: int, log: Log, events: list[LogEvent]) -> None:
        if not self.may_go.is_set():
            self.waits.set()
            await self.may_go.wait()
        for event in events:
            if event.position == self.dies_at:
                raise asyncio.CancelledError
            if event.position == self.fails_at:
                msg = "apples and pears"
                raise ValueError(msg)
            await conn.execute(
                f"INSERT INTO {table('tally', version)} AS t (order_id, seen) VALUES (%s, 1)"
                " ON CONFLICT (order_id) DO UPDATE SET seen = t.seen + 1",
                (event.stream_id,),
            )


class RicherTally(Tally):
    """The next release's: another column."""

    shape: ClassVar[int] = 2
    tables: ClassVar[Mapping[str, str]] = {
        "tally": "(order_id text primary key, seen integer not null, note text not null default 'new')"
    }


async def sold(world: World, *numbers: int) -> list[int]:
    """Positions of the orders' first events."""
    for number in numbers:
        await world.order(number, 1_000)
    rows = await world.rows("SELECT position FROM colink.events WHERE topic = 'order.placed' ORDER BY position")
    return [row[0] for row in rows]


def each_once(*numbers: int) -> dict[str, int]:
    return {f"ord_{STORE}.{number}": 1 for number in numbers}


async def counted(world: World, version: int) -> dict[str, int]:
    return dict(await world.rows(f"SELECT order_id, seen FROM {table('tally', version)}"))


async def live(world: World, projection: type[Tally] = Tally) -> int:
    async with world.pool.connection() as conn:
        return await live_version(conn, projection)


def tables_of(world: World) -> list[str]:
    with psycopg.connect(world.database.owner_dsn) as conn:
        query = "SELECT relname FROM pg_class WHERE relnamespace = 'colink_read'::regnamespace AND relkind = 'r'"
        return sorted(row[0] for row in conn.execute(query))


def engine_of(
    world: World, tally: Tally, *, batch_size: int = 4, grace: timedelta = timedelta(hours=1)
) -> ProjectionEngine:
    return ProjectionEngine(world.pool, [tally], world.mapper.newest, batch_size=batch_size, grace=grace)


async def test_readers_are_pointed_at_a_complete_version(world: World) -> None:
    engine = engine_of(world, Tally())
    await sold(world, 1, 2)
    await engine.run_until_caught_up()
    await sold(world, 3)
    told: list[Progress] = []

    rebuilt = await engine.rebuild("tally", report=told.append)

    assert (rebuilt.version, rebuilt.live, rebuilt.resumed) == (2, True, False)
    assert await live(world) == 2
    assert await counted(world, 2) == each_once(1, 2, 3), "nobody had applied the third before"
    assert await counted(world, 1) == each_once(1, 2), "what a reader may hold stays as it was"
    positions = [progress.positions[Log.COMMERCE] for progress in told]
    assert positions == sorted(positions)
    assert (positions[0], positions[-1]) == (0, told[-1].heads[Log.COMMERCE])
    await sold(world, 4)
    await engine.run_until_caught_up()
    assert await counted(world, 2) == each_once(1, 2, 3, 4), "the new version is kept up"


async def test_the_live_version_is_kept_up_while_another_is_built(world: World) -> None:
    await sold(world, 1)
    await engine_of(world, Tally()).run_until_caught_up()
    slow = Tally()
    slow.may_go.clear()
    building = asyncio.create_task(engine_of(world, slow).rebuild("tally"))
    await slow.waits.wait()

    await sold(world, 2, 3)
    await engine_of(world, Tally()).run_until_caught_up()

    assert await live(world) == 1
    assert await counted(world, 1) == each_once(1, 2, 3)
    states = {(each.version, each.state) for each in await engine_of(world, Tally()).checkpoints()}
    assert states == {(1, State.LIVE), (2, State.BUILDING)}
    slow.may_go.set()
    assert (await building).live
    assert await live(world) == 2
    assert await counted(world, 2) == each_once(1, 2, 3), "not behind what readers had already seen"


async def until_the_flip_waits(watcher: Connection) -> None:
    for _ in range(6_000):
        cursor = await watcher.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            " AND query LIKE '%ORDER BY version, log FOR UPDATE'"
        )
        if cursor.rowcount:
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never came to the flip")


async def test_the_flip_takes_in_what_the_live_version_applied_last(world: World) -> None:
    await sold(world, 1)
    engine = engine_of(world, Tally())
    await engine.run_until_caught_up()
    async with (
        world.pool.connection() as conn,
        await psycopg.AsyncConnection.connect(world.database.superuser_dsn, autocommit=True) as watcher,
    ):
        async with conn.transaction():  # the worker is at a batch of the live version
            await conn.execute("SELECT FROM colink.projection_checkpoints WHERE version = 1 FOR UPDATE")
            building = asyncio.create_task(engine.rebuild("tally"))
            await until_the_flip_waits(watcher)
            await sold(world, 2)
            await conn.execute(
                f"INSERT INTO {table('tally', 1)} (order_id, seen) VALUES (%s, 1)", (f"ord_{STORE}.2",)
            )
            await conn.execute(
                "UPDATE colink.projection_checkpoints SET position = (SELECT position FROM colink.log_head)"
                " WHERE version = 1"
            )

        assert (await building).live
    assert await counted(world, 2) == each_once(1, 2)


async def test_a_rebuild_that_was_killed_goes_on_where_it_was(world: World) -> None:
    positions = await sold(world, 1, 2, 3, 4)
    await engine_of(world, Tally()).run_until_caught_up()
    dying = Tally()
    dying.dies_at = positions[2]
    with pytest.raises(asyncio.CancelledError):
        await engine_of(world, dying).rebuild("tally")
    assert await live(world) == 1
    begun = await counted(world, 2)
    assert 0 < len(begun) < 4, "it was killed in the middle"

    rebuilt = await engine_of(world, Tally()).rebuild("tally")

    assert (rebuilt.version, rebuilt.live, rebuilt.resumed) == (2, True, True)
    assert await counted(world, 2) == each_once(1, 2, 3, 4)


async def test_of_two_rebuilds_at_once_one_is_told_of_the_other(world: World) -> None:
    await sold(world, 1)
    slow = Tally()
    await engine_of(world, Tally()).run_until_caught_up()
    slow.may_go.clear()
    first = asyncio.create_task(engine_of(world, slow).rebuild("tally"))
    await slow.waits.wait()

    with pytest.raises(Conflict, match="tally is being rebuilt by another process"):
        await engine_of(world, Tally()).rebuild("tally")

    slow.may_go.set()
    assert (await first).version == 2
    assert (await engine_of(world, Tally()).rebuild("tally")).version == 3, "the lock was given back"


async def test_an_unknown_projection_is_named(world: World) -> None:
    with pytest.raises(NotFound, match="no projection is called 'weather': there are tally"):
        await engine_of(world, Tally()).rebuild("weather")


async def test_a_rebuild_that_cannot_go_on_leaves_readers_where_they_are(world: World) -> None:
    positions = await sold(world, 1, 2)
    await engine_of(world, Tally()).run_until_caught_up()
    broken = Tally()
    broken.fails_at = positions[1]

    rebuilt = await engine_of(world, broken).rebuild("tally")

    assert not rebuilt.live
    assert await live(world) == 1
    [parked] = [each for each in await engine_of(world, broken).checkpoints() if each.state is State.BUILDING]
    assert (parked.version, parked.error_position, parked.error) == (2, positions[1], "ValueError: apples and pears")
    again = await engine_of(world, Tally()).rebuild("tally")
    assert (again.version, again.live, again.resumed) == (2, True, True), "mended, it goes on"
    assert await counted(world, 2) == each_once(1, 2)


async def test_a_stopped_version_is_replaced_by_a_rebuild(world: World) -> None:
    positions = await sold(world, 1, 2)
    await engine_of(world, Tally()).run_until_caught_up()
    broken = Tally()
    [late] = [position for position in await sold(world, 3) if position not in positions]
    broken.fails_at = late
    await engine_of(world, broken).run_until_caught_up()
    assert [each.error_position for each in await engine_of(world, broken).checkpoints()] == [late]

    await engine_of(world, Tally()).rebuild("tally")

    assert await counted(world, await live(world)) == each_once(1, 2, 3)
    assert [each.error for each in await engine_of(world, Tally()).checkpoints()] == [None]


async def test_old_tables_go_after_the_grace_period_and_wait_for_nobody(world: World) -> None:
    await sold(world, 1)
    patient, hasty = engine_of(world, Tally()), engine_of(world, Tally(), grace=timedelta(0))
    await patient.run_until_caught_up()
    await patient.rebuild("tally")

    assert await patient.drop_retired() == 0
    assert tables_of(world) == ["tally_v1", "tally_v2"]
    async with world.pool.connection() as conn, conn.transaction():
        await conn.execute("SELECT order_id FROM colink_read.tally_v1")
        assert await hasty.drop_retired() == 0, "somebody reads it still: next time"
    assert await hasty.drop_retired() == 1
    assert tables_of(world) == ["tally_v2"]
    assert await hasty.drop_retired() == 0
    assert (await patient.rebuild("tally")).version == 3, "a number is never used again"


async def test_two_releases_keep_the_shapes_that_they_know(world: World) -> None:
    await sold(world, 1)
    old, new = engine_of(world, Tally()), engine_of(world, RicherTally(), grace=timedelta(0))
    await old.run_until_caught_up()
    with pytest.raises(Unavailable, match="tally is being built"):
        await live(world, RicherTally)

    assert (await new.rebuild("tally")).live
    await sold(world, 2)
    await asyncio.gather(old.run_until_caught_up(), new.run_until_caught_up())

    assert (await live(world, Tally), await live(world, RicherTally)) == (1, 2)
    assert await counted(world, 1) == each_once(1, 2), "the release before goes on meanwhile"
    assert await counted(world, 2) == each_once(1, 2)
    assert await world.rows(f"SELECT DISTINCT note FROM {table('tally', 2)}") == [("new",)]
    assert await new.drop_retired() == 1
    await old.run_until_caught_up()
    assert tables_of(world) == ["tally_v2"], "the release before does not begin again"


async def test_the_first_version_is_built_by_whoever_works(world: World) -> None:
    await sold(world, 1, 2)
    engine = engine_of(world, Tally())
    await engine.register()
    await engine.register()
    assert tables_of(world) == ["tally_v1"]
    with pytest.raises(Unavailable):
        await live(world)

    await engine.run_until_caught_up()

    assert await counted(world, await live(world)) == each_once(1, 2)


async def test_on_an_empty_log_the_first_version_is_complete(world: World) -> None:
    world.tamper_with_log("UPDATE colink.log_head SET position = 0")
    await engine_of(world, Tally()).register()
    assert await live(world) == 1


async def test_the_owner_of_the_schema_may_read_what_the_application_made(world: World) -> None:
    await world.engine().run_until_caught_up()
    with psycopg.connect(world.database.owner_dsn) as conn:
        assert conn.execute("SELECT count(*) FROM colink_read.attribution_sales_v1").fetchone() == (0,)
