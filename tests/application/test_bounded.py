"""Who cannot wait any longer is told so in time, and comes again: one effect, and the first answer."""

from __future__ import annotations

import psycopg
import pytest
from tests.adapters.postgres.commands import Decide, Post, delivery, idempotency, journal, nothing
from tests.adapters.postgres.conftest import Store

from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.pool import AsyncPool
from colink.application.bounded import BoundedBus
from colink.application.ports import Command
from colink.domain.errors import Unavailable


@pytest.fixture
def store(database: object) -> Store:
    return Store(database)


def delivered() -> Decide:
    sold = journal("jrn_1", ("payee:cre_1:available", 5), ("platform:revenue", -5))
    return Decide(make=lambda _: nothing(delivery("d_1"), events=[sold]), delivery_key=("sto_1", "d_1"))


@pytest.mark.parametrize(
    "command", [Post(journal_id="jrn_1", idempotency=idempotency("k")), delivered()], ids=["by key", "by delivery"]
)
def test_a_caller_that_gives_up_may_repeat_and_holds_nobody_up(store: Store, command: Command) -> None:
    async def story(bus: Committer, _: AsyncPool) -> None:
        # Another process is in the middle of an append and does not end it.
        async with await psycopg.AsyncConnection.connect(store.owner_dsn) as slow:
            await slow.execute("select from colink.log_head for update")
            with pytest.raises(Unavailable, match="safe to repeat"):
                await BoundedBus(bus, seconds=0.3).submit(command)
        recorded = await BoundedBus(bus, seconds=30).submit(command)
        assert (recorded.replayed, recorded.position) == (True, 1)
        assert (await bus.submit(Post(journal_id="jrn_2"))).position == 2

    store.run(story)
    store.assert_sound()
