"""Nothing is told to an auditor, and to nobody what a buyer is called or where somebody else is paid, without a trace
of it.

    a session or a route is watched (session.watch) -> the answer is held back -> its trace is kept -> it goes out

An answer whose trace cannot be kept does not go out: 503. Requests of others pass through untouched. A stream is kept
when it begins; how much of it was read is not known then.
"""

from __future__ import annotations

import msgspec
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from colink.api.answers import problem_answer
from colink.api.auth import Principal
from colink.application.ports import Clock
from colink.domain.errors import Unavailable
from colink.projections.audit_reads import Read, log_read
from colink.projections.engine import Pool

WATCHED = "watched"
"""Under this name the state of a request holds the principal whose reading is kept."""
_log = structlog.get_logger(__name__)


class _Listed(msgspec.Struct):
    items: list[msgspec.Raw]


class ReadLog:
    """Middleware around all routes that have sessions."""

    def __init__(self, app: ASGIApp, *, pool: Pool, clock: Clock) -> None:
        self._app, self._pool, self._clock = app, pool, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        refused = False

        async def send_kept(message: Message) -> None:
            nonlocal start, refused
            reader = scope["state"].get(WATCHED)
            if reader is None:
                await send(message)
            elif refused:
                return
            elif message["type"] == "http.response.start":
                start = message
            elif start is not None:
                begun, start = start, None
                items = None if message.get("more_body") else _count(message.get("body", b""))
                refused = not await self._keep(scope, reader, status=begun["status"], items=items)
                if refused:
                    error = Unavailable("what an auditor reads is recorded first, which is not possible now")
                    await problem_answer(error)(scope, receive, send)
                    return
                await send(begun)
                await send(message)
            else:
                await send(message)

        await self._app(scope, receive, send_kept)

    async def _keep(self, scope: Scope, reader: Principal, *, status: int, items: int | None) -> bool:
        read = Read(
            read_at=self._clock.now(),
            reader=f"key:{reader.key_id}",
            role=reader.role.value,
            method=scope["method"],
            route=getattr(scope.get("route"), "path", "unknown"),
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            status=status,
            items=items,
            correlation_id=scope["state"]["correlation_id"],
        )
        try:
            async with self._pool.connection() as connection:
                await log_read(connection, read)
        except Exception as error:  # noqa: BLE001 - whatever keeps the trace from being kept, nothing is told
            _log.error("a read could not be recorded", route=read.route, error=str(error))
            return False
        return True


def _count(body: bytes) -> int | None:
    """How many items a JSON list answers with; None for any other answer."""
    try:
        return len(msgspec.json.decode(body, type=_Listed).items)
    except (msgspec.DecodeError, ValueError):
        return None
