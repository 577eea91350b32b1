"""What says when it decided, for the pass `clearing`: money is due by the time that an event says of itself, so that
time must be true. It cannot lie after the event was recorded.

Both times come from the clock of the program that decided: it reads it to decide, and again to append, and the log
takes no time that lies before the last one. So a clock that is moved (a demo, a simulation) moves both, and only one
that is set back in between makes an event seem later than its record. Who decided by a clock that was wrong all along
recorded wrong times on both sides; no log tells that by itself.
"""

from __future__ import annotations

from datetime import timedelta

from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.orders import OrderCleared
from colink.domain.true_ups import TrueUpCleared
from colink.projections.audit.part import Part
from colink.projections.audit.reading import Window, moment_of

SET_BACK = timedelta(minutes=5)
"""By how much a clock may be set back between a decision and its append. Machines that keep time are far below it."""
_DECIDED_BY_TIME = frozenset({OrderCleared.TOPIC, TrueUpCleared.TOPIC})


class ClockCheck:
    """Of clearings of orders and of true-ups."""

    def __init__(self, part: Part) -> None:
        self._result = part.results[Pass.CLEARING]

    def check(self, window: Window) -> None:
        unread = PassResult(audit_pass=Pass.CLEARING)  # one that cannot be read is found by the pass over its stream
        for row in window.rows:
            if row.topic not in _DECIDED_BY_TIME:
                continue
            event, recorded_at = window.event(row, unread), moment_of(row.recorded_at)
            if event is not None and event.timestamp > recorded_at + SET_BACK:
                self._result.find(
                    Kind.DERIVED_DIFFERENTLY,
                    row.position,
                    row.stream_id,
                    f"{row.topic} at {row.position} was decided by a time after it was recorded: what it cleared may"
                    " not have been due",
                    recorded=event.timestamp,
                    derived=f"not after {recorded_at}",
                )
