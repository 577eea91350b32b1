"""The library's Application on our logs: it reads as the library does and saves through the committer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest
from eventsourcing.persistence import IntegrityError
from tests.adapters.postgres.commands import NOON, Decide, nothing
from tests.adapters.postgres.conftest import Store

from colink.adapters.postgres.append import TRACKING, Log
from colink.adapters.postgres.applications import CommerceLog, LogApplication, TrackingLog
from colink.adapters.postgres.blocking import BlockingBus
from colink.adapters.postgres.pool import create_blocking_pool
from colink.domain.catalog import Product, ProductDetails
from colink.domain.errors import NotFound
from colink.domain.tracking import Touch, TouchDetails, TouchKind

T = TypeVar("T")


def in_a_thread(
    store: Store, application: type[LogApplication], story: Callable[[LogApplication], T], **settings: Log
) -> T:
    """Run a story of blocking calls beside a committer on its own loop."""

    async def told() -> T:
        async with store.committer(**settings) as (bus, _):
            with create_blocking_pool(store.app_dsn) as pool, application(pool, BlockingBus(bus)) as app:
                return await asyncio.to_thread(story, app)

    return asyncio.run(told())


def product(title: str) -> ProductDetails:
    return ProductDetails(
        id="prd_1", organization_id="org_1", store_id="sto_1", external_id="1", title=title, skus=()
    )


def test_an_aggregate_is_saved_and_read_back(store: Store) -> None:
    def story(app: LogApplication) -> None:
        recordings = app.save(Product.record(product("Tea"), at=NOON))
        assert [recording.notification.id for recording in recordings] == [1]
        again: Product = app.repository.get("prd_1")
        again.change(product("Green tea"), at=NOON)
        again.change(product("Black tea"), at=NOON)
        assert [recording.notification.id for recording in app.save(again)] == [2, 3]
        read: Product = app.repository.get("prd_1")
        assert (read.details.title, read.version) == ("Black tea", 3)
        notifications = app.notification_log.select(start=1, limit=10)
        assert [n.topic for n in notifications] == ["product.recorded", "product.changed", "product.changed"]

    in_a_thread(store, CommerceLog, story)
    # Saving went through the committer: the inline rows are there.
    assert store.rows("select kind, id, version, current from colink.documents order by version") == [
        ("product", "prd_1", 1, False),
        ("product", "prd_1", 2, False),
        ("product", "prd_1", 3, True),
    ]


def test_a_stale_aggregate_is_refused(store: Store) -> None:
    def story(app: LogApplication) -> None:
        app.save(Product.record(product("Tea"), at=NOON))
        one: Product = app.repository.get("prd_1")
        other: Product = app.repository.get("prd_1")
        one.change(product("Green tea"), at=NOON)
        other.change(product("Black tea"), at=NOON)
        app.save(one)
        with pytest.raises(IntegrityError):
            app.save(other)

    in_a_thread(store, CommerceLog, story)
    assert store.value("select count(*) from colink.events") == 2


def test_saving_refuses_to_block_the_event_loop(store: Store) -> None:
    async def story() -> None:
        async with store.committer() as (bus, _):
            blocking = BlockingBus(bus)
            with create_blocking_pool(store.app_dsn) as pool, CommerceLog(pool, blocking) as app:
                tea = Product.record(product("Tea"), at=NOON)
                with pytest.raises(RuntimeError, match="block the event loop"):
                    app.save(tea)

    asyncio.run(story())


def test_errors_come_out_in_the_thread_that_submitted(store: Store) -> None:
    def refuse(_: object) -> None:
        msg = "no"
        raise NotFound(msg)

    async def story() -> None:
        async with store.committer() as (bus, _):
            blocking = BlockingBus(bus)
            with pytest.raises(NotFound):
                await asyncio.to_thread(blocking.submit, Decide(make=refuse))
            assert (await asyncio.to_thread(blocking.submit, Decide(make=lambda _: nothing()))).answer == {"ok": True}

    asyncio.run(story())


def test_the_process_environment_is_not_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPRESSOR_TOPIC", "eventsourcing.compressor:ZlibCompressor")
    monkeypatch.setenv("IS_SNAPSHOTTING_ENABLED", "y")
    with create_blocking_pool(store.app_dsn) as pool, CommerceLog(pool) as app:
        assert app.mapper.compressor is None
        assert app.snapshots is None
        with pytest.raises(RuntimeError, match="made for reading"):
            app.save(Product.record(product("Tea"), at=NOON))


def test_touches_live_in_a_log_of_their_own(store: Store) -> None:
    details = TouchDetails(id="clk_1", kind=TouchKind.CLICK, creator_id="cre_1", occurred_at=NOON)

    def story(app: LogApplication) -> None:
        app.save(Touch.record(details, at=NOON))

    in_a_thread(store, TrackingLog, story, log=TRACKING)
    assert store.value("select count(*) from colink.events") == 0
    assert store.rows("select position, touch_id from colink.touches") == [(1, "clk_1")]
    assert store.value("select position from colink.tracking_head") == 1
