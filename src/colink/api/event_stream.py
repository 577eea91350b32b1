"""Following the log as server-sent events: one per event, its position as `id`, so that a client that lost its
connection goes on by `Last-Event-ID` where it stood.

Before each page, and every two seconds while there is none, the caller's key is looked at again: when it was revoked
or has expired, the stream ends.

A page is read when the one before it is sent, so a slow client costs a page of memory and a fast one no more. Who
hears nothing gets a comment now and then, which tells both ends that the other is there.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import msgspec
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from psycopg import Error
from psycopg_pool import PoolTimeout

from colink.domain.errors import InvalidInput
from colink.projections.log_tail import LogTail

HEARTBEAT = 15.0  # seconds
RECHECK = 2.0  # seconds between two looks at whether the caller's key still stands
PAGE = 200  # events
RETRY = 2_000  # milliseconds until a client should come again
STREAM = "text/event-stream"
LAST_EVENT_ID = "Last-Event-ID"
_POSITION = re.compile(r"[0-9]{1,18}", re.ASCII)
_encoder = msgspec.json.Encoder()

ReadPage = Callable[[int], Awaitable[Sequence[dict[str, Any]]]]
"""Up to PAGE events after a position, in order, as the caller may see them."""


def wants_stream(accept: str | None) -> bool:
    """Whether a client names server-sent events among what it accepts."""
    return any(part.partition(";")[0].strip().lower() == STREAM for part in (accept or "").split(","))


def last_event_id(value: str | None) -> int | None:
    """The position a client has seen. Raises InvalidInput for what we gave nobody."""
    if value is None or not value.strip():
        return None
    if not _POSITION.fullmatch(value.strip()):
        msg = "must be the id of an event of this stream: a log position"
        raise InvalidInput(msg, field=LAST_EVENT_ID)
    return int(value)


StillStands = Callable[[], Awaitable[bool]]
"""Whether the caller may hear more."""


async def stream(
    tail: LogTail, read_page: ReadPage, still_stands: StillStands, *, after: int
) -> AsyncIterator[bytes]:
    """The events after a position, for ever: until the client goes away, its key ends, or the process. When the
    database cannot be read the stream ends, and the client comes again."""
    async with tail.followed():
        yield format_sse_event(comment="the log follows", retry=RETRY)
        while not tail.stopped:
            seen = tail.head
            if not await still_stands():
                return
            try:
                page = await read_page(after)
            except (Error, PoolTimeout):
                return
            if page:
                after = page[-1]["position"]
                yield b"".join(
                    format_sse_event(data_str=_encoder.encode(event).decode(), id=str(event["position"]))
                    for event in page
                )
            if len(page) < PAGE and not await _waited(tail, seen, still_stands):
                yield KEEPALIVE_COMMENT


async def _waited(tail: LogTail, seen: int, still_stands: StillStands) -> bool:
    """Wait for what is to be done next; false where that is a heartbeat."""
    step = min(RECHECK, HEARTBEAT)
    for _ in range(round(HEARTBEAT / step)):
        if await tail.beyond(seen, at_most=step) or not await still_stands():
            return True
    return False
