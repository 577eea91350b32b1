"""What goes wrong on purpose, and exactly where: before an append, or between its commit and its answer.

A `Killed` is no Exception: nothing handles it, as nothing handles a SIGKILL. It ends the task that it is raised in,
and the simulator throws the service away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any, cast

from psycopg import OperationalError

from colink.adapters.postgres.pool import AsyncPool

_APPEND = "append_commerce"


class Killed(BaseException):
    """The process is gone."""


class Fault(Enum):
    """KILL: the process ends. CUT: its connection does, and it has to find out by itself what was recorded."""

    KILL_BEFORE_APPEND = "kill before the append"
    KILL_AFTER_APPEND = "kill after the append"
    CUT_BEFORE_APPEND = "cut before the append"
    CUT_AFTER_APPEND = "cut after the append"


class Faults:
    """The next fault, if any; it happens once, at the next append. `happened` is set when the process was killed."""

    def __init__(self) -> None:
        self.next: Fault | None = None
        self.happened = asyncio.Event()

    def take(self, *, after: bool) -> None:
        """Raises what is due before or after an append."""
        due = self.next
        if due is None or after != (due in {Fault.KILL_AFTER_APPEND, Fault.CUT_AFTER_APPEND}):
            return
        self.next = None
        if due in {Fault.CUT_BEFORE_APPEND, Fault.CUT_AFTER_APPEND}:
            raise OperationalError(due.value)
        self.happened.set()
        raise Killed


class _BreakingConnection:
    def __init__(self, connection: Any, faults: Faults) -> None:
        self._connection = connection
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
        appends = isinstance(query, str) and _APPEND in query
        if appends:
            self._faults.take(after=False)
        cursor = await self._connection.execute(query, *arguments, **options)
        if appends:
            self._faults.take(after=True)
        return cursor


class _BreakingPool:
    def __init__(self, pool: AsyncPool, faults: Faults) -> None:
        self._pool = pool
        self._faults = faults

    @asynccontextmanager
    async def connection(self, *arguments: Any, **options: Any) -> AsyncIterator[Any]:
        async with self._pool.connection(*arguments, **options) as connection:
            yield _BreakingConnection(connection, self._faults)


def BreakingPool(pool: AsyncPool, faults: Faults) -> AsyncPool:  # noqa: N802 - it stands for a class
    """The pool, with faults."""
    return cast("AsyncPool", _BreakingPool(pool, faults))
