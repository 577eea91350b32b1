"""Events of an order that tell facts beside its snapshots and refunds: disputes, gift cards, fees of statements.

What the facts mean is in `facts.py`; they are merged like all that is delivered (`merge.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from colink.domain.aggregates import Created, Event
from colink.domain.facts import OrderFacts, name_no_dispute
from colink.domain.organizations import Platform

if TYPE_CHECKING:
    from colink.domain.orders import Order


@dataclass(frozen=True, kw_only=True)
class OrderFactsParked(Created):
    """Facts came before their order; they take effect when the order arrives. `body_digest` as in
    OrderFactsRecorded."""

    TOPIC: ClassVar[str] = "order.facts_parked"
    class_version: ClassVar[int] = 3
    omitted_when_none: ClassVar[tuple[str, ...]] = ("body_digest",)
    organization_id: str
    store_id: str
    platform: Platform
    external_id: str
    facts: OrderFacts
    body_digest: str | None = None

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """Which body they were read from was not recorded: None."""

    @staticmethod
    def upcast_v2_v3(state: dict[str, Any]) -> None:
        name_no_dispute(state["facts"]["fees"])

    def apply(self, aggregate: Order) -> None:
        aggregate.learn(self.facts)


@dataclass(frozen=True, kw_only=True)
class OrderFactsRecorded(Event):
    """Facts that changed the merge, as one delivery or statement told them. `body_digest`: SHA-256 hex of the body of
    the delivery; None where a statement told them."""

    TOPIC: ClassVar[str] = "order.facts_recorded"
    class_version: ClassVar[int] = 3
    omitted_when_none: ClassVar[tuple[str, ...]] = ("body_digest",)
    facts: OrderFacts
    body_digest: str | None = None

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """Which body they were read from was not recorded: None."""

    @staticmethod
    def upcast_v2_v3(state: dict[str, Any]) -> None:
        name_no_dispute(state["facts"]["fees"])

    def apply(self, aggregate: Order) -> None:
        aggregate.learn(self.facts)
