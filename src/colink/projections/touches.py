"""Clicks and views, found by id, by visitor, and by the place they came from. Rows of the tracking log."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from colink.domain.tracking import SeenTouch, TouchDetails, TouchRecorded
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


def seen_touch(position: int, body: str) -> SeenTouch:
    """Of a row; `body` is the JSON text of its details."""
    return SeenTouch(position=position, details=msgspec.json.decode(body, type=TouchDetails))
