"""What people decided about an order, decided again: each event must be the one that the rules give for what is said
of it, on the order as it was."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import replace

from colink.domain.aggregates import Event
from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.errors import ColinkError
from colink.domain.order_decisions import (
    OrderHeld,
    OrderReattributed,
    OrderReleased,
    OrderSettled,
    OrderSettlementTakenBack,
)
from colink.domain.order_holds import hold, reattribute, release
from colink.domain.orders import Order

OrderDecisionEvent = OrderHeld | OrderReleased | OrderReattributed | OrderSettled | OrderSettlementTakenBack


def check_decision(
    results: Mapping[Pass, PassResult], position: int, order: Order, event: OrderDecisionEvent
) -> None:
    """Finds a decision that the order did not allow, or that says something else of it than it should. Who decided
    and why cannot be derived: the chain keeps that."""
    result = results[Pass.ATTRIBUTION if isinstance(event, OrderReattributed) else Pass.CLEARING]
    result.checked += 1
    try:
        derived = _decided_again(order, event)
    except ColinkError as error:
        result.find(
            Kind.DERIVED_DIFFERENTLY,
            position,
            order.id,
            f"{event.TOPIC} at {position} is nothing that {order.id} allowed then: {error.detail}",
            recorded=event,
        )
        return
    if isinstance(event, OrderReleased) and event.owed is None:  # an older program did not say it
        derived = [replace(each, owed=None) if isinstance(each, OrderReleased) else each for each in derived]
    if derived[:1] != [event]:  # a split may follow, which is looked at by itself
        result.find(
            Kind.DERIVED_DIFFERENTLY,
            position,
            order.id,
            f"{event.TOPIC} at {position} does not follow from what {order.id} was then",
            recorded=event,
            derived=derived[0] if derived else None,
        )


def _decided_again(order: Order, event: OrderDecisionEvent) -> list[Event]:
    twin = copy(order)  # events give it new values and leave those of the order alone
    twin.new_events()  # from here on it keeps its own
    at = event.timestamp
    match event:
        case OrderHeld():
            hold(twin, payee_id=event.payee_id, line_id=event.line_id, reason=event.reason, by=event.by, at=at)
        case OrderReleased():
            release(
                twin,
                event.kind,
                payee_id=event.payee_id,
                line_id=event.line_id,
                reason=event.reason,
                by=event.by,
                at=at,
            )
        case OrderReattributed():
            reattribute(
                twin,
                creator_id=event.creator_id,
                campaign_id=event.campaign_id,
                reason=event.reason,
                by=event.by,
                at=at,
            )
        case OrderSettled():
            before = event.forfeits_cleared is None
            twin.settle(event.amount, account_id=event.account_id, number=event.number, at=at, as_before=before)
        case OrderSettlementTakenBack():
            before = event.forfeits_suspended is None
            twin.take_back(event.amount, account_id=event.account_id, number=event.number, at=at, as_before=before)
    return twin.new_events()
