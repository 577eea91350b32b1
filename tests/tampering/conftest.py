"""The business, lived once for all tests here, and a superuser who changes it behind its back and puts it right."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.api.shop import Shop, open_shop
from tests.conftest import FreshDatabase, TestDatabase
from tests.tampering.life import live
from tests.tampering.mutants import Tamperer

from colink.adapters.postgres.provision import Database

THAT_TELL = {
    "colink.inbox": "position IS NOT NULL AND topic = 'orders/paid'",
    "colink.idempotency_keys": "position IS NOT NULL",
    "colink.tracking_events": "organization_id IS NOT NULL",
    "colink.installation.value": "name <> 'cookie_key'",
    "colink.private_values.value": "name <> 'webhook_secrets'",
}
"""Rows, and of a column those rows, of which the log says something: a delivery that led to no event, and a repeated
command that changed nothing, leave no trace in it; what a store signs with is a secret of its own."""

KINDS = {
    "colink.documents.body": "kind",
    "colink.installation.value": "name",
    "colink.private_values.value": "split_part(name, '_', 1)",
}
"""What is changed in one row of each kind."""


@pytest.fixture(scope="package")
def lived_in(fresh_database: FreshDatabase) -> Iterator[TestDatabase]:
    with fresh_database() as created:
        yield created


@pytest.fixture(scope="package")
async def business(
    anyio_backend: str, lived_in: TestDatabase, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shop]:
    database = Database(owner_dsn=lived_in.owner_dsn, app_dsn=lived_in.app_dsn)
    async with open_shop(database, data_dir=tmp_path_factory.mktemp("data")) as shop:
        await live(shop)
        yield shop


@pytest.fixture(scope="package")
def tamperer(business: Shop, lived_in: TestDatabase) -> Iterator[Tamperer]:
    assert business
    opened = Tamperer(lived_in.superuser_dsn, only_rows=THAT_TELL, kinds=KINDS)
    yield opened
    opened.close()
