"""The part of the pass `attribution` that holds decisions and the tracking log against each other: an attribution
says how much of that log it saw, and repeats of each touch what it was decided by, in events that are sealed. The
tracking log is not: whoever cuts its end off, or changes a touch wherever it stands, is told of by the orders.

Touches of archived months (decision 14) are gone by right: a decision carries its evidence. What else of touches no
order names is looked at by `tracking_pass` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from colink.domain.attribution import touches_seen
from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.orders import OrderAttributed
from colink.domain.tracking import SeenTouch
from colink.projections.audit.part import Part
from colink.projections.audit.reading import Window, WindowReader
from colink.projections.engine import Connection
from colink.projections.touches import seen_touch

_TOUCHES_A_TRIP = 2_000
_REPEATED = (
    "kind",
    "creator_id",
    "occurred_at",
    "link_id",
    "campaign_id",
    "organization_id",
    "destination_host",
    "creator_customer_ref",
    "set_aside",
)
"""What a candidate repeats of its touch, beside the position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """The tracking log has positions up to `head`; those up to `archived` left it for the archive."""

    archived: int = 0
    head: int = 0


async def tracked(conn: Connection) -> Tracked:
    cursor = await conn.execute(
        "SELECT coalesce((SELECT max(last_position) FROM colink.tracking_archives), 0),"
        " coalesce((SELECT max(position) FROM colink.tracking_head), 0)"
    )
    [(archived, head)] = await cursor.fetchall()
    return Tracked(archived=archived, head=head)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """A touch that the attribution of an order names, at `position` of the commerce log."""

    position: int
    order_id: str
    touch: SeenTouch


class TouchCheck:
    """The attributions of a window. `checked` is counted where they are decided again. An event that cannot be read
    is a finding there, too."""

    def __init__(self, part: Part, known: Tracked) -> None:
        self._result = part.results[Pass.ATTRIBUTION]
        self._known = known

    def check(self, window: Window) -> None:
        trip: list[_Named] = []
        for named in self._named(window):
            trip.append(named)
            if len(trip) == _TOUCHES_A_TRIP:
                self._compare(window.reader, trip)
                trip = []
        if trip:
            self._compare(window.reader, trip)

    def _named(self, window: Window) -> Iterator[_Named]:
        elsewhere = PassResult(audit_pass=Pass.ATTRIBUTION)
        for position, event in window.events(window.rows, {OrderAttributed.TOPIC}, elsewhere):
            if not isinstance(event, OrderAttributed):
                continue
            order_id, seen_to = event.originator_id, event.attribution.tracking_position
            if seen_to > self._known.head:
                self._result.find(
                    Kind.DANGLING,
                    position,
                    order_id,
                    f"the attribution of {order_id} saw tracking events that are not in the tracking log any more",
                    recorded=self._known.head,
                    derived=seen_to,
                )
            for touch in touches_seen(event.attribution):
                yield _Named(position=position, order_id=order_id, touch=touch)

    def _compare(self, reader: WindowReader, trip: list[_Named]) -> None:
        rows = reader.rows(
            "SELECT touch_id, position, body FROM colink.touches WHERE touch_id = ANY(%s)",
            list({named.touch.details.id for named in trip}),
        )
        kept: dict[str, list[SeenTouch | None]] = {}
        for touch_id, position, body in rows:
            kept.setdefault(touch_id, []).append(_readable(position, body))
        for named in trip:
            found = kept.get(named.touch.details.id)
            if found is None:
                self._miss(named)
            for touch in found or ():
                if touch is not None:
                    self._compare_one(named, touch)

    def _miss(self, named: _Named) -> None:
        touch_id, place = named.touch.details.id, named.touch.position
        if place > self._known.archived:
            self._result.find(
                Kind.MISSING if place <= self._known.head else Kind.DANGLING,
                named.position,
                touch_id,
                f"the touch {touch_id}, tracking event {place}, by which {named.order_id} was decided, is not kept",
            )

    def _compare_one(self, named: _Named, kept: SeenTouch) -> None:
        sides = [("position", kept.position, named.touch.position)]
        sides += [(name, getattr(kept.details, name), getattr(named.touch.details, name)) for name in _REPEATED]
        for name, recorded, derived in sides:
            if recorded != derived:
                self._result.find(
                    Kind.CHANGED,
                    named.position,
                    named.touch.details.id,
                    f"{name} of the touch {named.touch.details.id} is not what {named.order_id} was decided by",
                    recorded=recorded,
                    derived=derived,
                )


def _readable(position: int, body: str) -> SeenTouch | None:
    """None for a damaged row, which the pass `tracking` finds."""
    try:
        return seen_touch(position, body)
    except msgspec.DecodeError:
        return None
