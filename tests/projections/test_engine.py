"""The engine promises: a batch is applied exactly once whatever runs at once, a poisoned event stops one projection
only and says where, and a projection that was killed goes on where its checkpoint says."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import msgspec
import pytest
from tests.projections.world import BUDI, STORE, World

from colink.domain.errors import NotFound
from colink.domain.order_deliveries import OrderPlaced
from colink.domain.tracking import TouchKind
from colink.projections.engine import Connection, Lag, Log, LogEvent, Parts, lag, table

pytestmark = pytest.mark.anyio
ORDERS = [f"ord_{STORE}.{number}" for number in range(1, 13)]


class Nothing(msgspec.Struct):
    """All that a witness needs of an event."""


class Witness:
    """Counts how often it saw each order's first event."""

    name: ClassVar[str] = "witness"
    shape: ClassVar[int] = 1
    tables: ClassVar[Mapping[str, str]] = {"witness": "(order_id text primary key, seen integer not null)"}
    parts: ClassVar[Mapping[Log, Parts]] = {Log.COMMERCE: {OrderPlaced: Nothing}}

    def __init__(self, *, poisoned: int | None = None, dies_after: int | None = None, slow: bool = False) -> None:
        self.poisoned = poisoned
        self.dies_after = dies_after
        self.slow = slow
        self.batches = 0

    async def apply(self, conn: Connection, version: int, log: Log, events: list[LogEvent]) -> None:
        if self.dies_after is not None and self.batches >= self.dies_after:
            raise asyncio.CancelledError
        for event in events:
            if event.position == self.poisoned:
                msg = "cannot add apples to pears"
                raise ValueError(msg)
            await conn.execute(
                f"INSERT INTO {table('witness', version)} AS o VALUES (%s, 1)"
                " ON CONFLICT (order_id) DO UPDATE SET seen = o.seen + 1",
                (event.stream_id,),
            )
        if self.slow:
            await asyncio.sleep(0.005)
        self.batches += 1


async def seen_by_witness(world: World, version: int = 1) -> dict[str, int]:
    return dict(await world.rows(f"SELECT order_id, seen FROM {table('witness', version)}"))


async def twelve_orders(world: World) -> list[int]:
    """Positions of their first events."""
    for number in range(1, 13):
        await world.order(number, 1000)
    rows = await world.rows("SELECT position FROM colink.events WHERE topic = 'order.placed' ORDER BY position")
    return [row[0] for row in rows]


async def begun(world: World, witness: Witness) -> None:
    """The projection is in use before anything is sold: what its version is and who builds it is settled."""
    await world.engine(projections=[witness]).run_until_caught_up()


async def test_engines_at_once_never_apply_a_batch_twice(world: World) -> None:
    await begun(world, Witness())
    await twelve_orders(world)
    witnesses = [Witness(slow=True) for _ in range(4)]
    engines = [world.engine(batch_size=2, projections=[witness]) for witness in witnesses]
    [(before,)] = await world.rows("SELECT position FROM colink.projection_checkpoints")

    passed = await asyncio.gather(*(engine.run_until_caught_up() for engine in engines))

    assert await seen_by_witness(world) == dict.fromkeys(ORDERS, 1)
    [(head,)] = await world.rows("SELECT position FROM colink.log_head")
    assert sum(passed) == head - before
    assert sum(1 for moved in passed if moved) > 1, "more than one engine worked"
    [checkpoint] = await engines[0].checkpoints()
    assert (checkpoint.position, checkpoint.lag, checkpoint.error) == (head, 0, None)


@pytest.mark.parametrize("batch_size", [1, 7, 5_000])
async def test_a_poisoned_event_parks_its_projection_there_and_no_other(world: World, batch_size: int) -> None:
    positions = await twelve_orders(world)
    poisoned = Witness(poisoned=positions[7])
    engine = world.engine(batch_size=batch_size, projections=[poisoned, *world.projections()])

    await engine.run_until_caught_up()

    by_name = {(c.projection, c.log): c for c in await engine.checkpoints()}
    parked = by_name["witness", Log.COMMERCE]
    assert parked.position == positions[7] - 1
    assert parked.error_position == positions[7]
    assert parked.error == "ValueError: cannot add apples to pears"
    assert parked.lag > 0
    assert by_name["attribution_report", Log.COMMERCE].lag == 0
    assert by_name["leaderboard", Log.COMMERCE].lag == 0


async def test_a_parked_projection_waits_until_it_is_resumed(world: World) -> None:
    positions = await twelve_orders(world)
    await world.engine(projections=[Witness(poisoned=positions[7])]).run_until_caught_up()
    mended = world.engine(projections=[Witness()])

    assert await mended.run_until_caught_up() == 0
    assert set(await seen_by_witness(world)) == set(ORDERS[:7])

    await mended.resume("witness")
    await mended.run_until_caught_up()
    assert await seen_by_witness(world) == dict.fromkeys(ORDERS, 1)


async def test_resuming_something_unknown_names_what_there_is(world: World) -> None:
    with pytest.raises(NotFound, match="attribution_report, leaderboard"):
        await world.engine().resume("weather")


async def test_killed_between_batches_it_goes_on_at_its_checkpoint(world: World) -> None:
    await begun(world, Witness())
    await twelve_orders(world)
    dying = world.engine(batch_size=5, projections=[Witness(dies_after=3)])
    with pytest.raises(asyncio.CancelledError):
        await dying.run_until_caught_up()
    before = await seen_by_witness(world)
    assert 0 < len(before) < 12, "it was killed in the middle"

    await world.engine(batch_size=5, projections=[Witness()]).run_until_caught_up()

    assert await seen_by_witness(world) == dict.fromkeys(ORDERS, 1)


async def test_an_event_that_cannot_be_decoded_parks_too(world: World) -> None:
    await twelve_orders(world)
    [(first,)] = await world.rows("SELECT min(position) FROM colink.events WHERE topic = 'order.attributed'")
    assert world.tamper_with_log(f"UPDATE colink.events SET payload = '{{}}' WHERE position = {first}") == [1]
    engine = world.engine()

    await engine.run_until_caught_up()

    parked = {c.projection: c for c in await engine.checkpoints() if c.error is not None}
    assert set(parked) == {"attribution_report", "leaderboard"}
    assert {c.error_position for c in parked.values()} == {first}


async def test_the_cut_into_batches_does_not_matter(world: World) -> None:
    await twelve_orders(world)
    await world.refund(3, line=1, amount="4.00")
    await world.refund(4, line=1, amount="10.00")
    await world.order(5, 1000, creator=BUDI, discount=500, later=timedelta(hours=1))
    await world.touch()
    await world.touch(kind=TouchKind.VIEW, campaign_id=None, organization_id=None, destination_host="kedai.example")
    await world.engine().run_until_caught_up()
    versions = {5_000: 1}
    for batch_size in (1, 3, 7):
        for projection in world.projections():
            rebuilt = await world.engine(batch_size=batch_size).rebuild(projection.name)
            versions[batch_size] = rebuilt.version
    for projection in world.projections():
        for name in projection.tables:
            rows = {
                batch_size: await world.rows(f"SELECT t::text FROM {table(name, version)} t ORDER BY 1")
                for batch_size, version in versions.items()
            }
            assert rows[5_000], name
            assert rows[1] == rows[3] == rows[7] == rows[5_000], name


async def test_what_only_the_tracking_log_has_is_seen_there(world: World) -> None:
    engine = world.engine()
    await world.touch()
    await engine.run_until_caught_up()
    lags = {(c.projection, c.log.value): (c.position, c.lag) for c in await engine.checkpoints()}
    assert lags["attribution_report", "tracking"] == (1, 0)
    await world.touch()
    lags = {(c.projection, c.log.value): (c.position, c.lag) for c in await engine.checkpoints()}
    assert lags["attribution_report", "tracking"] == (1, 1)


async def test_lag_is_told_in_events_and_in_the_age_of_the_oldest(world: World) -> None:
    world.clock.time = datetime.now(UTC) - timedelta(hours=1)
    await world.order(1, 1_000)
    await world.engine().run_until_caught_up()
    async with world.pool.connection() as conn:
        caught_up = await lag(conn)
        await world.touch()
        await world.touch()
        behind = {(each.projection, each.log): each for each in await lag(conn)}
    both = (Log.COMMERCE, Log.TRACKING)
    assert caught_up == [
        Lag(projection=name, log=log, events=0, seconds=0.0)
        for name, logs in (("attribution_report", both), ("balances_in_time", both[:1]), ("leaderboard", both))
        for log in logs
    ]
    touches = behind["leaderboard", Log.TRACKING]
    assert touches.events == 2
    assert 3_600 <= touches.seconds < 7_200
    assert behind["leaderboard", Log.COMMERCE].events == 0
