"""Record what a store says about an order: the merge, the attribution, the split and its journals, in one append.

Deliveries are at-least-once, late and unordered, and this command may be decided several times: it computes the
target from everything known and posts target minus posted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from colink.application.ports import Decision, Delivery, Facts, Needs, Request, TermsUnchanged
from colink.application.tiers import by_tiers
from colink.application.true_ups import has_cleared_together
from colink.domain.aggregates import Event
from colink.domain.attribution import decide_attribution, no_touch_from, touches_seen
from colink.domain.facts import OrderFacts
from colink.domain.ids import order_id
from colink.domain.ledger import Journal
from colink.domain.orders import Order
from colink.domain.organizations import StoreDetails
from colink.domain.postings import Draft
from colink.domain.snapshots import OrderSnapshot, Refund
from colink.domain.terms import Terms


@dataclass(frozen=True, kw_only=True)
class StandaloneRefund:
    """A refund that came in a delivery of its own, with the platform's id of its order. `body_digest`: SHA-256 hex of
    the delivery's body."""

    order_external_id: str
    refund: Refund
    body_digest: str | None = None


@dataclass(frozen=True, kw_only=True)
class StandaloneFacts:
    """Facts that came in a delivery or statement of their own, with the platform's id of their order. `body_digest`:
    SHA-256 hex of the delivery's body, None of a statement."""

    order_external_id: str
    facts: OrderFacts
    body_digest: str | None = None


News = OrderSnapshot | StandaloneRefund | StandaloneFacts


def order_of(store: StoreDetails, news: News) -> str:
    """The id of the order that a store tells of."""
    return order_id(store.id, news.external_id if isinstance(news, OrderSnapshot) else news.order_external_id)


@dataclass(frozen=True, kw_only=True)
class RecordOrder(Request):
    """`news` is what the delivery tells; `delivery` its raw form, kept in the inbox by the same append."""

    store: StoreDetails
    news: News
    delivery: Delivery | None = None

    @property
    def order_id(self) -> str:
        return order_of(self.store, self.news)

    def needs(self) -> Needs:
        snapshot = self.news if isinstance(self.news, OrderSnapshot) else None
        return Needs(
            streams=(self.order_id,),
            terms_of=self.store.organization_id,
            touches_for=snapshot.keys if snapshot else None,
            touches_before=no_touch_from(snapshot.placed_at) if snapshot else None,
        )

    def decide(self, facts: Facts) -> Decision:
        order = self._receive(facts)
        today = facts.terms()
        decides_by_today = order.attribution is None or order.terms is None
        if order.needs_attribution() and not has_cleared_together(facts, order):
            self._attribute(order, facts, today)
        # The terms of the first split serve the order for ever (semantics section 4).
        terms = today.known_at(order.terms.position) if order.terms else today
        drafts, tiers = by_tiers(facts, terms, lambda terms: order.resplit(terms, at=facts.now))
        events = [*tiers, *order_events(order, drafts, at=facts.now)]
        guard = TermsUnchanged(organization_id=self.store.organization_id, position=today.position)
        return Decision(
            answer={"status": "accepted", "order_id": order.id},
            events=events,
            organization_id=self.store.organization_id,
            guards=(guard,) if events and decides_by_today else (),
            delivery=self.delivery,
        )

    def _receive(self, facts: Facts) -> Order:
        return receive(self.news, facts.aggregate(Order, self.order_id), store=self.store, at=facts.now)

    def _attribute(self, order: Order, facts: Facts, terms: Terms) -> None:
        """Decide with what was known when the order was first decided: later touches and coupons do not count."""
        first = order.attribution
        if first is not None:
            terms = terms.known_at(first.terms_position)
        touches = list(facts.touches())
        tracking_position = facts.tracking_position()
        if first is not None:
            tracking_position = first.tracking_position
            known = {touch.details.id for touch in touches}
            touches += [touch for touch in touches_seen(first) if touch.details.id not in known]
        placed_at = order.merged.placed_at
        if placed_at is None:
            return
        order.attribute(
            decide_attribution(
                keys=order.merged.keys,
                placed_at=placed_at,
                store=self.store,
                touches=touches,
                tracking_position=tracking_position,
                terms=terms,
            ),
            at=facts.now,
        )


def receive(news: News, order: Order | None, *, store: StoreDetails, at: datetime) -> Order:
    """The order with the news merged in; a new one where there is none."""
    if order is not None:
        match news:
            case StandaloneRefund():
                order.receive_refund(news.refund, body_digest=news.body_digest, at=at)
            case StandaloneFacts():
                order.receive_facts(news.facts, body_digest=news.body_digest, at=at)
            case _:
                order.receive_snapshot(news, at=at)
        return order
    identity: dict[str, Any] = {
        "order_id": order_of(store, news),
        "organization_id": store.organization_id,
        "store_id": store.id,
        "platform": store.platform,
        "at": at,
    }
    match news:
        case StandaloneRefund(order_external_id=id_, refund=refund, body_digest=digest):
            return Order.park_refund(refund, external_id=id_, body_digest=digest, **identity)
        case StandaloneFacts(order_external_id=id_, facts=facts, body_digest=digest):
            return Order.park_facts(facts, external_id=id_, body_digest=digest, **identity)
        case _:
            return Order.place(news, **identity)


def order_events(order: Order, drafts: Sequence[Draft], *, at: datetime) -> list[Event]:
    """The order's new events and the journals that the last of them caused, named by its version."""
    events = order.new_events()
    for number, draft in enumerate(drafts):
        journal = Journal.post(
            journal_id=f"jrn_{order.id}.{order.version}.{number}",
            kind=draft.kind,
            effective_at=draft.effective_at,
            postings=draft.postings,
            at=at,
            organization_id=order.organization_id,
            order_id=order.id,
        )
        events += journal.new_events()
    return events
