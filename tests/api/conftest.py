"""The application on a database of its own, spoken to over HTTP: see shop.py; with an order in it: see sale.py."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.api.sale import Sale, make_sale
from tests.api.shop import Shop, open_shop
from tests.conftest import TestDatabase

from colink.adapters.postgres.provision import Database


@pytest.fixture
async def shop(anyio_backend: str, database: TestDatabase) -> AsyncIterator[Shop]:
    async with open_shop(Database(owner_dsn=database.owner_dsn, app_dsn=database.app_dsn)) as opened:
        yield opened


@pytest.fixture
async def sale(shop: Shop) -> Sale:
    return await make_sale(shop)


@pytest.fixture(scope="module")
async def shared_shop(anyio_backend: str, shared_database: TestDatabase) -> AsyncIterator[Shop]:
    """One for all tests of a module that only add to it."""
    database = Database(owner_dsn=shared_database.owner_dsn, app_dsn=shared_database.app_dsn)
    async with open_shop(database) as opened:
        yield opened
