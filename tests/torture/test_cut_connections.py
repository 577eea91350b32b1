"""A connection that ends between the commit and its answer: the command has one effect, and whoever asks again gets
the first answer. Between the committer and PostgreSQL, between client and API, and both at once."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tests.adapters.postgres.commands import Decide, FixedClock, Post, delivery, idempotency, nothing
from tests.api.sale import TSHIRT
from tests.api.shop import ADMIN_KEY, NOON, SECRET, Shop, open_shop
from tests.conftest import TestDatabase
from tests.torture.locked import head_locked, rows, waiting_appends
from tests.torture.proxy import Cutter, before_http, before_postgres, body_of

from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.pool import create_pool
from colink.adapters.postgres.provision import Database
from colink.application.ports import Recorded
from colink.cli.shopify_traffic import order_body, signed_delivery

pytestmark = pytest.mark.anyio
APPEND = b"append_commerce"


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="colink-cut-") as name:
        yield Path(name)


def through(dsn: str, folder: Path) -> tuple[Path, str]:
    """The server's socket, and the DSN by which it is reached through a proxy in `folder`."""
    given = conninfo_to_dict(dsn)
    return Path(str(given["host"])) / f".s.PGSQL.{given['port']}", make_conninfo(dsn, host=str(folder))


@asynccontextmanager
async def committing(database: TestDatabase, folder: Path) -> AsyncIterator[tuple[Committer, Cutter]]:
    socket, dsn = through(database.app_dsn, folder)
    async with (
        before_postgres(socket, folder=folder) as cutter,
        create_pool(dsn, for_commands=True) as pool,
        Committer(pool, FixedClock()) as bus,
    ):
        yield bus, cutter


def commands() -> list[Any]:
    """Known again by what they recorded, by their key, by their delivery, by a key alone."""
    return [
        Post(journal_id="jrn_1"),
        Post(journal_id="jrn_2", idempotency=idempotency("k2")),
        Decide(make=lambda _: nothing(delivery("d_1")), delivery_key=("sto_1", "d_1")),
        Decide(make=lambda _: nothing(), idempotency=idempotency("k3")),
    ]


def assert_each_is_there_once(database: TestDatabase, recorded: list[Recorded]) -> None:
    first, second, *_ = recorded
    assert [one.answer for one in recorded] == [
        {"journal_id": "jrn_1"},
        {"journal_id": "jrn_2"},
        {"ok": True},
        {"ok": True},
    ]
    assert {first.position, second.position} == {1, 2}
    assert rows(database, "select stream_id from colink.events order by 1") == [("jrn_1",), ("jrn_2",)]
    assert rows(database, "select delivery_id from colink.inbox") == [("d_1",)]
    assert rows(database, "select key from colink.idempotency_keys order by 1") == [("k2",), ("k3",)]
    assert rows(database, "select amount from colink.balances where account = 'platform:revenue'") == [(-10,)]


async def test_the_answer_of_an_append_is_lost(database: TestDatabase, folder: Path) -> None:
    async with committing(database, folder) as (bus, cutter):
        cutter.cut_answer_to(APPEND)
        recorded = await asyncio.gather(*(bus.submit(command) for command in commands()))
    assert cutter.cuts == 1
    assert_each_is_there_once(database, recorded)


async def test_the_connection_is_lost_while_the_append_runs_on(database: TestDatabase, folder: Path) -> None:
    """The head is locked, so that the append goes on waiting on the server after its client lost sight of it; the
    second try waits behind it."""
    async with committing(database, folder) as (bus, cutter), head_locked(database) as release:
        cutter.cut_after(APPEND)
        submitted = asyncio.gather(*(bus.submit(command) for command in commands()))
        await waiting_appends(database, 2)
        await release()
        recorded = await submitted
    assert cutter.cuts == 1
    assert_each_is_there_once(database, recorded)


@asynccontextmanager
async def serving(
    database: TestDatabase, folder: Path
) -> AsyncIterator[tuple[Shop, Cutter, Cutter, httpx.AsyncClient]]:
    """The API on a socket of its own, a proxy before PostgreSQL and one before the API; `client` goes through it."""
    socket, dsn = through(database.app_dsn, folder)
    async with (
        before_postgres(socket, folder=folder) as of_postgres,
        open_shop(Database(owner_dsn=database.owner_dsn, app_dsn=dsn)) as shop,
        listening(shop) as port,
        before_http(port) as (of_http, proxied),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{proxied}", trust_env=False, timeout=60) as client,
    ):
        yield shop, of_postgres, of_http, client


@asynccontextmanager
async def listening(shop: Shop) -> AsyncIterator[int]:
    server = uvicorn.Server(uvicorn.Config(shop.colink.asgi(), port=0, lifespan="off", log_config=None))
    task = asyncio.ensure_future(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


@pytest.mark.parametrize("database_too", [False, True], ids=["http", "http and database"])
async def test_a_command_whose_answer_is_lost_gives_it_again(
    database: TestDatabase, folder: Path, *, database_too: bool
) -> None:
    async with serving(database, folder) as (_, of_postgres, of_http, client):

        async def register() -> httpx.Response:
            headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Idempotency-Key": "the-only-one"}
            return await client.post(
                "/v1/organizations", json={"name": "Kedai", "platform_fee_bps": 500}, headers=headers
            )

        of_http.cut_answer_to(b"the-only-one")
        if database_too:
            of_postgres.cut_answer_to(APPEND)
        with pytest.raises(httpx.TransportError):
            await register()
        again = await register()
    assert of_postgres.cuts == int(database_too)
    assert again.status_code == 201
    assert again.headers["Idempotent-Replayed"] == "true"
    (lost,) = of_http.answers
    assert json.loads(body_of(lost)) == again.json()
    assert rows(database, "select stream_id from colink.events where topic = 'organization.registered'") == [
        (again.json()["id"],)
    ]


async def test_a_command_is_repeated_while_the_first_try_is_under_way(database: TestDatabase, folder: Path) -> None:
    async with serving(database, folder) as (_, _, of_http, client), head_locked(database) as release:

        async def register() -> httpx.Response:
            headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Idempotency-Key": "the-only-one"}
            return await client.post(
                "/v1/organizations", json={"name": "Kedai", "platform_fee_bps": 500}, headers=headers
            )

        of_http.cut_after(b"the-only-one")
        with pytest.raises(httpx.TransportError):
            await register()
        repeats = asyncio.gather(*(register() for _ in range(8)))
        await waiting_appends(database, 1)
        await release()
        answers = await repeats
    assert {answer.status_code for answer in answers} == {201}
    (id_,) = {answer.json()["id"] for answer in answers}
    assert rows(database, "select stream_id from colink.events where topic = 'organization.registered'") == [(id_,)]


async def test_a_delivery_whose_answer_is_lost_is_a_duplicate_when_it_comes_again(
    database: TestDatabase, folder: Path
) -> None:
    async with serving(database, folder) as (shop, of_postgres, of_http, client):
        store = await shop.store(await shop.organization())
        sold = order_body(order_id=1, number=1, currency="MYR", placed_at=NOON, items=[TSHIRT])
        told = signed_delivery(
            "orders/paid",
            sold,
            secret=SECRET,
            webhook_id="wh-the-only-one",
            shop_domain="kedai.myshopify.com",
            triggered_at=NOON,
        )

        async def deliver() -> httpx.Response:
            return await client.post(
                f"/webhooks/shopify/{store['id']}", content=told.body, headers=dict(told.headers)
            )

        of_http.cut_answer_to(b"wh-the-only-one")
        of_postgres.cut_answer_to(b"journal.posted")
        with pytest.raises(httpx.TransportError):
            await deliver()
        again = await deliver()
    assert of_postgres.cuts == 1
    (lost,) = of_http.answers
    first = json.loads(body_of(lost))
    assert again.json() == first | {"status": "duplicate"}
    assert first["status"] == "accepted"
    assert rows(database, "select delivery_id from colink.inbox") == [("wh-the-only-one",)]
    journals = "select count(*) from colink.events where topic = 'journal.posted'"
    assert rows(database, journals) == [(1,)]
