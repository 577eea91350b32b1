"""What taking deliveries asks of the database: the store and its secrets, kept deliveries, a count of those refused.

Deliveries are written by the committer, in the same append as what they lead to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec

from colink.adapters.postgres.pool import AsyncPool
from colink.adapters.postgres.reading import connected
from colink.application.ports import Delivery, DeliveryStatus
from colink.application.privacy.envelope import PersonKeys
from colink.application.store_directory import StoreAccess
from colink.domain.organizations import StoreDetails
from colink.domain.people import Erased
from colink.projections import inbox
from colink.projections.documents import document_by_id

_SECRETS = "select value from colink.private_values where owner_id = %s and name = 'webhook_secrets'"
_COUNT = """
    insert into colink.webhook_rejections as known (source, reason, count) values (%s, %s, %s)
    on conflict (source, reason) do update set count = known.count + excluded.count
"""


class PostgresStoreDirectory:
    """A StoreDirectory with two queries a store; put CachedStores in front."""

    def __init__(self, pool: AsyncPool) -> None:
        self._pool = pool

    async def store(self, store_id: str) -> StoreAccess | None:
        async with connected(self._pool) as connection:
            document = await document_by_id(connection, StoreDetails, store_id)
            if document is None:
                return None
            secrets = await (await connection.execute(_SECRETS, (store_id,))).fetchone()
        return StoreAccess(
            details=document.details(StoreDetails),
            webhook_secrets=() if secrets is None else msgspec.json.decode(secrets[0], type=tuple[str, ...]),
        )


class PostgresInbox:
    """An Inbox on the table `inbox`; `keys` are those outside the database."""

    def __init__(self, pool: AsyncPool, keys: Callable[[], PersonKeys]) -> None:
        self._pool = pool
        self._keys = keys

    async def delivery(self, *, source: str, delivery_id: str) -> Delivery | None:
        async with connected(self._pool) as connection:
            found = await inbox.delivery(connection, source, delivery_id)
            if found is None:
                return None
            filed, kept = found
            body = await inbox.open_body(connection, self._keys(), source, delivery_id, kept)
        if body is None:
            msg = "the body of this delivery was erased with the person it is about"
            raise Erased(msg)
        return Delivery(
            source=filed.source,
            delivery_id=filed.delivery_id,
            topic=filed.topic,
            headers=msgspec.json.decode(filed.headers),
            body=body,
            received_at=filed.received_at,
            status=DeliveryStatus(filed.status),
            problem=None if filed.problem is None else msgspec.json.decode(filed.problem),
            order_id=filed.order_id,
        )


class PostgresRejectionCounter:
    """A RejectionCounter on the table `webhook_rejections`. While one count is on its way the others add up, so that
    a flood of bad signatures costs one statement at a time."""

    def __init__(self, pool: AsyncPool) -> None:
        self._pool = pool
        self._waiting: Counter[tuple[str, str]] = Counter()
        self._writing = False

    async def count(self, *, source: str, reason: str) -> None:
        self._waiting[source, reason] += 1
        if self._writing:
            return
        self._writing = True
        try:
            while self._waiting:
                (of_source, for_reason), number = self._waiting.popitem()
                async with connected(self._pool) as connection:
                    await connection.execute(_COUNT, (of_source, for_reason, number))
        finally:
            self._writing = False
