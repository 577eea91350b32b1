"""An event that was given new shapes twice, in the real log: old rows stay as they were written and are read as the
newest by everyone who reads; rows of a newer program are refused by name and harm nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import msgspec
import psycopg
import pytest
from eventsourcing.persistence import MapperDeserialisationError, StoredEvent
from tests.adapters.postgres.commands import CALLER, NOON, Decide, Post, nothing
from tests.adapters.postgres.conftest import Store

from colink.adapters.postgres.append import COMMERCE
from colink.adapters.postgres.applications import CommerceLog
from colink.adapters.postgres.mapper import EventMapper
from colink.adapters.postgres.pool import create_blocking_pool, create_pool
from colink.adapters.postgres.prepared import Prepared, StampedEvent
from colink.application.ports import Facts, Needs
from colink.domain.aggregates import Aggregate, Created, Event
from colink.domain.money import Money
from colink.projections.engine import Checkpoint, Connection, Log, LogEvent, Parts, ProjectionEngine


@dataclass(frozen=True, kw_only=True)
class ParcelPacked(Created):
    """Never changed."""

    TOPIC: ClassVar[str] = "test_parcel.packed"


@dataclass(frozen=True, kw_only=True)
class ParcelStamped(Event):
    """First `cents`, a bare number; then `price`, still a number, and who did it; now money."""

    TOPIC: ClassVar[str] = "test_parcel.stamped"
    class_version: ClassVar[int] = 3
    price: Money
    by: str

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        state["price"] = state.pop("cents")
        state["by"] = "unknown"

    @staticmethod
    def upcast_v2_v3(state: dict[str, Any]) -> None:
        state["price"] = {"amount": state["price"], "currency": "MYR"}

    def apply(self, aggregate: Parcel) -> None:
        aggregate.postage.append((self.price, self.by))


class Parcel(Aggregate):
    TOPIC: ClassVar[str] = "test_parcel"

    def __init__(self) -> None:
        self.postage: list[tuple[Money, str]] = []


FIRST = '{"timestamp":"2026-03-01T12:00:00Z","cents":150}'
SECOND = '{"timestamp":"2026-03-01T12:00:00Z","price":70,"by":"aina","class_version":2}'
POSTAGE = [(Money(150, "MYR"), "unknown"), (Money(70, "MYR"), "aina")]
NEWER = '{"timestamp":"2026-03-01T12:00:00Z","grams":9,"class_version":4}'


def write(store: Store, *rows: tuple[str, int, str], stream_id: str = "par_1", first: int = 1) -> None:
    """As the program of that day wrote them: (topic, schema version, payload), straight through the append."""
    events = [
        StampedEvent.of(StoredEvent(stream_id, first + n, topic, payload.encode()), version)
        for n, (topic, version, payload) in enumerate(rows)
    ]
    prepared = Prepared(events=events, rows=[() for _ in rows], caller=CALLER, answer="null")
    with psycopg.connect(store.app_dsn, autocommit=True) as connection:
        (answer,) = connection.execute(COMMERCE.append, COMMERCE.parameters([prepared], NOON)).fetchall()
    assert answer[1] is None


def write_history(store: Store) -> None:
    packed = '{"timestamp":"2026-03-01T12:00:00Z","originator_topic":"test_parcel"}'
    write(
        store,
        (ParcelPacked.TOPIC, 1, packed),
        (ParcelStamped.TOPIC, 1, FIRST),
        (ParcelStamped.TOPIC, 2, SECOND),
    )


def test_a_command_and_the_library_read_old_shapes_as_the_newest_and_write_beside_them(store: Store) -> None:
    write_history(store)
    third = ParcelStamped(
        originator_id="par_1", originator_version=4, timestamp=NOON, price=Money(5, "SGD"), by="budi"
    )
    found: list[Parcel | None] = []

    def decide(facts: Facts) -> Any:
        found.append(facts.aggregate(Parcel, "par_1"))
        return nothing(events=[third])

    async def story(bus: Any, _: Any) -> None:
        await bus.submit(Decide(make=decide, reads=Needs(streams=("par_1",))))

    store.run(story)
    assert found[0] is not None
    assert (found[0].postage, found[0].version) == (POSTAGE, 3)

    with create_blocking_pool(store.app_dsn) as pool, CommerceLog(pool) as application:
        parcel: Parcel = application.repository.get("par_1")
    assert parcel.postage == [*POSTAGE, (Money(5, "SGD"), "budi")]

    # What was written stays as it was, and each row says which shape it has.
    assert store.rows("select schema_version, payload from colink.events where version > 1 order by position") == [
        (1, FIRST),
        (2, SECOND),
        (
            3,
            '{"timestamp":"2026-03-01T12:00:00Z","price":{"amount":5,"currency":"SGD"},"by":"budi","class_version":3}',
        ),
    ]


class PriceOf(msgspec.Struct):
    price: Money


class Postage:
    """Keeps the prices it was given."""

    name: ClassVar[str] = "postage"
    shape: ClassVar[int] = 1
    tables: ClassVar[Mapping[str, str]] = {"postage": "(position bigint primary key)"}
    parts: ClassVar[Mapping[Log, Parts]] = {Log.COMMERCE: {ParcelStamped: PriceOf}}

    def __init__(self) -> None:
        self.seen: list[tuple[int, Money]] = []

    async def apply(self, conn: Connection, version: int, log: Log, events: list[LogEvent]) -> None:
        self.seen += [(event.position, event.part.price) for event in events]


def project(store: Store, projection: Postage) -> Checkpoint:
    """Run it until it is at the head or parked."""

    async def told() -> Checkpoint:
        async with create_pool(store.app_dsn) as pool:
            engine = ProjectionEngine(pool, [projection], EventMapper().newest)
            await engine.register()
            await engine.run_until_caught_up()
            (checkpoint,) = await engine.checkpoints()
            return checkpoint

    return asyncio.run(told())


def test_a_projection_reads_its_part_of_every_shape_and_stops_at_a_newer_one(store: Store) -> None:
    write_history(store)
    projection = Postage()
    checkpoint = project(store, projection)
    assert (checkpoint.position, checkpoint.error) == (3, None)
    assert projection.seen == [(2, Money(150, "MYR")), (3, Money(70, "MYR"))]

    write(store, (ParcelStamped.TOPIC, 4, NEWER), first=4)
    checkpoint = project(store, projection)
    assert (checkpoint.position, checkpoint.error_position) == (3, 4)
    assert checkpoint.error == (
        "ValueError: its shape has version 4 and this program knows 3 at most; a newer CoLink may have written it: "
        "use that one"
    )
    assert len(projection.seen) == 2


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ((ParcelStamped.TOPIC, 4, NEWER), "its shape has version 4 and this program knows 3 at most"),
        (("test_parcel.sunk", 1, "{}"), "no event of this program has that topic"),
    ],
    ids=["a newer shape", "an unknown topic"],
)
def test_what_a_newer_program_wrote_is_refused_by_name(store: Store, row: tuple[str, int, str], problem: str) -> None:
    write_history(store)
    write(store, row, first=4)
    told = (
        f"cannot read event 4 of 'par_1' with topic '{row[0]}': {problem}; a newer CoLink may have written it: use "
        "that one"
    )

    async def story(bus: Any, _: Any) -> None:
        read = Decide(make=lambda facts: nothing(events=facts.aggregate(Parcel, "par_1") and ()), reads=NEEDED)
        with pytest.raises(MapperDeserialisationError) as refused:
            await bus.submit(read)
        assert str(refused.value) == told
        # Another stream is none the worse for it.
        assert (await bus.submit(Post(journal_id="jrn_1"))).position == 5

    store.run(story)


NEEDED = Needs(streams=("par_1",))


@pytest.mark.parametrize("version", [0, -1, 4, "3", 2.0, None, True])
def test_a_version_that_is_none_is_refused(version: object) -> None:
    payload = json.dumps({"price": 1, "by": "x", "timestamp": "2026-03-01T12:00:00Z", "class_version": version})
    with pytest.raises(MapperDeserialisationError, match="its shape has version"):
        EventMapper().event("par_1", 2, ParcelStamped.TOPIC, payload)


def test_an_event_that_never_changed_refuses_a_version_too_and_takes_its_name_in_a_text_for_what_it_is() -> None:
    mapper = EventMapper()
    packed = ParcelPacked(
        originator_id="par_1", originator_version=1, timestamp=NOON, originator_topic='"class_version":2,'
    )
    assert mapper.to_domain_event(mapper.to_stored_event(packed)) == packed
    text = '{"timestamp":"2026-03-01T12:00:00Z","originator_topic":"test_parcel","class_version":2}'
    with pytest.raises(MapperDeserialisationError, match="its shape has version 2 and this program knows 1 at most"):
        mapper.event("par_1", 1, ParcelPacked.TOPIC, text)
    stamped = ParcelStamped(
        originator_id="par_1", originator_version=2, timestamp=NOON, price=Money(1, "MYR"), by=',"class_version":3}'
    )
    again = mapper.to_domain_event(mapper.to_stored_event(stamped))
    assert again == stamped == replace(again)


def test_a_topic_in_the_log_imports_nothing() -> None:
    for topic in ("antigravity", "os:system", "colink.domain.tracking:TouchRecorded", "touch", ""):
        with pytest.raises(MapperDeserialisationError, match="no event of this program has that topic"):
            EventMapper().event("x", 1, topic, "{}")
