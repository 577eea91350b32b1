"""What people decide about an order: hold and release it, credit it to another creator. Semantics sections 2, 3, 6.

Each decision computes the order's money anew and posts target minus posted with it, in one append. Who may decide is
the edge's business, by role; whose order it is, is checked here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from colink.application.configure.checks import check_text
from colink.application.ports import Decision, Facts, Needs, Request
from colink.application.record_order import order_events
from colink.application.tiers import by_tiers
from colink.application.true_ups import has_cleared_together
from colink.domain.creators import CreatorDetails
from colink.domain.errors import InvalidInput, NotFound
from colink.domain.order_decisions import HoldKind
from colink.domain.order_holds import hold, owed_to_buyer, own_link_held, reattribute, release
from colink.domain.orders import Order
from colink.domain.terms import Terms


def shown_holds(order: Order) -> list[dict[str, Any]]:
    """What of the order may not clear, and why. `payee_id` None: of all payees; `line_id` None: of all lines (of an
    amount owed to the buyer: the pass-through)."""
    holds: list[dict[str, Any]] = [
        {
            "kind": HoldKind.REVIEW,
            "payee_id": held.payee_id,
            "line_id": held.line_id,
            "reason": held.reason,
            "by": held.by,
            "since": held.since,
        }
        for held in order.decisions.holds
    ]
    if (creator_id := own_link_held(order)) is not None:
        holds.append({"kind": HoldKind.OWN_LINK, "payee_id": creator_id, "line_id": None})
    if owed_to_buyer(order) > 0:
        holds.append({"kind": HoldKind.OWED_TO_BUYER, "payee_id": order.organization_id, "line_id": None})
    return holds


def shown_decisions(order: Order) -> dict[str, Any]:
    """An order as the answer to a decision about it."""
    attribution = order.attribution
    return {
        "id": order.id,
        "creator_id": attribution.creator_id if attribution else None,
        "campaign_id": attribution.campaign_id if attribution else None,
        "set_by_hand": order.set_by_hand is not None,
        "holds": shown_holds(order),
    }


@dataclass(frozen=True, kw_only=True)
class OrderDecision(Request):
    """A decision about an order of `organization_id`."""

    order_id: str
    organization_id: str
    reason: str

    def needs(self) -> Needs:
        return Needs(streams=(self.order_id,), terms_of=self.organization_id)

    def order(self, facts: Facts) -> Order:
        """Raises NotFound for no order, another organisation's, or one of which only a refund is known; InvalidInput
        for a decision without a reason."""
        check_text(self.reason, field="reason", longest=2_000)
        order = facts.aggregate(Order, self.order_id)
        if order is None or order.organization_id != self.organization_id or order.attribution is None:
            msg = "there is no such order"
            raise NotFound(msg)
        return order

    def decide(self, facts: Facts) -> Decision:
        raise NotImplementedError

    def decided(self, order: Order, facts: Facts) -> Decision:
        """What was decided, and the journals that it means."""
        terms = _serving(order, facts.terms())
        drafts, tiers = by_tiers(facts, terms, lambda terms: order.resplit(terms, at=facts.now))
        events = [*tiers, *order_events(order, drafts, at=facts.now)]
        return Decision(answer=shown_decisions(order), events=events, organization_id=order.organization_id)


def _serving(order: Order, today: Terms) -> Terms:
    """The terms of the first split serve the order for ever (semantics section 4)."""
    return today.known_at(order.terms.position) if order.terms else today


@dataclass(frozen=True, kw_only=True)
class HoldOrder(OrderDecision):
    """Let nothing of it clear, or nothing that one payee or one line has of it. Raises InvalidInput."""

    payee_id: str | None = None
    line_id: str | None = None

    def decide(self, facts: Facts) -> Decision:
        order = self.order(facts)
        hold(
            order,
            payee_id=self.payee_id,
            line_id=self.line_id,
            reason=self.reason,
            by=self.caller.actor,
            at=facts.now,
        )
        return self.decided(order, facts)


@dataclass(frozen=True, kw_only=True)
class ReleaseOrder(OrderDecision):
    """End a hold: of a review the one of that payee and line. Raises NothingHeld."""

    kind: HoldKind = HoldKind.REVIEW
    payee_id: str | None = None
    line_id: str | None = None

    def decide(self, facts: Facts) -> Decision:
        order = self.order(facts)
        release(
            order,
            self.kind,
            payee_id=self.payee_id,
            line_id=self.line_id,
            reason=self.reason,
            by=self.caller.actor,
            at=facts.now,
        )
        return self.decided(order, facts)


@dataclass(frozen=True, kw_only=True)
class ReattributeOrder(OrderDecision):
    """Credit it to this creator, or to nobody. The rules that serve it are those that its pinned terms have for them,
    and for the campaign where one is named. Raises InvalidInput, OrderHasCleared."""

    creator_id: str | None
    campaign_id: str | None = None

    def needs(self) -> Needs:
        creators = ((CreatorDetails, self.creator_id),) if self.creator_id is not None else ()
        return Needs(streams=(self.order_id,), terms_of=self.organization_id, documents=creators)

    def decide(self, facts: Facts) -> Decision:
        order = self.order(facts)
        if self.creator_id is not None and facts.document(CreatorDetails, self.creator_id) is None:
            msg = f"there is no creator {self.creator_id!r}"
            raise InvalidInput(msg, field="creator_id")
        if self.campaign_id is not None and self.creator_id is None:
            msg = "an order that is credited to nobody is of no campaign"
            raise InvalidInput(msg, field="campaign_id")
        if self.campaign_id is not None and _serving(order, facts.terms()).campaign(self.campaign_id) is None:
            msg = f"the terms that serve {order.id} know no campaign {self.campaign_id!r}"
            raise InvalidInput(msg, field="campaign_id")
        reattribute(
            order,
            creator_id=self.creator_id,
            campaign_id=self.campaign_id,
            reason=self.reason,
            by=self.caller.actor,
            at=facts.now,
            true_up_cleared=has_cleared_together(facts, order),
        )
        return self.decided(order, facts)
