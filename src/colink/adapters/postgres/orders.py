"""Reads orders back from the log: the streams of many at once, folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from colink.adapters.postgres.mapper import EventMapper
from colink.adapters.postgres.pool import AsyncPool
from colink.domain.orders import Order

_STREAMS = """
    select stream_id, version, topic, payload from colink.events where stream_id = any(%s) order by stream_id, version
"""


class PostgresOrders:
    """Calling it with ids gives the orders that have a stream, by id."""

    def __init__(self, pool: AsyncPool, mapper: EventMapper) -> None:
        self._pool = pool
        self._mapper = mapper

    async def __call__(self, order_ids: Sequence[str]) -> Mapping[str, Order]:
        if not order_ids:
            return {}
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_STREAMS, (list(order_ids),))
            rows = await cursor.fetchall()
        folded: dict[str, Any] = {}
        for stream_id, version, topic, payload in rows:
            event = self._mapper.event(stream_id, version, topic, payload)
            folded[stream_id] = event.mutate(folded.get(stream_id))
        return {stream_id: order for stream_id, order in folded.items() if isinstance(order, Order)}
