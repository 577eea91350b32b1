"""A database that does not get on: commands wait up to a bound, callers beyond it are told 503 and when to ask again,
memory stops growing, and when the database gets on again everything that waited is done.

The API's commands fill the queue: they wait for as long as it takes, where webhooks are answered within 4 seconds.
"""

from __future__ import annotations

import asyncio
import json
import resource
from collections import Counter
from collections.abc import Awaitable, Callable

import psutil
import psycopg
from tests.torture.flood import Caller, Told
from tests.torture.machine import ADMIN_KEY, Machine, machine
from tests.torture.shop import open_shop

from colink.adapters.postgres.cluster import SUPERUSER

MOST_TAKEN = 4096 + 2 * 256  # what waits, and the two batches in flight (committer.py)
FIRST = MOST_TAKEN + 400  # callers: more than fit
MORE = 2_000  # callers when it is full
MOST_GROWTH = 10 * 2**20  # bytes: kept waiting, those would take five times that


def test_a_full_queue_refuses_and_recovers() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection each, here and in the server
    with machine(fsync="off") as on:
        on.start("serve")
        asyncio.run(_fill(on))


async def _fill(on: Machine) -> None:
    serve = psutil.Process(on.pid("serve"))
    async with open_shop(on.url) as shop:

        def deliver(caller: Caller, number: int) -> Awaitable[Told]:
            return caller.deliver(shop.store_id, shop.order(number))

        async with await psycopg.AsyncConnection.connect(on.dsn(SUPERUSER)) as blocker:
            await blocker.execute("select from colink.log_head for update")
            began = serve.memory_info().rss
            first = Callers(on, register_creator, range(1, FIRST + 1))
            await first.some_answered(FIRST - MOST_TAKEN)  # refused: so it is full
            await asyncio.gather(*Callers(on, deliver, range(100_001, 100_501)).answers)
            full = serve.memory_info().rss
            more = await asyncio.gather(*Callers(on, deliver, range(200_001, 200_001 + MORE)).answers)
            grown = serve.memory_info().rss - full
            print(f"{(full - began) / 2**20:.0f} MB to fill it, {grown / 2**20:.1f} MB more for {MORE:,} callers")
            await blocker.rollback()
        told = Counter(answer.status for answer in await asyncio.gather(*first.answers))
        assert set(told) == {201, 503}
        assert 4096 < told[201] <= MOST_TAKEN
        assert Counter(answer.status for answer in more) == {503: MORE}
        assert {answer.headers["retry-after"] for answer in more} == {"1"}
        assert grown < MOST_GROWTH
        registered = "select count(*) from colink.events where topic = 'creator.registered'"
        assert on.value(registered) == told[201] + 1, "and the shop's own"
        assert on.value("select count(*) from colink.inbox") == 0
        (again,) = Callers(on, deliver, range(200_001, 200_002)).answers
        assert (await again).status == 200, "who was refused is taken later"


def register_creator(caller: Caller, number: int) -> Awaitable[Told]:
    body = json.dumps({"handle": f"creator-{number}", "display_name": "One of many"}).encode()
    headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json"}
    return caller.ask("POST", "/v1/creators", headers, body)


class Callers:
    """Each has something to tell and waits for its answer."""

    def __init__(self, on: Machine, tell: Callable[[Caller, int], Awaitable[Told]], numbers: range) -> None:
        self._on, self._tell = on, tell
        self._answered = 0
        self._moved = asyncio.Event()
        self._connecting = asyncio.Semaphore(256)  # the server's backlog is no queue
        self.answers = [asyncio.ensure_future(self._call(number)) for number in numbers]

    async def _call(self, number: int) -> Told:
        async with self._connecting:
            caller = await Caller.connect(self._on.port)
        try:
            return await self._tell(caller, number)
        finally:
            caller.close()
            self._answered += 1
            self._moved.set()

    async def some_answered(self, number: int) -> None:
        while self._answered < number:
            self._moved.clear()
            await self._moved.wait()
