"""The part of the pass `idempotency` that goes from the log to the keys: events name the idempotency key of the
command they came of as their cause, by its digest (`ports.cause_of_key`), so each such key is kept, with the last of
its events. Without its row the command, sent again, would run again.

Not named: keys of commands that changed nothing, keys under which a delivery was read again (its events name the
delivery), and those of events recorded before keys were named. Back, from keys to the log: `log_passes`.
"""

from __future__ import annotations

from colink.application.ports import KEYED, cause_of_key
from colink.domain.audit.report import Kind, Pass
from colink.projections.audit.part import Part
from colink.projections.audit.reading import Window


class KeyCheck:
    """Carries out where the first key is named. The events of a command lie together; it is looked at where they end.
    `checked` is counted on the way back."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._result = part.results[Pass.IDEMPOTENCY]

    def check(self, window: Window) -> None:
        last: dict[str, int] = {}
        for row in window.rows:
            if row.causation_id is not None and row.causation_id.startswith(KEYED):
                self._part.name_key_at(row.position)
                last[row.causation_id] = row.position
        if not last:
            return
        goes_on = window.reader.rows("SELECT causation_id FROM colink.events WHERE position = %s", window.last + 1)
        kept = window.reader.rows(
            "SELECT scope, key, position FROM colink.idempotency_keys WHERE position BETWEEN %s AND %s",
            window.first,
            window.last,
        )
        positions = {cause_of_key(scope, key): position for scope, key, position in kept}
        for cause, position in last.items():
            if positions.get(cause) != position and (cause,) not in goes_on:
                self._result.find(
                    Kind.MISSING,
                    position,
                    cause,
                    f"the idempotency key of the command that ended with event {position} is not kept with it",
                    recorded=positions.get(cause),
                    derived=position,
                )
