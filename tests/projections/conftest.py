from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.conftest import TestDatabase
from tests.projections.world import World, open_world


@pytest.fixture
async def world(anyio_backend: str, database: TestDatabase) -> AsyncIterator[World]:
    async with open_world(database) as opened:
        yield opened
