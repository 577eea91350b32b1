"""The commerce log, in order. Who sees everything gets payloads as recorded, but for the digests of API keys, which
stay in the log and are told to nobody; a seller gets those of its organisation, without keyed hashes and without the
touches that turned out to be other sellers' business."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse
from starlette.responses import Response

from colink.api.answers import json_answer
from colink.api.auth import Permission
from colink.api.event_stream import LAST_EVENT_ID, PAGE, last_event_id, stream, wants_stream
from colink.api.pages import Page, numbers_after, page
from colink.api.session import Session, may
from colink.application.representations import HIDDEN
from colink.domain.attribution import Outcome
from colink.projections.log_pages import LoggedEvent, list_events

router = APIRouter(prefix="/v1", tags=["events"])


@router.get("/events", responses={200: {"content": {"text/event-stream": {}}}})
async def read_events(
    request: Request,
    session: Annotated[Session, Depends(may(Permission.READ_EVENTS))],
    page: Annotated[Page, Depends(page)],
    after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
    seen: Annotated[str | None, Header(alias=LAST_EVENT_ID)] = None,
) -> Response:
    """Events after a log position. `next_cursor` leads through what is there; `after` of the answer is the position
    to go on from later. `type` is the stable name of what happened, `schema_version` the payload's shape.

    With `Accept: text/event-stream` the log is followed: server-sent events whose `id` is the position and whose
    `data` is an item of the list; `Last-Event-ID` goes on after that position, before any `after`. It ends with the
    key."""
    cursor = numbers_after(page, count=1)
    after = cursor[0] if cursor else after
    whole = session.within_organization is None
    if wants_stream(request.headers.get("accept")):
        resumed = last_event_id(seen)
        return _follow(session, after=after if resumed is None else resumed)
    async with session.services.pool.connection() as conn:
        events = await list_events(
            conn, organization_id=session.within_organization, after=after, limit=page.limit + 1
        )
    answer = page.answer(
        events, key=lambda event: (event.position,), show=lambda event: _event_view(event, whole=whole)
    )
    shown = answer["items"]
    return json_answer(answer | {"after": shown[-1]["position"] if shown else after})


def _follow(session: Session, *, after: int) -> Response:
    services, whole = session.services, session.within_organization is None
    services.tail.check_room()

    async def read_page(position: int) -> list[dict[str, Any]]:
        async with services.pool.connection() as conn:
            events = await list_events(conn, organization_id=session.within_organization, after=position, limit=PAGE)
        return [_event_view(event, whole=whole) for event in events]

    # Neither a cache nor a proxy may keep back what has just happened.
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Vary": "Accept"}
    return EventSourceResponse(stream(services.tail, read_page, session.still_stands, after=after), headers=headers)


def _event_view(event: LoggedEvent, *, whole: bool) -> dict[str, Any]:
    recorded = event.payload.encode()
    return {
        "position": event.position,
        "stream_id": event.stream_id,
        "version": event.version,
        "type": event.topic,
        "schema_version": event.schema_version,
        "organization_id": event.organization_id,
        "recorded_at": event.recorded_at,
        "actor": event.actor,
        "correlation_id": event.correlation_id,
        "causation_id": event.causation_id,
        "payload": msgspec.Raw(recorded) if whole else _of_the_seller(msgspec.json.decode(recorded)),
    }


def _of_the_seller(value: Any) -> Any:
    """A payload, or a part of it, without what is hidden from a seller."""
    if isinstance(value, list):
        return [_of_the_seller(part) for part in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _of_the_seller(
            [candidate for candidate in part if not _is_foreign(candidate)] if name == "candidates" else part
        )
        for name, part in value.items()
        if name not in HIDDEN
    }


def _is_foreign(candidate: dict[str, Any]) -> bool:
    """`Candidate.is_foreign`, of one as recorded."""
    return candidate["kind"] != Outcome.COUPON and candidate.get("window_hours") is None
