"""Tells readers of the commerce log that it moved: LISTEN, and a time limit, since notifications can be lost.

The tracking log does not notify; whoever reads it polls.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from psycopg import AsyncConnection, Error

from colink.projections.engine import Connection

CHANNEL = "colink_commerce"


class LogWatch:
    """Holds one connection that listens; opened when first needed and again after it was lost."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._conn: Connection | None = None

    async def wait(self, at_most: float) -> None:
        """Returns when the log moved since the last call, after `at_most` seconds anyway. Raises what PostgreSQL
        raises when it cannot be reached."""
        try:
            conn = await self._listening()
            async for _ in conn.notifies(timeout=at_most, stop_after=1):
                pass
        except (Error, asyncio.CancelledError):
            await self.close()
            raise

    async def _listening(self) -> Connection:
        if self._conn is None:
            self._conn = await AsyncConnection.connect(self._conninfo, autocommit=True)
            await self._conn.execute(f"LISTEN {CHANNEL}")
        return self._conn

    async def close(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            await conn.close()

    async def __aenter__(self) -> LogWatch:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
