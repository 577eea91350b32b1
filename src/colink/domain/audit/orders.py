"""One order derived again from its events: attribution, split, clearing and the journals that must have followed.

The replay trusts nothing an event says about a decision: it makes the decision again from the recorded inputs (the
deliveries merged so far, the touches a decision looked at, the terms that stood when it was first made) and compares.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass

from colink.domain.aggregates import Event
from colink.domain.attribution import rederive
from colink.domain.audit.decisions import check_decision
from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.audit.splits import compare_splits
from colink.domain.audit.terms import TermsBook
from colink.domain.ids import order_id
from colink.domain.order_decisions import (
    OrderHeld,
    OrderReattributed,
    OrderReleased,
    OrderSettled,
    OrderSettlementTakenBack,
)
from colink.domain.order_deliveries import OrderFactsParked, OrderPlaced, OrderRefundParked, OrderUpdated
from colink.domain.orders import Order, OrderAttributed, OrderCleared, OrderSplit
from colink.domain.postings import Draft, journals_between
from colink.domain.split import Split
from colink.domain.tiers import RevenueNotCounted
from colink.domain.value import replace


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedJournal:
    """A journal that follows from the event at `position`. `beside`: its cause, what it corrects and its reason,
    where the event says them."""

    journal_id: str
    position: int
    draft: Draft
    beside: tuple[str | None, str | None, str | None] | None = None


class OrderReplay:
    """Feed it the events of one stream in order; it writes what it finds into the results."""

    def __init__(self, book: TermsBook, results: Mapping[Pass, PassResult]) -> None:
        self._book = book
        self._results = results
        self._order: Order | None = None
        self._journals: list[ExpectedJournal] = []

    def follow(self, event: Event) -> None:
        """Take over an event that is verified elsewhere. Raises whatever an event that fits no order deserves."""
        self._order = event.mutate(self._order)

    def feed(self, position: int, event: Event) -> None:
        """Verify an event. Raises whatever an event that fits no order deserves."""
        order = self._order
        self._check_origin(position, event)
        if order is not None:
            match event:
                case OrderAttributed():
                    self._check_attribution(position, order, event)
                case OrderSplit():
                    self._check_split(position, order, event)
                case OrderCleared():
                    self._check_clearing(position, order, event)
                case (
                    OrderHeld() | OrderReleased() | OrderReattributed() | OrderSettled() | OrderSettlementTakenBack()
                ):
                    check_decision(self._results, position, order, event)
                case _:
                    pass
        self._order = event.mutate(order)

    def journals(self) -> list[ExpectedJournal]:
        """All journals that must have followed from the events verified so far."""
        return self._journals

    def _today(self, order: Order, position: int) -> int:
        """Where the terms stood when the event at `position` was the first to decide by them."""
        return self._book.moved_before(order.organization_id, position)

    def _expect(self, position: int, event: Event, drafts: Iterable[Draft]) -> None:
        self._journals += [
            ExpectedJournal(
                journal_id=f"jrn_{event.originator_id}.{event.originator_version}.{number}",
                position=position,
                draft=draft,
            )
            for number, draft in enumerate(drafts)
        ]

    def _check_origin(self, position: int, event: Event) -> None:
        """What is told is told of the order whose stream it is, and of a store of the organisation that is named."""
        order = self._order
        if order is not None:
            own = order.external_id
        elif isinstance(event, OrderPlaced | OrderRefundParked | OrderFactsParked):
            own = event.external_id
            store = self._book.store(event.organization_id, event.store_id)
            named = order_id(event.store_id, own), event.platform
            if store is None or named != (event.originator_id, store.platform):
                self._find_foreign(position, event, recorded=named, derived=(event.originator_id, store))
        else:
            return
        if isinstance(event, OrderPlaced | OrderUpdated) and event.snapshot.external_id != own:
            self._find_foreign(position, event, recorded=event.snapshot.external_id, derived=own)

    def _find_foreign(self, position: int, event: Event, *, recorded: object, derived: object) -> None:
        self._results[Pass.SPLIT].find(
            Kind.DERIVED_DIFFERENTLY,
            position,
            event.originator_id,
            f"{event.TOPIC} at {position} tells of another order than {event.originator_id}",
            recorded=recorded,
            derived=derived,
        )

    def _check_attribution(self, position: int, order: Order, event: OrderAttributed) -> None:
        result = self._results[Pass.ATTRIBUTION]
        result.checked += 1
        recorded, first = event.attribution, order.attribution
        if not order.needs_attribution():
            result.find(
                Kind.DERIVED_DIFFERENTLY,
                position,
                order.id,
                f"{order.id} was attributed at {position}, though {_why_it_stands(order)}",
                recorded=recorded.creator_id,
                derived=None if first is None else first.creator_id,
            )
        terms = self._book.of(order.organization_id)
        # However often it is made again, a decision knows what the first one knew.
        knowing = replace(
            recorded,
            terms_position=self._today(order, position) if first is None else first.terms_position,
            tracking_position=recorded.tracking_position if first is None else first.tracking_position,
        )
        again = rederive(knowing, store=terms.stores[order.store_id], terms=terms)
        # The keys and the time must be those of the deliveries, not whatever the decision says they were.
        again = replace(again, keys=order.merged.keys, placed_at=order.merged.placed_at or again.placed_at)
        if recorded != again:
            result.find(
                Kind.DERIVED_DIFFERENTLY,
                position,
                order.id,
                f"the attribution of {order.id} does not follow from its evidence",
                **_differing(recorded, again),
            )

    def _check_split(self, position: int, order: Order, event: OrderSplit) -> None:
        # A first split pins the terms that stood when it was recorded; later ones keep them.
        pinned_at = self._today(order, position) if order.terms is None else order.terms.position
        terms = self._book.of(order.organization_id).known_at(pinned_at)
        drafts = journals_between(
            order.split, event.split, accounts=order.accounts(event.terms), times=order.change_times()
        )
        self._expect(position, event, drafts)
        if order.terms is None:  # whether cuts leave it alone is what the program of then pinned
            order = copy(order)
            order.keeps_rates = event.terms.keeps_rates
        try:
            derived = order.next_split(terms.with_revenues(event.split.revenues))
        except RevenueNotCounted as missing:
            self._results[Pass.COMMISSION].find(
                Kind.MISSING,
                position,
                order.id,
                f"{order.id} is served by tiers, and its split does not rest on {missing.key.id}",
                recorded=event.split.revenues,
                derived=missing.key.id,
            )
            return
        if derived is not None:
            derived = _as_said_then(derived, event.split, before=order.split)
        compare_splits(
            self._results,
            position,
            order.id,
            recorded=(event.terms, event.split),
            derived=(order.pinned_terms(terms), derived),
        )

    def _check_clearing(self, position: int, order: Order, event: OrderCleared) -> None:
        result = self._results[Pass.CLEARING]
        clearing = order.next_clearing()
        if clearing is not None and event.claims != clearing.claims:
            before = order.next_clearing(as_before=True)
            clearing = before if before is not None and event.claims == before.claims else clearing
        if clearing is None:
            result.find(Kind.DERIVED_DIFFERENTLY, position, order.id, f"{order.id} was cleared with nothing due")
            return
        result.checked += 1
        derived = dataclasses.replace(
            event, due_at=clearing.due_at, claims=clearing.claims, clears_at=clearing.clears_at
        )
        if event != derived or event.due_at > event.timestamp:
            result.find(
                Kind.DERIVED_DIFFERENTLY,
                position,
                order.id,
                f"the clearing of {order.id} does not follow from what was due then",
                **_differing(event, derived),
            )
        self._expect(position, event, [clearing.draft])


def _why_it_stands(order: Order) -> str:
    """Why whom the order is credited to is not decided again."""
    if order.set_by_hand is not None:
        return "it was credited by hand"
    return "something of it had cleared" if order.has_cleared else "nothing new was told of it"


def _as_said_then(derived: Split, recorded: Split, *, before: Split | None) -> Split:
    """Without what the program that recorded it did not say yet. Who said it once goes on."""
    if recorded.held_lines is None and (before is None or before.held_lines is None):
        derived = replace(derived, held_lines=None)
    if recorded.waits_for_seller is None and (before is None or before.waits_for_seller is None):
        derived = replace(derived, waits_for_seller=None)
    return derived


def _differing(recorded: object, derived: object) -> dict[str, object]:
    """The fields that differ, on both sides."""
    if derived is None:
        return {"recorded": recorded, "derived": None}
    if not hasattr(recorded, "__dict__"):
        return {"recorded": recorded, "derived": derived}
    names = [name for name in vars(recorded) if getattr(recorded, name) != getattr(derived, name, None)]
    return {
        "recorded": {name: getattr(recorded, name) for name in names},
        "derived": {name: getattr(derived, name, None) for name in names},
    }
