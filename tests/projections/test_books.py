"""The books are whole at every moment: as recorded at each position, as of each effective time, and both at once."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import pytest
from tests.projections.test_audit import a_few_orders
from tests.projections.test_trace import reserve
from tests.projections.world import World

from colink.projections.balances_in_time import list_balances

pytestmark = pytest.mark.anyio


async def sums(world: World, *, as_of: datetime | None = None, at_position: int | None = None) -> Counter[str]:
    async with world.pool.connection() as connection:
        balances = await list_balances(connection, as_of=as_of, at_position=at_position)
    totals: Counter[str] = Counter()
    for balance in balances:
        totals[balance.currency] += balance.amount
    return totals


async def test_the_books_sum_to_zero_at_any_moment(world: World) -> None:
    await a_few_orders(world)
    await world.order(7, 5_000, currency="USD")
    await reserve(world, "pay_1", 500)
    times = [at for (at,) in await world.rows("SELECT DISTINCT effective_at FROM colink.entries ORDER BY 1")]
    [(head,)] = await world.rows("SELECT position FROM colink.log_head")
    assert len(times) > 3
    assert set(await sums(world)) == {"MYR", "USD"}
    for at in (None, *times):
        for position in (None, *range(1, head + 1, 5)):
            assert not any((await sums(world, as_of=at, at_position=position)).values()), (at, position)
