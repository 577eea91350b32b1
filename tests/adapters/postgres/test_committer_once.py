"""The same key or the same delivery, any number of times and all at once, has one effect and one answer."""

from __future__ import annotations

import asyncio

import pytest
from tests.adapters.postgres.commands import NOON, Decide, Post, delivery, idempotency, nothing
from tests.adapters.postgres.conftest import Store

from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.pool import AsyncPool
from colink.application.ports import (
    Decision,
    DeliveryStatus,
    Facts,
)
from colink.domain.errors import (
    Conflict,
    IdempotencyConflict,
)

AVAILABLE = "payee:cre_1:available"


def test_the_same_key_with_the_same_request_gives_the_first_answer(store: Store) -> None:
    command = Post(journal_id="jrn_1", idempotency=idempotency("k"))

    async def story(bus: Committer, _: AsyncPool) -> None:
        first = await bus.submit(command)
        again = await bus.submit(command)
        assert (first.replayed, again.replayed) == (False, True)
        assert first.answer == again.answer == {"journal_id": "jrn_1"}
        assert first.position == again.position == 1

    store.run(story)
    store.assert_sound()


def test_the_same_key_with_another_request_is_a_conflict(store: Store) -> None:
    async def story(bus: Committer, _: AsyncPool) -> None:
        await bus.submit(Post(journal_id="jrn_1", idempotency=idempotency("k")))
        with pytest.raises(IdempotencyConflict):
            await bus.submit(Post(journal_id="jrn_2", idempotency=idempotency("k", digest="other")))

    store.run(story)
    assert store.value("select count(*) from colink.events") == 1


@pytest.mark.parametrize("in_flight", [1, 2])
def test_64_at_once_with_one_key_have_one_effect_and_one_answer(store: Store, in_flight: int) -> None:
    async def story(bus: Committer, _: AsyncPool) -> None:
        commands = [Post(journal_id=f"jrn_{n}", idempotency=idempotency("k")) for n in range(64)]
        recorded = await asyncio.gather(*(bus.submit(command) for command in commands))
        assert {answer.answer["journal_id"] for answer in recorded} == {"jrn_0"}
        assert [answer.replayed for answer in recorded].count(False) == 1

    store.run(story, in_flight=in_flight)
    assert store.value("select count(*) from colink.events") == 1
    assert store.value("select count(*) from colink.idempotency_keys") == 1


def test_a_key_is_stored_by_a_command_without_events_too(store: Store) -> None:
    async def story(bus: Committer, _: AsyncPool) -> None:
        command = Decide(make=lambda _: nothing(), idempotency=idempotency("k"))
        assert (await bus.submit(command)).position is None
        assert (await bus.submit(command)).replayed

    store.run(story)


def test_a_refused_command_leaves_its_key_free(store: Store) -> None:
    async def story(bus: Committer, _: AsyncPool) -> None:
        await bus.submit(Post(journal_id="jrn_1"))
        with pytest.raises(Conflict):
            await bus.submit(Post(journal_id="jrn_1", idempotency=idempotency("k")))
        assert not (await bus.submit(Post(journal_id="jrn_2", idempotency=idempotency("k")))).replayed

    store.run(story)


def test_a_delivery_is_kept_once_byte_for_byte(store: Store) -> None:
    def deliver(_: Facts) -> Decision:
        return nothing(delivery("d_1"))

    async def story(bus: Committer, _: AsyncPool) -> None:
        commands = [Decide(make=deliver, delivery_key=("sto_1", "d_1")) for _ in range(64)]
        recorded = await asyncio.gather(*(bus.submit(command) for command in commands))
        assert [answer.replayed for answer in recorded].count(False) == 1
        assert {str(answer.answer) for answer in recorded} == {"{'ok': True}"}

    store.run(story)
    assert store.rows("select body, status, received_at, headers from colink.inbox") == [
        (delivery("d_1").body, "accepted", NOON, '{"x-topic":"orders/create"}')
    ]


def test_a_rejected_delivery_can_be_replayed_once_accepted_never_again(store: Store) -> None:
    rejected = delivery("d_1", status=DeliveryStatus.REJECTED, problem={"title": "no lines"})
    replayed = delivery("d_1", replay=True, body=b"", order_id="ord_1")

    async def story(bus: Committer, _: AsyncPool) -> None:
        await bus.submit(Decide(make=lambda _: nothing(rejected), delivery_key=("sto_1", "d_1")))
        await bus.submit(Decide(make=lambda _: nothing(replayed)))
        with pytest.raises(Conflict):
            await bus.submit(Decide(make=lambda _: nothing(replayed)))

    store.run(story)
    assert store.rows("select status, problem, order_id, body from colink.inbox") == [
        ("accepted", None, "ord_1", rejected.body)
    ]
