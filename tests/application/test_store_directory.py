"""The promise: a busy shop's store is read once however many ask, one that hangs up takes nobody's answer away, and a
reading that failed is not remembered."""

from __future__ import annotations

import asyncio

import pytest

from colink.application.store_directory import CachedStores, StoreAccess
from colink.domain.errors import Unavailable
from colink.domain.organizations import Platform, Settlement, StoreDetails

pytestmark = pytest.mark.anyio

STORE = StoreAccess(
    details=StoreDetails(
        id="sto_1",
        organization_id="org_1",
        platform=Platform.SHOPIFY,
        name="Kedai",
        settlement=Settlement.PLATFORM_COLLECTED,
    ),
    webhook_secrets=("s",),
)


class Directory:
    """Answers when told to. `broken`: with an error."""

    def __init__(self) -> None:
        self.reads = 0
        self.broken = False
        self.may_answer = asyncio.Event()

    async def store(self, store_id: str) -> StoreAccess | None:
        self.reads += 1
        await self.may_answer.wait()
        if self.broken:
            msg = "away"
            raise Unavailable(msg)
        return STORE if store_id == "sto_1" else None


async def test_many_who_ask_at_once_share_one_reading() -> None:
    directory = Directory()
    stores = CachedStores(directory, monotonic=lambda: 0.0)
    asking = [asyncio.create_task(stores.store("sto_1")) for _ in range(20)]
    other = asyncio.create_task(stores.store("sto_2"))
    await asyncio.sleep(0)
    asking[0].cancel()
    directory.may_answer.set()
    assert await asyncio.gather(*asking[1:], other) == [STORE] * 19 + [None]
    assert directory.reads == 2
    assert await stores.store("sto_1") == STORE
    assert directory.reads == 2
    assert await stores.store("sto_2") is None  # unknown stores are never remembered
    assert directory.reads == 3


async def test_a_reading_that_failed_is_not_remembered() -> None:
    directory = Directory()
    directory.may_answer.set()
    stores = CachedStores(directory, monotonic=lambda: 0.0)
    directory.broken = True
    failed = await asyncio.gather(*(stores.store("sto_1") for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in failed] == [Unavailable] * 3
    directory.broken = False
    assert await stores.store("sto_1") == STORE
