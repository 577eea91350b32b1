"""What links and views name, read from the documents."""

from __future__ import annotations

from collections.abc import Callable

from colink.adapters.postgres.pool import AsyncPool
from colink.adapters.postgres.reading import connected
from colink.domain.campaigns import CampaignDetails
from colink.domain.creators import CreatorDetails
from colink.domain.tracking import LinkDetails
from colink.projections.documents import document_by_id, document_by_key


class PostgresLookups:
    """TrackingLookups with a query each; put RememberedLookups in front."""

    def __init__(self, pool: AsyncPool, *, handle_digest: Callable[[str], str]) -> None:
        self._pool = pool
        self._handle_digest = handle_digest

    async def link(self, code: str) -> LinkDetails | None:
        async with connected(self._pool) as connection:
            found = await document_by_key(connection, LinkDetails, code)
        return found.details(LinkDetails) if found else None

    async def campaign(self, slug: str) -> CampaignDetails | None:
        async with connected(self._pool) as connection:
            found = await document_by_key(connection, CampaignDetails, slug)
        return found.details(CampaignDetails) if found else None

    async def creator(self, id_or_handle: str) -> CreatorDetails | None:
        """An id is looked for first: ids are ours to give, handles anyone's to choose."""
        async with connected(self._pool) as connection:
            found = await document_by_id(connection, CreatorDetails, id_or_handle)
            for key in (self._handle_digest(id_or_handle), id_or_handle):  # in clear where recorded long ago
                if found is None:
                    found = await document_by_key(connection, CreatorDetails, key)
        return found.details(CreatorDetails) if found else None
