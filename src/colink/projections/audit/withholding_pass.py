"""The tax of payouts, for the pass `payouts`: each is what the settings in the log and the rounding rule give.

The settings of the payees of a window are looked up by key; there are few of each.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress

from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.audit.withholding import begins, tax_steps
from colink.domain.payouts import PayoutRequested
from colink.domain.withholding import WithholdingDetails, WithholdingSet, withholding_id
from colink.projections.audit.part import Part
from colink.projections.audit.payout_passes import PAYOUT_TOPICS
from colink.projections.audit.reading import Window


class TaxCheck:
    """What was withheld of payouts."""

    def __init__(self, part: Part) -> None:
        self._result = part.results[Pass.PAYOUTS]

    def check(self, window: Window) -> None:
        payouts = []
        for stream_id, rows in window.streams.items():
            if rows[0].topic not in PAYOUT_TOPICS:
                continue
            unread = PassResult(audit_pass=Pass.PAYOUTS)  # PayoutCheck finds those that cannot be read
            events = [*window.earlier_events(stream_id), *window.events(rows, PAYOUT_TOPICS, unread)]
            if begins(events) and isinstance(first := events[0][1], PayoutRequested):
                payouts.append((rows[0].position, withholding_id(first.payee_id, first.currency), events))
        settings = _settings(window, {id_ for _, id_, _ in payouts})
        for since, id_, events in payouts:
            for position, event, possible in tax_steps(events, settings[id_]):
                if position >= since and event.tax not in possible:
                    self._result.find(
                        Kind.DERIVED_DIFFERENTLY,
                        position,
                        event.originator_id,
                        f"{event.TOPIC} at {position} withholds what the settings of {id_} did not say",
                        recorded=event.tax,
                        derived=possible[0],
                    )


def _settings(window: Window, ids: set[str]) -> dict[str, list[tuple[int, WithholdingDetails]]]:
    settings: dict[str, list[tuple[int, WithholdingDetails]]] = defaultdict(list)
    if not ids:
        return settings
    for row in window.reader.stored("stream_id = ANY(%s) AND position < %s", sorted(ids), window.last):
        with suppress(Exception):  # one that cannot be read is found by the pass over documents
            event = window.reader.source.decode(row.stream_id, row.version, row.topic, row.payload)
            if isinstance(event, WithholdingSet):
                settings[row.stream_id].append((row.position, event.details))
    return settings
