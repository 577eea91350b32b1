"""Deciding about an order: what is held of it, what is released, and who is credited by hand.

Each function checks the rule and then lets the event of `order_decisions.py` happen to the order; the caller has the
money recomputed (`Order.resplit`). Not responsible for who may decide.
"""

from __future__ import annotations

from datetime import datetime

from colink.domain import claims
from colink.domain.errors import InvalidInput
from colink.domain.merge import history
from colink.domain.order_decisions import (
    HoldKind,
    NothingHeld,
    OrderHasCleared,
    OrderHeld,
    OrderReattributed,
    OrderReleased,
)
from colink.domain.orders import Order


def hold(order: Order, *, payee_id: str | None, line_id: str | None, reason: str, by: str, at: datetime) -> None:
    """Let nothing of it clear, or nothing of one payee or line; what had cleared is pending again. Held already:
    nothing happens. Raises InvalidInput for a payee or line that the order does not have."""
    _check_has(order, payee_id=payee_id, line_id=line_id)
    if not any(held.is_of(payee_id=payee_id, line_id=line_id) for held in order.decisions.holds):
        order.trigger_event(OrderHeld, payee_id=payee_id, line_id=line_id, reason=reason, by=by, timestamp=at)


def release(
    order: Order, kind: HoldKind, *, payee_id: str | None, line_id: str | None, reason: str, by: str, at: datetime
) -> None:
    """End a hold: the review of that payee and line, the hold of an own purchase, or what of the pass-through the
    buyer has not got back. Raises NothingHeld."""
    amount, owed = 0, None
    if kind is HoldKind.REVIEW:
        found = any(held.is_of(payee_id=payee_id, line_id=line_id) for held in order.decisions.holds)
    elif kind is HoldKind.OWN_LINK:
        payee_id, line_id = own_link_held(order), None
        found = payee_id is not None
    else:
        payee_id, line_id, amount = order.organization_id, None, owed_to_buyer(order)
        owed, found = _owed_in_all(order), amount > 0
    if not found:
        msg = f"nothing of {order.id} is held that a release of kind {kind} with this payee and line would end"
        raise NothingHeld(msg)
    order.trigger_event(
        OrderReleased,
        kind=kind,
        payee_id=payee_id,
        line_id=line_id,
        amount=amount,
        owed=owed,
        reason=reason,
        by=by,
        timestamp=at,
    )


def own_link_held(order: Order) -> str | None:
    """The creator whose own purchase is held, if any."""
    attribution = order.attribution
    if attribution is None or not attribution.own_link:
        return None
    return attribution.creator_id if attribution.creator_id != order.decisions.own_link_of else None


def owed_to_buyer(order: Order) -> int:
    """What of the pass-through is held because the buyer has not got it back, in minor units. Zero while a review or
    an inquiry covers it: that has to end first, as it holds the rest too."""
    key = (None, order.organization_id)
    if order.split is None or order.decisions.hold(key) or _held_by_inquiry(order):
        return 0
    return sum([claim.held for claim in order.split.claims if (claim.line_id, claim.payee_id) == key])


def _owed_in_all(order: Order) -> int:
    """With what finance has released of it."""
    if order.split is None:
        return 0
    key = (None, order.organization_id)
    net = sum([claim.net for claim in order.split.claims if (claim.line_id, claim.payee_id) == key])
    return claims.owed_to_buyer(net, order.split, everything_reversed=order.merged.everything_reversed)


def _held_by_inquiry(order: Order) -> bool:
    known = history(order.merged) if order.merged.facts.disputes else []
    return bool(known) and known[-1].held_by_dispute


def reattribute(
    order: Order,
    *,
    creator_id: str | None,
    campaign_id: str | None,
    reason: str,
    by: str,
    at: datetime,
    true_up_cleared: bool = False,
) -> None:
    """Credit it to a creator, or to nobody, by hand. Set so already: nothing happens. `true_up_cleared`: whether its
    creator has the money of a day or month that it counts in. Raises OrderHasCleared."""
    now = order.attribution
    if now is None:
        msg = "an order is attributed before it is attributed anew"
        raise ValueError(msg)
    if order.set_by_hand is not None and (now.creator_id, now.campaign_id) == (creator_id, campaign_id):
        return
    if order.has_cleared or true_up_cleared:
        msg = f"something of {order.id} has cleared: what its creator earned may be paid out already"
        raise OrderHasCleared(msg)
    order.trigger_event(
        OrderReattributed,
        creator_id=creator_id,
        campaign_id=campaign_id,
        former_creator_id=now.creator_id,
        reason=reason,
        by=by,
        timestamp=at,
    )


def _check_has(order: Order, *, payee_id: str | None, line_id: str | None) -> None:
    claims = order.split.claims if order.split else ()
    payees = {order.organization_id, *(claim.payee_id for claim in claims)}
    if order.split is not None and order.split.creator_id is not None:
        payees.add(order.split.creator_id)  # by a rule of 0 % nothing is owed yet, and it counts all the same
    if payee_id is not None and payee_id not in payees:
        msg = f"nobody named {payee_id!r} earns anything of {order.id}"
        raise InvalidInput(msg, field="payee_id")
    told = order.merged.newest.lines if order.merged.newest else ()
    lines = {*(line.line_id for line in told), *(claim.line_id for claim in claims)}
    if line_id is not None and line_id not in lines:
        msg = f"{order.id} has no line {line_id!r}"
        raise InvalidInput(msg, field="line_id")
