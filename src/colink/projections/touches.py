"""Clicks and views, found by id, by visitor, and by the place they came from. Rows of the tracking log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row

from colink.domain.tracking import SeenTouch, TouchDetails, TouchRecorded
from colink.projections.conditions import Where
from colink.projections.inline import TouchRow, projects


@projects(TouchRecorded)
def touch_recorded(event: TouchRecorded) -> Sequence[TouchRow]:
    touch = event.details
    return [
        TouchRow(
            touch_id=touch.id,
            kind=str(touch.kind),
            visitor_id=touch.visitor_id,
            link_id=touch.link_id,
            campaign_id=touch.campaign_id,
            creator_id=touch.creator_id,
            network_hash=touch.network_hash,
            occurred_at=touch.occurred_at,
            body=msgspec.json.encode(touch).decode(),
        )
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledTouch:
    """A touch's row; `body` is the JSON text of its details."""

    position: int
    body: str

    @property
    def seen(self) -> SeenTouch:
        return seen_touch(self.position, self.body)


def seen_touch(position: int, body: str) -> SeenTouch:
    return SeenTouch(position=position, details=msgspec.json.decode(body, type=TouchDetails))


async def list_touches(
    connection: AsyncConnection[TupleRow],
    *,
    creator_id: str | None = None,
    link_id: str | None = None,
    campaign_id: str | None = None,
    visitor_id: str | None = None,
    since: datetime | None = None,
    after: int | None = None,
    limit: int = 100,
) -> list[SeenTouch]:
    """Touches that fit everything given, in log order; `after` is the position of the last one seen."""
    where = Where()
    where.equals(creator_id=creator_id, link_id=link_id, campaign_id=campaign_id, visitor_id=visitor_id)
    if since is not None:
        where.add("occurred_at >= %(since)s", since=since)
    if after is not None:
        where.add("position > %(after)s", after=after)
    async with connection.cursor(row_factory=class_row(FiledTouch)) as cursor:
        await cursor.execute(
            f"select position, body from colink.touches{where} order by position limit %(limit)s",
            where.values | {"limit": limit},
        )
        return [touch.seen for touch in await cursor.fetchall()]
