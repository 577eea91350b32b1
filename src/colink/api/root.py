"""The whole of HTTP as one ASGI application: bare routes first, then FastAPI.

Here is what all of them share: a correlation id for each request, metrics, a line in the log, bodies of a bounded
size, and an answer even where something unexpected breaks.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from colink.api.answers import problem_answer
from colink.api.correlation import CORRELATION_ID, REQUEST_ID, given_correlation_id
from colink.api.errors import InternalError
from colink.api.metrics import Metrics
from colink.api.routes.bulk_orders import BULK_MAX_BODY, BULK_PATH
from colink.application.ports import IdFactory
from colink.domain.errors import ColinkError, InvalidInput, PayloadTooLarge, Unavailable

MAX_BODY = 2 * 1024 * 1024  # bytes
MAX_BODY_OF: Mapping[str, int] = {BULK_PATH: BULK_MAX_BODY}
"""Paths that take larger ones."""
MOST_LARGE = 16
"""Requests with larger bodies at once: what they hold in memory is bounded before any of it is read."""
ONE_OF = 100
"""Of the answers to machines that call all the time so many share one line in the log, where nothing was wrong."""
_FOR_MONITORS = frozenset({"/healthz", "/readyz", "/metrics"})
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class BareRoute:
    """An ASGI application for the paths that `serves` names; `template` is what metrics call it. `busy`: its answers
    are not logged one by one."""

    template: str
    serves: Callable[[str], bool]
    app: ASGIApp
    busy: bool = False


class Root:
    """`bare` routes read their own bodies; those of `app` are read here first."""

    def __init__(self, app: ASGIApp, *, bare: Sequence[BareRoute], ids: IdFactory, metrics: Metrics) -> None:
        self._app = app
        self._bare = bare
        self._ids = ids
        self._metrics = metrics
        self._busy_answers = itertools.count()
        self._large = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        correlation_id = given_correlation_id(scope["headers"]) or self._ids("req")
        scope.setdefault("state", {})["correlation_id"] = correlation_id
        answer = _Answer(send, correlation_id)
        bare = next((route for route in self._bare if route.serves(scope["path"])), None)
        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(correlation_id=correlation_id):
            try:
                await self._answer(bare, scope, receive, answer)
            finally:
                seconds = time.perf_counter() - started
                route = _route(bare, scope)
                scope["state"]["route"], scope["state"]["status"] = route, answer.status
                self._metrics.answered(
                    method=scope["method"],
                    route=route,
                    status=answer.status,
                    seconds=None if answer.is_stream else seconds,
                )
                self._note(scope["method"], route, answer.status, seconds, busy=bare is not None and bare.busy)

    def _note(self, method: str, route: str, status: int, seconds: float, *, busy: bool) -> None:
        """One line: nothing of path, query, headers or body, which may hold personal data and secrets."""
        well = 0 < status < 400
        if (busy and well and next(self._busy_answers) % ONE_OF) or (well and route in _FOR_MONITORS):
            return
        more = {"one_of": ONE_OF} if busy and well else {}
        _log.info("request", method=method, route=route, status=status, ms=round(seconds * 1000, 1), **more)

    async def _answer(self, bare: BareRoute | None, scope: Scope, receive: Receive, send: _Answer) -> None:
        try:
            check_address(scope)
            if bare is not None:
                await bare.app(scope, receive, send)
            elif scope["path"] in MAX_BODY_OF:
                await self._answer_large(scope, receive, send)
            else:
                await self._app(scope, await buffered(scope, receive), send)
        except ClientDisconnect:
            return
        except ColinkError as error:
            await problem_answer(error)(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - the last line of defence: log it, tell nothing
            if not send.started:
                _log.error("unexpected error", route=_route(bare, scope), method=scope["method"], exc_info=error)
                problem = InternalError("the error was logged; quote X-Request-ID when you report it")
                await problem_answer(problem)(scope, receive, send)

    async def _answer_large(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._large >= MOST_LARGE:
            msg = f"{MOST_LARGE} large requests are under way; send this one again shortly"
            raise Unavailable(msg)
        self._large += 1
        try:
            await self._app(scope, await buffered(scope, receive), send)
        finally:
            self._large -= 1


def _route(bare: BareRoute | None, scope: Scope) -> str:
    """The template of what answered: there are few, and they hold nothing that somebody sent."""
    return bare.template if bare else getattr(scope.get("route"), "path", "unknown")


class _Answer:
    """Passes an answer on, with the correlation id among its headers; remembers its status (0: none was sent)."""

    def __init__(self, send: Send, correlation_id: str) -> None:
        self._send = send
        self._correlation_id = correlation_id.encode("ascii")
        self.status = 0
        self.is_stream = False

    @property
    def started(self) -> bool:
        return self.status != 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
            self.is_stream = any(
                name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers
            )
            headers += (REQUEST_ID, self._correlation_id), (CORRELATION_ID, self._correlation_id)
            message = {**message, "headers": headers}
        await self._send(message)


def check_address(scope: Scope) -> None:
    """PostgreSQL holds no NUL: refused here for every path and query. Raises InvalidInput."""
    if "\x00" in scope["path"]:
        msg = "the path must not hold NUL characters"
        raise InvalidInput(msg, field="path")
    if b"%00" in scope["query_string"] or b"\x00" in scope["query_string"]:
        msg = "the query must not hold NUL characters"
        raise InvalidInput(msg, field="query")


async def buffered(scope: Scope, receive: Receive) -> Receive:
    """The body read to its end, so that it is bounded before anything parses it, handed on by the returned callable.
    Raises PayloadTooLarge, and ClientDisconnect where the caller went away."""
    declared = Headers(scope=scope).get("content-length", "0")
    if scope["method"] in {"GET", "HEAD"}:
        return receive
    limit = MAX_BODY_OF.get(scope["path"], MAX_BODY)
    body = bytearray()
    more = True
    while more:
        if len(body) > limit or (declared.isdecimal() and int(declared[:20]) > limit):
            msg = f"the body is larger than {limit} bytes"
            raise PayloadTooLarge(msg)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if len(body) > limit:
        msg = f"the body is larger than {limit} bytes"
        raise PayloadTooLarge(msg)
    read = False

    async def again() -> Message:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    return again
