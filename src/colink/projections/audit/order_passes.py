"""Passes over orders: attribution, split and clearing of each are derived again from the log alone, and so is the row
that finds it.

A check verifies the order events of its window; what lies before them in the same streams is only followed, because
the window it lies in verifies it. So memory holds the orders of one window, however long the log is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from colink.domain.aggregates import Event
from colink.domain.audit.orders import OrderReplay
from colink.domain.audit.report import Kind, Pass, PassResult, new_results
from colink.domain.audit.terms import TermsBook
from colink.domain.order_decisions import (
    OrderHeld,
    OrderReattributed,
    OrderReleased,
    OrderSettled,
    OrderSettlementTakenBack,
)
from colink.domain.order_deliveries import (
    OrderFactsParked,
    OrderFactsRecorded,
    OrderPlaced,
    OrderRefundParked,
    OrderRefundRecorded,
    OrderUpdated,
)
from colink.domain.orders import OrderAttributed, OrderCleared, OrderSplit
from colink.projections import entries, orders  # noqa: F401 - they register the projectors used below
from colink.projections.audit.derivation import DerivationCheck
from colink.projections.audit.part import Part
from colink.projections.audit.reading import Window
from colink.projections.audit.rows import compare_rows, find_extra_rows
from colink.projections.engine import Connection
from colink.projections.inline import OrderRow, project

ORDER_TOPICS = frozenset(
    event.TOPIC
    for event in (
        OrderPlaced,
        OrderRefundParked,
        OrderUpdated,
        OrderRefundRecorded,
        OrderFactsParked,
        OrderFactsRecorded,
        OrderAttributed,
        OrderSplit,
        OrderCleared,
        OrderHeld,
        OrderReleased,
        OrderReattributed,
        OrderSettled,
        OrderSettlementTakenBack,
    )
)


def order_streams(window: Window, result: PassResult) -> Iterator[tuple[str, list[tuple[int, Event]]]]:
    """The events of each order in the window. One that cannot be read is a finding and left out."""
    for stream_id, rows in window.streams.items():
        if rows[0].topic in ORDER_TOPICS:
            yield stream_id, window.events(rows, ORDER_TOPICS, result)


class OrderCheck:
    """The passes `attribution`, `commission`, `split`, `refunds`, `clearing`; `derivation` is told the journals that
    must follow."""

    def __init__(self, part: Part, book: TermsBook, derivation: DerivationCheck | None) -> None:
        self._results = new_results() | dict(part.results)  # what nobody asked for is found in vain
        self._book = book
        self._derivation = derivation

    def check(self, window: Window) -> None:
        for stream_id, events in order_streams(window, self._results[Pass.SPLIT]):
            replay = OrderReplay(self._book, self._results)
            try:
                for _, event in window.earlier_events(stream_id):
                    replay.follow(event)
            except Exception:  # noqa: BLE001, S112 - what a damaged event provokes is found where it lies
                continue
            self._feed(replay, stream_id, events)
            if self._derivation is not None:
                self._derivation.expect(replay.journals())

    def _feed(self, replay: OrderReplay, stream_id: str, events: list[tuple[int, Event]]) -> None:
        for position, event in events:
            try:
                replay.feed(position, event)
            except Exception as error:  # noqa: BLE001 - what a damaged event provokes is what there is to report
                self._results[Pass.SPLIT].find(
                    Kind.UNREADABLE,
                    position,
                    stream_id,
                    f"{stream_id} cannot be replayed: {type(error).__name__}: {error}",
                )
                return


@dataclass(slots=True, kw_only=True)
class _OrderState:
    """What an order's row must say. Fields are the columns of colink.orders."""

    order_id: str
    organization_id: str | None = None
    store_id: str | None = None
    external_id: str | None = None
    placed_at: datetime | None = None
    creator_id: str | None = None
    claims: str | None = None
    clears_at: datetime | None = None
    created_position: int
    position: int

    def take(self, position: int, row: OrderRow) -> None:
        self.position = position
        self.organization_id = row.organization_id or self.organization_id
        self.store_id = row.store_id or self.store_id
        self.external_id = row.external_id or self.external_id
        self.placed_at = row.placed_at or self.placed_at
        if row.creator_id is not None:
            self.creator_id = row.creator_id or None
        if row.claims is not None:
            self.claims, self.clears_at = row.claims, row.clears_at


class OrderRowCheck:
    """The pass `order_rows`: the row of each order whose last event lies in the window."""

    def __init__(self, part: Part) -> None:
        self._result = part.results[Pass.ORDER_ROWS]

    def check(self, window: Window) -> None:
        states = {}
        for stream_id, events in order_streams(window, PassResult(audit_pass=Pass.ORDER_ROWS)):
            if stream_id not in window.later:
                state = _order_state([*window.earlier_events(stream_id), *events])
                if state is not None:
                    states[stream_id] = state
        compare_rows(window.reader, self._result, "orders", "order_id", states)


def _order_state(events: list[tuple[int, Event]]) -> _OrderState | None:
    state: _OrderState | None = None
    for position, event in events:
        for row in project(event):
            if not isinstance(row, OrderRow):
                continue
            if state is None:
                state = _OrderState(order_id=row.order_id, created_position=position, position=position)
            state.take(position, row)
    return state


async def check_extra_orders(conn: Connection, result: PassResult) -> None:
    await find_extra_rows(conn, result, "orders", "order_id", ORDER_TOPICS)
