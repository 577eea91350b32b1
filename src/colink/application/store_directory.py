"""Which store a delivery is for and the secrets that may have signed it, read seldom and never wrong for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from colink.domain.organizations import StoreDetails


@dataclass(frozen=True, kw_only=True)
class StoreAccess:
    """A store and its secrets, newest first; after a rotation the old one may sign for a while."""

    details: StoreDetails
    webhook_secrets: tuple[str, ...]

    def __repr__(self) -> str:
        return f"StoreAccess({self.details.id}, {len(self.webhook_secrets)} secrets)"


class StoreDirectory(Protocol):
    async def store(self, store_id: str) -> StoreAccess | None:
        """The store with that id, or None."""


class CachedStores:
    """A StoreDirectory in front of another. Unknown stores are never remembered: one made a moment ago is found.

    `monotonic` gives seconds. A store is read again after `keep_seconds`, and by `reread` when its secrets did not
    fit: a new secret works at once, a withdrawn one at most `keep_seconds` longer. Many who ask at once share one
    reading: a busy shop's cause one query, not one each.
    """

    def __init__(
        self,
        directory: StoreDirectory,
        *,
        monotonic: Callable[[], float],
        keep_seconds: float = 10.0,
        reread_after: float = 1.0,
        most: int = 10_000,
    ) -> None:
        self._directory = directory
        self._monotonic = monotonic
        self._keep_seconds = keep_seconds
        self._reread_after = reread_after
        self._most = most
        self._known: dict[str, tuple[float, StoreAccess]] = {}
        self._reading: dict[str, asyncio.Future[StoreAccess | None]] = {}

    async def store(self, store_id: str) -> StoreAccess | None:
        return await self._younger_than(self._keep_seconds, store_id)

    async def reread(self, store_id: str) -> StoreAccess | None:
        """Like `store`, but as of a second ago at most, so that bad signatures cannot cause a query each."""
        return await self._younger_than(self._reread_after, store_id)

    async def _younger_than(self, seconds: float, store_id: str) -> StoreAccess | None:
        known = self._known.get(store_id)
        now = self._monotonic()
        if known is not None and now - known[0] < seconds:
            return known[1]
        reading = self._reading.get(store_id)
        if reading is None:
            reading = self._reading[store_id] = asyncio.ensure_future(self._read(store_id, now))
            reading.add_done_callback(lambda _: self._reading.pop(store_id, None))
        return await asyncio.shield(reading)  # one that hangs up leaves the others their answer

    async def _read(self, store_id: str, now: float) -> StoreAccess | None:
        access = await self._directory.store(store_id)
        self._known.pop(store_id, None)
        if access is not None:
            if len(self._known) >= self._most:
                self._known.clear()
            self._known[store_id] = (now, access)
        return access
