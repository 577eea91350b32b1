"""The end of the commerce log, for all who follow it at once: one connection that listens, one small query when the
log moved, however many wait. What each of them then reads is theirs to say; nothing is kept for them here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import structlog
from psycopg import Error
from psycopg_pool import PoolTimeout

from colink.domain.errors import Unavailable
from colink.projections.engine import Pool

_log = structlog.get_logger(__name__)

POLL = 1.0  # seconds: notifications can be lost
GATHER = 0.05  # seconds between two looks, so that a busy log does not wake everybody for every batch
MOST_FOLLOWERS = 500


class Watch(Protocol):
    async def wait(self, at_most: float) -> None:
        """Returns when the log moved, after `at_most` seconds anyway."""


class LogTail:
    """Watches while somebody follows. `watch` opens what tells that the log moved (log_watch.LogWatch)."""

    def __init__(self, pool: Pool, watch: Callable[[], AbstractAsyncContextManager[Watch]]) -> None:
        self._pool = pool
        self._open_watch = watch
        self._followers = 0
        self._watching: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()
        self.head = 0
        """The last position as of the last look; 0 before the first."""
        self.stopped = False
        """No more is to be followed: the process is about to end."""

    def check_room(self) -> None:
        """Raises Unavailable where as many follow as may."""
        if self._followers >= MOST_FOLLOWERS:
            msg = f"{MOST_FOLLOWERS} clients follow the log already; read its pages"
            raise Unavailable(msg)

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """While somebody follows."""
        self._followers += 1
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="log-tail")
        try:
            yield
        finally:
            self._followers -= 1
            if not self._followers:
                watching, self._watching = self._watching, None
                if watching is not None:
                    watching.cancel()

    async def beyond(self, position: int, *, at_most: float) -> bool:
        """Wait until the log is beyond a position or nothing is to be followed any more; false after `at_most`
        seconds."""
        try:
            async with asyncio.timeout(at_most):
                while self.head <= position and not self.stopped:
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    def stop(self) -> None:
        """Let every follower come to its end."""
        self.stopped = True
        self._wake()

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def _watch(self) -> None:
        async with self._open_watch() as watch:
            while True:
                try:
                    async with self._pool.connection() as connection:
                        cursor = await connection.execute("select position from colink.log_head")
                        row = await cursor.fetchone()
                    if row is not None and row[0] > self.head:
                        self.head = row[0]
                        self._wake()
                    await asyncio.sleep(GATHER)
                    await watch.wait(POLL)
                except (Error, PoolTimeout, OSError) as error:
                    _log.warning("cannot watch the log, polling", error=str(error))
                    await asyncio.sleep(POLL)
