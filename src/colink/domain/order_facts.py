"""Events of an order that tell facts beside its snapshots and refunds: disputes, gift cards, fees of statements.

What the facts mean is in `facts.py`; they are merged like all that is delivered (`merge.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from colink.domain.aggregates import Created, Event
from colink.domain.facts import OrderFacts
from colink.domain.organizations import Platform

if TYPE_CHECKING:
    from colink.domain.orders import Order


@dataclass(frozen=True, kw_only=True)
class OrderFactsParked(Created):
    """Facts came before their order; they take effect when the order arrives."""

    TOPIC: ClassVar[str] = "order.facts_parked"
    organization_id: str
    store_id: str
    platform: Platform
    external_id: str
    facts: OrderFacts

    def apply(self, aggregate: Order) -> None:
        aggregate.learn(self.facts)


@dataclass(frozen=True, kw_only=True)
class OrderFactsRecorded(Event):
    """Facts that changed the merge, as one delivery or statement told them."""

    TOPIC: ClassVar[str] = "order.facts_recorded"
    facts: OrderFacts

    def apply(self, aggregate: Order) -> None:
        aggregate.learn(self.facts)
