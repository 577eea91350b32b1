"""What the committer promises: each command recorded once, whole, in order, and answered after the commit."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import psycopg
import pytest
from eventsourcing.persistence import MapperDeserialisationError, StoredEvent
from tests.adapters.postgres.commands import (
    CALLER,
    NOON,
    Decide,
    Post,
    Register,
    journal,
    nothing,
    our_events,
)
from tests.adapters.postgres.conftest import Store

from colink.adapters.postgres.append import COMMERCE, TRACKING
from colink.adapters.postgres.committer import ATTEMPTS, Committer
from colink.adapters.postgres.pool import AsyncPool
from colink.adapters.postgres.prepared import Prepared, StampedEvent
from colink.application.ports import (
    BalanceUnchanged,
    Decision,
    Facts,
    MoreNeeded,
    Needs,
    PrivateValue,
    Recorded,
)
from colink.domain.access import ApiKey, ApiKeyDetails, Role
from colink.domain.creators import Creator, CreatorDetails
from colink.domain.errors import (
    ColinkError,
    ConcurrentUpdate,
    Conflict,
    InvalidInput,
    NotFound,
    Unavailable,
)
from colink.domain.ledger import Journal

AVAILABLE = "payee:cre_1:available"


def test_commands_submitted_together_are_appended_together_in_their_order(store: Store) -> None:
    async def story(bus: Committer, _: AsyncPool) -> None:
        recorded = await asyncio.gather(*(bus.submit(Post(journal_id=f"jrn_{n}")) for n in range(300)))
        assert [answer.answer["journal_id"] for answer in recorded] == [f"jrn_{n}" for n in range(300)]
        assert [answer.position for answer in recorded] == list(range(1, 301))
        assert not any(answer.replayed for answer in recorded)

    store.run(story)
    assert store.value("select amount from colink.balances where account = %s", AVAILABLE) == 1500
    assert store.value("select count(distinct xmin::text) from colink.events") <= 10
    store.assert_sound()


def test_recorded_time_never_goes_back(store: Store) -> None:
    async def story(bus: Committer, _: AsyncPool) -> None:
        await bus.submit(Post(journal_id="jrn_1"))
        store.clock.time = NOON.replace(year=2020)
        await bus.submit(Post(journal_id="jrn_2"))
        store.clock.time = NOON.replace(year=2030)
        await bus.submit(Post(journal_id="jrn_3"))

    store.run(story)
    assert [row[0] for row in store.rows("select recorded_at from colink.events order by position")] == [
        NOON,
        NOON,
        NOON.replace(year=2030),
    ]


def test_metadata_is_stored_beside_the_payload(store: Store) -> None:
    async def story(bus: Committer, _: AsyncPool) -> None:
        await bus.submit(Register(organization_id="org_1"))

    store.run(story)
    assert store.rows(
        "select stream_id, version, topic, schema_version, organization_id, actor, correlation_id, causation_id,"
        " payload->'details'->>'name' from colink.events_json"
    ) == [("org_1", 1, "organization.registered", 1, "org_1", "key:test", "test", None, "Kedai")]


def test_a_broken_rule_fails_its_command_alone(store: Store) -> None:
    def refuse(_: Facts) -> Decision:
        msg = "no"
        raise NotFound(msg)

    def crash(_: Facts) -> Decision:
        raise ZeroDivisionError

    async def story(bus: Committer, _: AsyncPool) -> None:
        results = await asyncio.gather(
            bus.submit(Post(journal_id="jrn_1")),
            bus.submit(Decide(make=refuse)),
            bus.submit(Decide(make=crash)),
            bus.submit(Decide(make=lambda facts: Decision(answer={"at": facts.terms().position}))),
            bus.submit(Post(journal_id="jrn_2")),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [Recorded, NotFound, ZeroDivisionError, LookupError, Recorded]

    store.run(story)
    assert store.value("select count(*) from colink.events") == 2
    store.assert_sound()


def test_what_the_database_refuses_fails_its_command_alone(store: Store) -> None:
    def with_text(text: str) -> Decide:
        event = journal("jrn_" + str(ord(text[-1])), (f"payee:{text}:pending", 1), ("platform:revenue", -1))
        return Decide(make=lambda _: nothing(events=[event]))

    huge = 2**63
    too_large = Post(journal_id="jrn_big", legs=((AVAILABLE, huge), ("platform:revenue", -huge)))

    too_long_for_an_index = "".join(chr(0x20000 + n * 7919 % 0xA000) for n in range(3_000))

    def creator(id_: str) -> Decide:
        registered = Creator.register(CreatorDetails(id=id_, handle="aina", display_name="Aina"), at=NOON)
        events = our_events(registered)
        return Decide(make=lambda _: nothing(events=events))

    async def story(bus: Committer, _: AsyncPool) -> None:
        results = await asyncio.gather(
            bus.submit(Post(journal_id="jrn_1")),
            bus.submit(with_text("a\x1f")),
            bus.submit(with_text("a\x1e")),
            bus.submit(with_text("a\x00")),
            bus.submit(with_text("a\ud800")),
            bus.submit(too_large),
            bus.submit(Post(journal_id=too_long_for_an_index)),
            bus.submit(creator("cre_1")),
            bus.submit(creator("cre_2")),
            bus.submit(Post(journal_id="jrn_2")),
            return_exceptions=True,
        )
        kinds = [type(result) for result in results]
        assert kinds == [Recorded, *[InvalidInput] * 6, Recorded, Conflict, Recorded]
        fields = [result.field for result in results if isinstance(result, ColinkError)]
        assert fields == ["account", "account", "postings.0.account", "postings.0.account", None, None, "handle"]

    store.run(story)
    assert store.value("select count(*) from colink.events") == 3
    store.assert_sound()


def test_what_cannot_be_read_fails_its_command_alone(store: Store) -> None:
    def reading(**needs: tuple[object, ...]) -> Decide:
        return Decide(make=lambda _: nothing(), reads=Needs(**needs))

    async def story(bus: Committer, _: AsyncPool) -> None:
        results = await asyncio.gather(
            bus.submit(Post(journal_id="jrn_1")),
            bus.submit(reading(streams=("a\x00",))),
            bus.submit(reading(keys=((CreatorDetails, "\ud800"),))),
            bus.submit(reading(documents=((dict, "cre_1"),))),
            bus.submit(Post(journal_id="jrn_2")),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [Recorded, InvalidInput, InvalidInput, KeyError, Recorded]

    store.run(story)
    store.assert_sound()


def test_a_stored_event_that_cannot_be_read_fails_only_who_needs_it(store: Store) -> None:
    with psycopg.connect(store.app_dsn, autocommit=True) as connection:
        prepared = Prepared(
            events=[StampedEvent.of(StoredEvent("jrn_bad", 1, "journal.posted", b"{}"))],
            rows=[[]],
            caller=CALLER,
            answer="null",
        )
        connection.execute(COMMERCE.append, COMMERCE.parameters([prepared], NOON))

    async def story(bus: Committer, _: AsyncPool) -> None:
        results = await asyncio.gather(
            bus.submit(Post(journal_id="jrn_bad")), bus.submit(Post(journal_id="jrn_1")), return_exceptions=True
        )
        assert [type(result) for result in results] == [MapperDeserialisationError, Recorded]

    store.run(story)


def test_an_event_with_a_gap_before_it_is_never_written(store: Store) -> None:
    gap = replace(journal("jrn_1", (AVAILABLE, 1), ("platform:revenue", -1)), originator_version=3)

    async def story(bus: Committer, _: AsyncPool) -> None:
        with pytest.raises(ConcurrentUpdate):
            await bus.submit(Decide(make=lambda _: nothing(events=[gap])))

    store.run(story)
    assert store.value("select count(*) from colink.events") == 0


@pytest.mark.parametrize("in_flight", [1, 2, 3])
def test_commands_on_one_stream_keep_their_order(store: Store, in_flight: int) -> None:
    order: list[int] = []

    def note(n: int) -> Decide:
        def make(_: Facts) -> Decision:
            order.append(n)
            return nothing(events=[journal(f"jrn_{n}", (AVAILABLE, 1), ("platform:revenue", -1))])

        return Decide(make=make, reads=Needs(streams=("hot", f"jrn_{n}")))

    async def story(bus: Committer, _: AsyncPool) -> None:
        others = [bus.submit(Post(journal_id=f"jrn_other_{n}")) for n in range(50)]
        recorded = await asyncio.gather(*(bus.submit(note(n)) for n in range(40)), *others)
        assert [r.position for r in recorded[:40]] == sorted(r.position or 0 for r in recorded[:40])

    store.run(story, in_flight=in_flight, batch_size=16)
    assert order == list(range(40))
    store.assert_sound()


def test_a_caller_that_went_away_does_not_stop_the_others(store: Store) -> None:
    async def story(bus: Committer, _: AsyncPool) -> None:
        leaving = [asyncio.ensure_future(bus.submit(Post(journal_id=f"jrn_{n}"))) for n in range(20)]
        await asyncio.sleep(0)
        for task in leaving[::2]:
            task.cancel()
        results = await asyncio.gather(*leaving, return_exceptions=True)
        assert all(isinstance(result, Recorded) for result in results[1::2])
        assert isinstance(await bus.submit(Post(journal_id="jrn_after")), Recorded)

    store.run(story)
    store.assert_sound()


def test_a_full_queue_refuses_at_once(store: Store) -> None:
    async def story(bus: Committer, _: AsyncPool) -> None:
        results = await asyncio.gather(
            *(bus.submit(Post(journal_id=f"jrn_{n}")) for n in range(8)), return_exceptions=True
        )
        assert [type(result) for result in results] == [Recorded] * 5 + [Unavailable] * 3

    store.run(story, queue_size=5)


class _Heard:
    """An observer that keeps what it was told."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, int, int]] = []
        self.depths: list[int] = []
        self.again: list[tuple[str, int]] = []

    def batch_committed(self, log: str, commands: int, events: int, seconds: float) -> None:
        assert seconds > 0
        self.batches.append((log, commands, events))

    def queue_depth(self, log: str, depth: int) -> None:
        assert log == "commerce"
        self.depths.append(depth)

    def retried(self, log: str, commands: int) -> None:
        self.again.append((log, commands))


def test_an_observer_hears_of_batches_of_the_queue_and_of_retries(store: Store) -> None:
    heard = _Heard()
    stale = BalanceUnchanged(account=AVAILABLE, currency="MYR", version=99)

    async def story(bus: Committer, _: AsyncPool) -> None:
        await asyncio.gather(*(bus.submit(Post(journal_id=f"jrn_{n}")) for n in range(20)))
        with pytest.raises(ConcurrentUpdate):
            await bus.submit(Decide(make=lambda _: Decision(answer={}, guards=[stale])))

    store.run(story, batch_size=8, observer=heard)
    assert heard.batches == [("commerce", 8, 8), ("commerce", 8, 8), ("commerce", 4, 4)]
    assert max(heard.depths) == 12
    assert heard.depths[-1] == 0
    assert heard.again == [("commerce", 1)] * (ATTEMPTS - 1)


@pytest.mark.parametrize(("commands", "batches"), [(64, [32, 32]), (20, [16, 4])])
def test_what_waits_is_shared_out_among_the_batches_that_may_fly(
    store: Store, commands: int, batches: list[int]
) -> None:
    heard = _Heard()

    async def story(bus: Committer, _: AsyncPool) -> None:
        await asyncio.gather(*(bus.submit(Post(journal_id=f"jrn_{n}")) for n in range(commands)))

    store.run(story, in_flight=2, observer=heard)
    assert sorted(size for _, size, _ in heard.batches) == sorted(batches)
    store.assert_sound()


@pytest.mark.parametrize("in_flight", [1, 2])
def test_what_one_does_for_all_is_not_waited_for_by_one_after_the_other(store: Store, in_flight: int) -> None:
    heard, decisions = _Heard(), 0

    def after_the_first(number: int, facts: Facts) -> Decision:
        nonlocal decisions
        decisions += 1
        events = [journal(f"jrn_{number}", (AVAILABLE, 1), ("platform:revenue", -1))]
        if "jrn_all" not in (*facts.needs.reads, *facts.needs.streams):
            raise MoreNeeded(Needs(reads=("jrn_all",)))
        if facts.aggregate(Journal, "jrn_all") is None:
            if "jrn_all" not in facts.needs.streams:
                raise MoreNeeded(Needs(streams=("jrn_all",)), for_all=True)
            events.append(journal("jrn_all", (AVAILABLE, 100), ("platform:revenue", -100)))
        return nothing(events=events)

    async def story(bus: Committer, _: AsyncPool) -> None:
        commands = [
            Decide(make=partial(after_the_first, number), reads=Needs(streams=(f"jrn_{number}",)))
            for number in range(100)
        ]
        recorded = await asyncio.gather(*(bus.submit(command) for command in commands))
        assert all(each.position is not None for each in recorded)

    store.run(story, in_flight=in_flight, observer=heard)
    assert store.value("select amount from colink.balances where account = %s", AVAILABLE) == 200
    assert len(heard.batches) <= 8, "and not one for each"
    assert decisions <= 6 * 100
    store.assert_sound()


def test_stop_finishes_what_was_submitted_and_takes_no_more(store: Store) -> None:
    async def story(bus: Committer, _: AsyncPool) -> None:
        waiting = [asyncio.ensure_future(bus.submit(Post(journal_id=f"jrn_{n}"))) for n in range(50)]
        await asyncio.sleep(0)
        await bus.stop()
        assert all(task.done() and task.exception() is None for task in waiting)
        with pytest.raises(Unavailable):
            await bus.submit(Post(journal_id="jrn_late"))

    store.run(story, batch_size=8)


def test_private_values_are_kept_and_replaced(store: Store) -> None:
    def keep(value: str) -> Decide:
        private = [PrivateValue(owner_id="sto_1", name="webhook_secrets", value=value)]
        return Decide(make=lambda _: Decision(answer={}, private=private))

    async def story(bus: Committer, _: AsyncPool) -> None:
        await bus.submit(keep("old"))
        await bus.submit(keep("new"))

    store.run(story)
    assert store.rows("select owner_id, name, value from colink.private_values") == [
        ("sto_1", "webhook_secrets", "new")
    ]


def test_documents_are_read_by_id_and_by_key(store: Store) -> None:
    details = ApiKeyDetails(
        id="key_1",
        digest="d" * 64,
        role=Role.SELLER,
        organization_id="org_1",
        payee_id=None,
        name="their shop",
        expires_at=NOON,
    )
    events = our_events(ApiKey.create(details, at=NOON))
    reads = Needs(
        documents=((ApiKeyDetails, "key_1"), (ApiKeyDetails, "key_2")),
        keys=((ApiKeyDetails, "d" * 64), (ApiKeyDetails, "e" * 64)),
    )

    def read(facts: Facts) -> Decision:
        assert facts.document(ApiKeyDetails, "key_1") == facts.keyed(ApiKeyDetails, "d" * 64) == details
        assert facts.document(ApiKeyDetails, "key_2") is facts.keyed(ApiKeyDetails, "e" * 64) is None
        with pytest.raises(LookupError):
            facts.document(ApiKeyDetails, "key_3")
        return nothing()

    async def story(bus: Committer, _: AsyncPool) -> None:
        await bus.submit(Decide(make=lambda _: nothing(events=events)))
        await bus.submit(Decide(make=read, reads=reads))

    store.run(story)


def test_the_tracking_log_takes_touches_only(store: Store) -> None:
    async def story(bus: Committer, _: AsyncPool) -> None:
        with pytest.raises(ValueError, match="touches only"):
            await bus.submit(Post(journal_id="jrn_1"))

    store.run(story, log=TRACKING)
    assert store.value("select count(*) from colink.tracking_events") == 0
