"""The part of a touch that reports count, and whether it does."""

from __future__ import annotations

from datetime import datetime

import msgspec


class _Details(msgspec.Struct, gc=False):
    kind: str
    creator_id: str
    occurred_at: datetime
    link_id: str | None = None
    campaign_id: str | None = None
    organization_id: str | None = None
    destination_host: str | None = None
    set_aside: str | None = None
    repeat: bool = False


class TouchPart(msgspec.Struct, gc=False):
    """Of `TouchRecorded`."""

    details: _Details


def counts(touch: _Details) -> bool:
    """Whether a touch is counted (semantics section 3)."""
    return touch.set_aside is None and not touch.repeat
