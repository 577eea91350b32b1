"""Following links and showing views: `GET /l/{code}` and `GET /v1/views/{slug}.gif`, bare ASGI beside FastAPI.

A click or view is durable before the shopper is answered. A click that cannot be recorded now (the queue is full, the
database is away) sends the shopper on all the same, without a click id: a sale uncredited is less of a loss than no
sale, and it is counted and logged. A view is an image nobody waits for: 503 with `Retry-After`.
An unknown code, slug or creator is a 404 problem, so that a mistyped page is noticed when it is made.

Every answer is `no-store`: a cached redirect would hand one click id to many.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from urllib.parse import parse_qs

import structlog
from psycopg import OperationalError
from psycopg_pool import PoolTimeout
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from colink.api.answers import problem_answer
from colink.api.errors import MethodNotAllowed
from colink.application.ports import Clock, CommandBus, IdFactory
from colink.application.track import (
    CrawlerList,
    SaltSource,
    TrackingLookups,
    network_hashes,
    record_click,
    record_view,
)
from colink.domain.errors import ColinkError, ConcurrentUpdate, InvalidInput, NotFound, Unavailable
from colink.domain.tracking import SetAside, destination_with, set_aside

_log = structlog.get_logger(__name__)

VISITOR_COOKIE = "colink_vid"
VISITOR_SECONDS = 400 * 24 * 3600  # the longest that browsers keep a cookie (RFC 6265bis)

_LINK = re.compile(r"/l/([A-Za-z0-9_-]{1,64})")
_VIEW = re.compile(r"/v1/views/([A-Za-z0-9_.-]{1,200})\.gif")
_VISITOR = re.compile(r"vis_[A-Za-z0-9-]{8,64}")
_REFERENCE = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_PURPOSE_HEADERS = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_GIF = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c000000000100010000020144003b")


def _uncounted() -> None:
    """Counts nothing."""


class TrackingRoutes:
    """An ASGI application for the paths that `serves` names.

    public_url: where shoppers reach us; the visitor cookie is `Secure` where that is https. forwarded_hops: how many
    proxies of ours stand in front; the caller's address is then the last but so many of X-Forwarded-For. With 0, the
    default, that header is not believed: anyone can write it.
    """

    def __init__(
        self,
        *,
        bus: CommandBus,
        lookups: TrackingLookups,
        salts: SaltSource,
        crawlers: CrawlerList,
        ids: IdFactory,
        clock: Clock,
        public_url: str,
        forwarded_hops: int = 0,
        unrecorded: Callable[[], None] = _uncounted,
    ) -> None:
        self._bus = bus
        self._lookups = lookups
        self._salts = salts
        self._crawlers = crawlers
        self._ids = ids
        self._clock = clock
        self._secure = public_url.lower().startswith("https://")
        self._forwarded_hops = forwarded_hops
        self._unrecorded = unrecorded

    @staticmethod
    def serves(path: str) -> bool:
        return path.startswith(("/l/", "/v1/views/"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._answer(scope)
        except (OperationalError, PoolTimeout):
            response = problem_answer(Unavailable("the database cannot be reached; nothing was recorded"))
        except ColinkError as error:
            response = problem_answer(error)
            if isinstance(error, MethodNotAllowed):
                response.headers["Allow"] = "GET, HEAD"
        response.headers["Cache-Control"] = "no-store"
        await response(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response:
        link, view = _LINK.fullmatch(scope["path"]), _VIEW.fullmatch(scope["path"])
        if link is None and view is None:
            msg = "there is no such link"
            raise NotFound(msg)
        if scope["method"] not in {"GET", "HEAD"}:
            msg = "links and views are read with GET"
            raise MethodNotAllowed(msg)
        if link is not None:
            return await self._follow(link[1], scope)
        return await self._show(view[1] if view else "", scope)

    async def _follow(self, code: str, scope: Scope) -> Response:
        link = await self._lookups.link(code)
        if link is None:
            msg = f"there is no link {code!r}"
            raise NotFound(msg)
        request = _TouchRequest(scope, crawlers=self._crawlers, ids=self._ids)
        click_id = self._ids("clk")
        try:
            await self._bus.submit(
                record_click(
                    link,
                    click_id=click_id,
                    at=self._clock.now(),
                    visitor_id=request.visitor_id,
                    set_aside=request.set_aside,
                    network_hashes=await self._hashes(request),
                )
            )
        except (Unavailable, ConcurrentUpdate, OperationalError, PoolTimeout) as error:
            _log.warning("a click was not recorded", link=link.id, error=str(error))
            self._unrecorded()
            return Response(status_code=302, headers={"Location": destination_with(link, None)})
        response = Response(status_code=302, headers={"Location": destination_with(link, click_id)})
        return self._remembering(request, response)

    async def _show(self, slug: str, scope: Scope) -> Response:
        reference = parse_qs(scope["query_string"].decode("latin-1")).get("creator", [""])[0]
        if not _REFERENCE.fullmatch(reference):
            msg = "say whose view this is: ?creator= and the id or handle of a creator"
            raise InvalidInput(msg, field="creator")
        campaign, creator = await self._lookups.campaign(slug), await self._lookups.creator(reference)
        if campaign is None or creator is None:
            msg = f"there is no campaign {slug!r}" if campaign is None else f"there is no creator {reference!r}"
            raise NotFound(msg, field="campaign_slug" if campaign is None else "creator")
        request = _TouchRequest(scope, crawlers=self._crawlers, ids=self._ids)
        await self._bus.submit(
            record_view(
                campaign,
                creator,
                view_id=self._ids("viw"),
                at=self._clock.now(),
                visitor_id=request.visitor_id,
                set_aside=request.set_aside,
                network_hashes=await self._hashes(request),
            )
        )
        return self._remembering(request, Response(_GIF, media_type="image/gif"))

    async def _hashes(self, request: _TouchRequest) -> tuple[str, ...]:
        if request.set_aside is not None:
            return ()
        return network_hashes(request.address(self._forwarded_hops), await self._salts.salts(self._clock.now()))

    def _remembering(self, request: _TouchRequest, response: Response) -> Response:
        """Every touch of a person renews the visitor cookie; programs get none."""
        if request.visitor_id is not None and request.set_aside is None:
            response.set_cookie(
                VISITOR_COOKIE,
                request.visitor_id,
                max_age=VISITOR_SECONDS,
                path="/",
                secure=self._secure,
                httponly=True,
                samesite="lax",
            )
        return response


class _TouchRequest:
    """Who is asking: person or program, known visitor or new, and from where."""

    def __init__(self, scope: Scope, *, crawlers: CrawlerList, ids: IdFactory) -> None:
        self._scope = scope
        self._headers = Headers(scope=scope)
        agent = self._headers.get("user-agent", "")
        self.set_aside: SetAside | None = set_aside(
            method=scope["method"],
            user_agent=agent,
            purposes=self._all(_PURPOSE_HEADERS),
            is_bot=crawlers.is_bot(agent),
        )
        known = cookie_parser(self._headers.get("cookie", "")).get(VISITOR_COOKIE, "")
        self.visitor_id: str | None = known if _VISITOR.fullmatch(known) else None
        if self.visitor_id is None and self.set_aside is None:
            self.visitor_id = ids("vis")

    def address(self, forwarded_hops: int) -> str | None:
        if forwarded_hops:
            forwarded = [part.strip() for value in self._all(["x-forwarded-for"]) for part in value.split(",")]
            if len(forwarded) >= forwarded_hops:
                return forwarded[-forwarded_hops]
        client = self._scope.get("client")
        return client[0] if client else None

    def _all(self, names: Iterable[str]) -> list[str]:
        return [value for name in names for value in self._headers.getlist(name)]
