"""One batch with everything in it that can go wrong: what fails, fails alone; what does not, is recorded.

The head is locked by the test while batches are on their way, so that what happens meanwhile happens in the middle of
an append and not by luck. Single troubles: tests/adapters/postgres/test_committer*.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.adapters.postgres.commands import Decide, FixedClock, Post, delivery, idempotency, journal, nothing
from tests.conftest import TestDatabase
from tests.torture.locked import head_locked, rows, waiting_appends

from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.pool import create_pool
from colink.application.ports import Command, Decision, Facts, Needs, Recorded
from colink.domain.errors import Conflict, IdempotencyConflict, InsufficientFunds, InvalidInput

pytestmark = pytest.mark.anyio
ACCOUNT = "payee:cre_1:available"


@asynccontextmanager
async def committing(database: TestDatabase, **settings: Any) -> AsyncIterator[Committer]:
    async with (
        create_pool(database.app_dsn, max_size=2, for_commands=True) as pool,
        Committer(pool, FixedClock(), **settings) as bus,
    ):
        yield bus


def submit_all(bus: Committer, commands: Sequence[Command]) -> list[asyncio.Task[Recorded]]:
    return [asyncio.ensure_future(bus.submit(command)) for command in commands]


def posts(name: str, number: int) -> list[Command]:
    return [Post(journal_id=f"jrn_{name}_{n}") for n in range(number)]


def sound(database: TestDatabase) -> None:
    """Positions are gapless and balances are the fold of the entries."""
    counts = "select count(*), coalesce(max(position), 0), (select position from colink.log_head) from colink.events"
    ((count, last, head),) = rows(database, counts)
    assert count == last == head
    folded = "select account, currency, sum(amount), count(*) from colink.entries group by 1, 2 order by 1, 2"
    stored = "select account, currency, amount, version from colink.balances order by 1, 2"
    assert rows(database, folded) == rows(database, stored)


async def test_another_process_was_first_with_some(database: TestDatabase) -> None:
    """Its append waits before ours for the head: four of our commands are about what it records. They are left out,
    decided again, and told; the others of the batch are recorded in one transaction."""
    same_delivery = Decide(make=lambda _: nothing(delivery("d_1")), delivery_key=("sto_1", "d_1"))
    taken: list[Command] = [
        Post(journal_id="jrn_1"),
        Post(journal_id="jrn_2", idempotency=idempotency("k2")),
        Post(journal_id="jrn_3", idempotency=idempotency("k3")),
        same_delivery,
    ]
    ours: list[Command] = [
        *posts("a", 10),
        Post(journal_id="jrn_1"),
        Post(journal_id="jrn_2", idempotency=idempotency("k2")),
        Post(journal_id="jrn_other", idempotency=idempotency("k3", digest="another request")),
        same_delivery,
        *posts("b", 10),
    ]
    async with committing(database) as other, committing(database) as bus, head_locked(database) as release:
        first = submit_all(other, taken)
        await waiting_appends(database, 1)
        second = submit_all(bus, ours)
        await waiting_appends(database, 2)
        await release()
        recorded = await asyncio.gather(*first)
        results = await asyncio.gather(*second, return_exceptions=True)
    assert not any(one.replayed for one in recorded)
    conflict, same, another_request, kept = results[10:14]
    assert isinstance(conflict, Conflict)
    assert isinstance(same, Recorded)
    assert (same.replayed, same.answer, same.position) == (True, {"journal_id": "jrn_2"}, recorded[1].position)
    assert isinstance(another_request, IdempotencyConflict)
    assert isinstance(kept, Recorded)
    assert kept.replayed
    fine = results[:10] + results[14:]
    assert [one.position for one in fine if isinstance(one, Recorded)] == list(range(4, 24))
    transactions = "select count(distinct xmin::text) from colink.events where position > 3"
    assert rows(database, transactions) == [(1,)]
    sound(database)


async def test_bad_data_and_broken_rules_fail_alone_in_the_middle_of_a_batch(database: TestDatabase) -> None:
    def refuse(_: Facts) -> Decision:
        msg = "no"
        raise InsufficientFunds(msg)

    def crash(_: Facts) -> Decision:
        raise ZeroDivisionError

    def with_account(name: str, account: str) -> Command:
        event = journal(f"jrn_{name}", (account, 1), ("platform:revenue", -1))
        return Decide(make=lambda _: nothing(events=[event]), reads=Needs(streams=(f"jrn_{name}",)))

    huge = 2**63
    bad: list[Command] = [
        with_account("nul", "payee:a\x00:pending"),
        with_account("separator", "payee:a\x1f:pending"),
        with_account("null", "payee:a\x1e:pending"),
        with_account("surrogate", "payee:a\ud800:pending"),
        Post(journal_id="jrn_huge", legs=((ACCOUNT, huge), ("platform:revenue", -huge))),
        Decide(make=lambda _: nothing(), reads=Needs(streams=("a\x00",))),
        Decide(make=refuse),
        Decide(make=crash),
    ]
    commands = [command for n, one in enumerate(bad) for command in (*posts(f"p{n}", 5), one)] + posts("last", 5)
    async with committing(database) as bus, head_locked(database) as release:
        submitted = submit_all(bus, [*posts("first", 1)])  # the head is taken: what follows is one batch
        await waiting_appends(database, 1)
        submitted += submit_all(bus, commands)
        await release()
        _, *results = await asyncio.gather(*submitted, return_exceptions=True)
    failed = [type(result) for result in results if not isinstance(result, Recorded)]
    assert failed == [InvalidInput] * 6 + [InsufficientFunds, ZeroDivisionError]
    assert rows(database, "select amount from colink.balances where account = 'platform:revenue'") == [(-5 * 46,)]
    sound(database)


async def test_amounts_that_no_column_holds_fail_alone_and_sums_never(database: TestDatabase) -> None:
    """Who posts more than an entry holds is told so; what is too large only as a sum is recorded like the rest."""
    nearly = 2**62
    commands: list[Command] = [
        *posts("a", 3),
        *(Post(journal_id=f"jrn_{n}", legs=((ACCOUNT, nearly), ("platform:revenue", -nearly))) for n in range(3)),
        Post(journal_id="jrn_3", legs=((ACCOUNT, 2 * nearly), ("platform:revenue", -2 * nearly))),
        *posts("b", 3),
    ]
    async with committing(database) as bus:
        results = await asyncio.gather(*(bus.submit(command) for command in commands), return_exceptions=True)
    kinds = [type(result) for result in results]
    assert kinds == [Recorded] * 6 + [InvalidInput] + [Recorded] * 3
    assert rows(database, "select amount from colink.balances where account = %s", ACCOUNT) == [(3 * nearly + 30,)]
    sound(database)


async def test_callers_that_hang_up_in_the_middle_harm_nobody(database: TestDatabase) -> None:
    """Half of the callers go away, some while their batch is being appended, some while they wait for one. The first
    are recorded, the second are not begun; whoever stays is answered."""
    async with committing(database, batch_size=20) as bus, head_locked(database) as release:
        flying = submit_all(bus, posts("flying", 20))
        await waiting_appends(database, 1)
        waiting = submit_all(bus, posts("waiting", 20))
        await asyncio.sleep(0)
        for task in (*flying[::2], *waiting[::2]):
            task.cancel()
        await release()
        results = await asyncio.gather(*flying, *waiting, return_exceptions=True)
        assert isinstance(await bus.submit(Post(journal_id="jrn_after")), Recorded)
    assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
    assert all(isinstance(result, Recorded) for result in results[1::2])
    query = "select count(*) from colink.events where stream_id like %s"
    assert rows(database, query, "jrn_flying_%") == [(20,)]
    assert rows(database, query, "jrn_waiting_%") == [(10,)]
    sound(database)


async def test_callers_that_hang_up_between_two_batches_in_flight_harm_nobody(database: TestDatabase) -> None:
    async with committing(database, in_flight=2, batch_size=16) as bus, head_locked(database) as release:
        submitted = submit_all(bus, posts("p", 64))
        await waiting_appends(database, 2)
        for task in submitted[::2]:
            task.cancel()
        await release()
        results = await asyncio.gather(*submitted, return_exceptions=True)
        assert isinstance(await bus.submit(Post(journal_id="jrn_after")), Recorded)
    assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
    assert all(isinstance(result, Recorded) for result in results[1::2])
    # 16 of those who left were in the batches under way already.
    assert rows(database, "select count(*) from colink.events where stream_id like 'jrn_p_%'") == [(32 + 16,)]
    sound(database)
