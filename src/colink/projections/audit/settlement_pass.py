"""Settlements, for the pass `derivation`: each has its journal, each fee it states was told to its order, no order
was told a fee that no settlement states, and none gives back more of an order's fees than were taken before it.

All of it is one append, so nearly everything lies in one window; what its edge cuts off is looked up by stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from colink.domain.aggregates import Event
from colink.domain.audit.orders import ExpectedJournal
from colink.domain.audit.report import Kind, Pass
from colink.domain.errors import ColinkError
from colink.domain.facts import StatedFee
from colink.domain.ids import order_id
from colink.domain.ledger import JournalPosted
from colink.domain.order_deliveries import OrderFactsParked, OrderFactsRecorded
from colink.domain.postings import Draft
from colink.domain.settlements import (
    SettlementRecorded,
    check_gives_back_no_more_than_was_taken,
    facts_of,
    journal_of,
)
from colink.projections.audit.derivation import DerivationCheck
from colink.projections.audit.part import Part
from colink.projections.audit.reading import LogRow, Window

_FACTS = frozenset({OrderFactsParked.TOPIC, OrderFactsRecorded.TOPIC})
_SETTLEMENTS = frozenset({SettlementRecorded.TOPIC})
_ASKED_FROM = 2
"""Since which version of `settlement.recorded` what is given back was asked about; programs before took any fee."""
_Fees = dict[tuple[str, StatedFee], int]
"""Fees by the order they were told to, with the position of the event that says so."""


class SettlementCheck:
    """`derivation` is told the journals that must follow."""

    def __init__(self, part: Part, derivation: DerivationCheck) -> None:
        self._result = part.results[Pass.DERIVATION]
        self._derivation = derivation

    def check(self, window: Window) -> None:
        settlements = window.events(window.rows, _SETTLEMENTS, self._result)
        told = _told(window.events(window.rows, _FACTS, self._result))
        if not settlements and not told:
            return
        for position, event in settlements:
            self._derivation.expect(_journals(position, event))
        self._find_given_too_much(window, settlements)
        stated = _stated(settlements)
        self._result.checked += len(stated)
        self._find_untold(window, {fee: position for fee, position in stated.items() if fee not in told})
        self._find_unstated(window, {fee: position for fee, position in told.items() if fee not in stated})

    def _find_given_too_much(self, window: Window, settlements: Iterable[tuple[int, Event]]) -> None:
        asked = {row.position for row in window.rows if row.schema_version >= _ASKED_FROM}
        for position, event in settlements:
            if not isinstance(event, SettlementRecorded) or position not in asked:
                continue
            given_back = {fee.order_external_id for fee in event.details.fees if fee.amount < 0}
            if not given_back:
                continue
            self._result.checked += 1
            try:
                check_gives_back_no_more_than_was_taken(
                    event.details, _stated_before(window, position, event.details.store_id, given_back)
                )
            except ColinkError as error:
                self._result.find(
                    Kind.OVERDRAWN,
                    position,
                    event.originator_id,
                    f"{event.originator_id} gives back a fee that no statement took: {error.detail}",
                    recorded=[fee for fee in event.details.fees if fee.amount < 0],
                )

    def _find_untold(self, window: Window, missing: Mapping[tuple[str, StatedFee], int]) -> None:
        orders = sorted({order for order, _ in missing})
        rows = (
            window.reader.stored("stream_id = ANY(%s) AND topic = ANY(%s)", orders, sorted(_FACTS)) if orders else []
        )
        told = _told(_decoded(window, rows))
        for (order, fee), position in missing.items():
            if (order, fee) not in told:
                self._result.find(
                    Kind.MISSING,
                    position,
                    order,
                    f"{order} was not told the {fee.kind} fee that {fee.reference} states",
                    derived=fee,
                )

    def _find_unstated(self, window: Window, extra: Mapping[tuple[str, StatedFee], int]) -> None:
        references = sorted({fee.reference for _, fee in extra})
        rows = window.reader.stored("stream_id = ANY(%s) AND version = 1", references) if references else []
        stated = _stated(_decoded(window, rows))
        for (order, fee), position in extra.items():
            if (order, fee) not in stated:
                self._result.find(
                    Kind.EXTRA,
                    position,
                    order,
                    f"{order} was told a {fee.kind} fee of {fee.reference}, which no settlement states",
                    recorded=fee,
                )


def _decoded(window: Window, rows: Iterable[LogRow]) -> list[tuple[int, Event]]:
    """Those that can be read; others are findings of the windows they lie in."""
    events = []
    for row in rows:
        try:
            event = window.reader.source.decode(row.stream_id, row.version, row.topic, row.payload)
        except Exception:  # noqa: BLE001, S112 - found where it lies
            continue
        events.append((row.position, event))
    return events


def _stated_before(
    window: Window, position: int, store_id: str, external_ids: Iterable[str]
) -> dict[str, list[StatedFee]]:
    """The fees that the orders were told before the position. They may lie anywhere before, so they are read by
    stream; few settlements give back anything."""
    names = {order_id(store_id, external_id): external_id for external_id in external_ids}
    rows = window.reader.stored("stream_id = ANY(%s) AND topic = ANY(%s)", sorted(names), sorted(_FACTS))
    stated: dict[str, list[StatedFee]] = {}
    for order, fee in _told(_decoded(window, [row for row in rows if row.position < position])):
        stated.setdefault(names[order], []).append(fee)
    return stated


def _told(events: Iterable[tuple[int, Event]]) -> _Fees:
    return {
        (event.originator_id, fee): position
        for position, event in events
        if isinstance(event, OrderFactsParked | OrderFactsRecorded)
        for fee in event.facts.fees
    }


def _stated(events: Iterable[tuple[int, Event]]) -> _Fees:
    return {
        (order_id(event.details.store_id, external_id), fee): position
        for position, event in events
        if isinstance(event, SettlementRecorded)
        for external_id, facts in facts_of(event.details).items()
        for fee in facts.fees
    }


def _journals(position: int, event: Event) -> list[ExpectedJournal]:
    if not isinstance(event, SettlementRecorded):
        return []
    return [
        ExpectedJournal(
            journal_id=posted.originator_id,
            position=position,
            draft=Draft(kind=posted.kind, effective_at=posted.effective_at, postings=posted.postings),
        )
        for posted in journal_of(event).new_events()
        if isinstance(posted, JournalPosted)
    ]
