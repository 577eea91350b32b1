"""The promise: the log can be followed. Every event comes once and in order, a client that was cut off goes on where
it stood, a seller hears of its own organisation only, a slow client costs no memory, and nobody who listens keeps the
server from stopping. On a real server and real sockets: what is told here is about connections."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from tests.api.shop import ADMIN_KEY, Shop

from colink.api import event_stream
from colink.projections import log_tail

pytestmark = pytest.mark.anyio

STREAM = {"Accept": "text/event-stream"}


@asynccontextmanager
async def served(shop: Shop) -> AsyncIterator[tuple[uvicorn.Server, str]]:
    """The shop's application on a socket; its address. On leaving it is stopped as `colink serve` stops it."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(shop.colink.asgi(), lifespan="off", log_config=None, timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield server, f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        shop.colink.end_streams()
        server.should_exit = True
        await asyncio.wait_for(running, 10)


class Listener:
    """One client's stream: `next_event()` is the next one's id and data."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def next_block(self) -> dict[str, str]:
        """The fields of what comes next; a comment's name is empty."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(10):
            async for line in self._lines:
                if not line:
                    return fields
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        raise EOFError

    async def blocks_to_the_end(self) -> int:
        async with asyncio.timeout(10):
            return sum([1 async for line in self._lines if not line])

    async def next_event(self) -> dict[str, Any]:
        while "data" not in (block := await self.next_block()):
            pass
        event: dict[str, Any] = json.loads(block["data"])
        assert block["id"] == str(event["position"])
        return event


@asynccontextmanager
async def listening(url: str, *, key: str = ADMIN_KEY, **asked: Any) -> AsyncIterator[Listener]:
    headers = STREAM | {"Authorization": f"Bearer {key}"} | asked.pop("headers", {})
    async with (
        httpx.AsyncClient(base_url=url, timeout=20) as http,
        http.stream("GET", "/v1/events", headers=headers, params=asked) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield Listener(answer)


async def test_what_is_there_comes_first_and_then_what_happens(shop: Shop) -> None:
    await shop.organization()
    recorded = (await shop.get("/v1/events"))["items"]
    async with served(shop) as (_, url), listening(url) as listener:
        assert [await listener.next_event() for _ in recorded] == recorded
        made = await shop.creator(handle="aina")
        event = await listener.next_event()
        assert (event["position"], event["type"]) == (len(recorded) + 1, "creator.registered")
        assert event["stream_id"] == made["id"]


async def test_more_than_a_page_comes_gapless(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colink.api.routes.events.PAGE", 3)
    monkeypatch.setattr(event_stream, "PAGE", 3)
    async with served(shop) as (_, url), listening(url) as listener:
        made = [asyncio.create_task(shop.creator()) for _ in range(20)]
        events = [await listener.next_event() for _ in range(21)]
        await asyncio.gather(*made)
    assert [event["position"] for event in events] == list(range(1, 22))


async def test_a_client_goes_on_after_the_last_event_it_saw(shop: Shop) -> None:
    for _ in range(4):
        await shop.creator()
    async with served(shop) as (_, url):
        async with listening(url) as listener:
            first = [await listener.next_event() for _ in range(2)]
        assert [event["position"] for event in first] == [1, 2]
        async with listening(url, after=4, headers={"Last-Event-ID": "2"}) as listener:
            assert (await listener.next_event())["position"] == 3
        async with listening(url, after=4) as listener:
            assert (await listener.next_event())["position"] == 5


@pytest.mark.parametrize("id_", ["x", "-1", "1.5", "9" * 19])
async def test_an_id_we_gave_nobody_is_refused(shared_shop: Shop, id_: str) -> None:
    headers = STREAM | {"Last-Event-ID": id_}
    problem = await shared_shop.refused("GET", "/v1/events", status=422, headers=headers)
    assert problem["field"] == "Last-Event-ID"


async def test_a_seller_hears_of_its_organisation_only_and_without_what_is_hidden(shop: Shop) -> None:
    ours, theirs = await shop.organization(), await shop.organization()
    key = await shop.key("seller", organization_id=ours["id"])
    async with served(shop) as (_, url), listening(url, key=key) as listener:
        assert (await listener.next_event())["organization_id"] == ours["id"]
        await shop.store(theirs)
        store = await shop.store(ours)
        events = [await listener.next_event()]
        while events[-1]["type"] != "store.connected":
            events.append(await listener.next_event())
        assert events[-1]["stream_id"] == store["id"]
        assert {event["organization_id"] for event in events} == {ours["id"]}
        assert "digest" not in json.dumps(events)


async def test_who_may_not_read_the_log_does_not_follow_it(shared_shop: Shop) -> None:
    creator = await shared_shop.creator()
    key = await shared_shop.key("creator", payee_id=creator["id"])
    await shared_shop.refused("GET", "/v1/events", status=403, headers=STREAM, key=key)
    await shared_shop.refused("GET", "/v1/events", status=401, headers=STREAM, key=None)


async def test_silence_is_broken_by_comments(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT", 0.05)
    async with served(shop) as (_, url), listening(url, after=1000) as listener:
        assert await listener.next_block() == {"": "the log follows", "retry": "2000"}
        assert [await listener.next_block() for _ in range(3)] == [{"": "ping"}] * 3


async def test_all_followers_share_one_connection_and_leave_none_behind(shop: Shop) -> None:
    async def listeners() -> int:
        async with shop.colink.pool.connection() as connection:
            cursor = await connection.execute(
                "select count(*) from pg_stat_activity where datname = current_database() and query like 'LISTEN%'"
            )
            row = await cursor.fetchone()
        assert row is not None
        return int(row[0])

    async with served(shop) as (_, url):
        async with listening(url) as one, listening(url) as another, listening(url) as third:
            for listener in (one, another, third):
                await listener.next_event()
            made = await shop.creator()
            for listener in (one, another, third):
                assert (await listener.next_event())["stream_id"] == made["id"]
            assert await listeners() == 1
        for _ in range(200):
            await asyncio.sleep(0.05)
            if not await listeners():
                return
        pytest.fail("somebody still listens")


async def test_no_more_follow_than_may(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_tail, "MOST_FOLLOWERS", 1)
    async with served(shop) as (_, url), listening(url) as listener:
        await listener.next_event()
        problem = await shop.refused("GET", "/v1/events", status=503, headers=STREAM)
        assert problem["type"] == "urn:colink:problem:unavailable"


async def test_the_log_is_read_no_faster_than_a_client_takes_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that stops reading: pages are read until the sockets between us are full, and then no more."""
    reads = 0
    async with shop.colink.pool.connection() as connection:
        await connection.execute("select 1")

    async def endless(_: int) -> list[dict[str, Any]]:
        nonlocal reads
        reads += 1
        return [{"position": reads, "payload": "x" * 100_000}]

    monkeypatch.setattr(
        "colink.api.routes.events.stream",
        lambda tail, _, stands, *, after: event_stream.stream(tail, endless, stands, after=after),
    )
    monkeypatch.setattr(event_stream, "PAGE", 1)
    async with served(shop) as (_, url), listening(url):
        before = -1
        async with asyncio.timeout(10):
            while before != reads:
                before = reads
                await asyncio.sleep(0.2)
        assert 0 < reads < 200  # 20 MB, many times what the buffers of two sockets hold


async def test_nobody_who_listens_keeps_the_server_from_stopping(shop: Shop) -> None:
    async with served(shop) as (server, url), listening(url) as listener:
        await listener.next_event()
        shop.colink.end_streams()
        server.should_exit = True
        assert await listener.blocks_to_the_end() >= 0
