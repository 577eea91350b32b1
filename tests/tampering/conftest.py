"""The business, lived once for the tests of a module, and a superuser who changes it behind its back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.api.shop import Shop, open_shop
from tests.conftest import TestDatabase
from tests.tampering.business import a_business
from tests.tampering.mutants import Tamperer

from colink.adapters.postgres.provision import Database

THAT_TELL = {
    "colink.inbox": "position IS NOT NULL AND topic = 'orders/paid'",
    "colink.idempotency_keys": "position IS NOT NULL",
    "colink.tracking_events": "organization_id IS NOT NULL",
}
"""Rows of which the log says something: a delivery that led to no event, and a repeated command that changed nothing,
leave no trace in it."""


@pytest.fixture(scope="module")
async def business(
    anyio_backend: str, shared_database: TestDatabase, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shop]:
    database = Database(owner_dsn=shared_database.owner_dsn, app_dsn=shared_database.app_dsn)
    async with open_shop(database, data_dir=tmp_path_factory.mktemp("data")) as shop:
        await a_business(shop)
        yield shop


@pytest.fixture(scope="module")
def tamperer(business: Shop, shared_database: TestDatabase) -> Iterator[Tamperer]:
    assert business
    opened = Tamperer(shared_database.superuser_dsn, only_rows=THAT_TELL)
    yield opened
    opened.close()
