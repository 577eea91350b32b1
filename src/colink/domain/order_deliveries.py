"""Events of an order that say what was delivered about it: snapshots, refunds and facts beside them (disputes, gift
cards, fees of statements), each as one delivery told it.

All of it is merged (`merge.py`); what facts mean is in `facts.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from colink.domain.aggregates import Created, Event
from colink.domain.facts import OrderFacts, name_no_dispute
from colink.domain.merge import merge_refund, merge_snapshot
from colink.domain.organizations import Platform
from colink.domain.snapshots import OrderSnapshot, Refund

if TYPE_CHECKING:
    from colink.domain.orders import Order


@dataclass(frozen=True, kw_only=True)
class OrderPlaced(Created):
    """The first delivery about an order was a snapshot."""

    TOPIC: ClassVar[str] = "order.placed"
    organization_id: str
    store_id: str
    platform: Platform
    external_id: str
    snapshot: OrderSnapshot

    def apply(self, aggregate: Order) -> None:
        before = aggregate.merged.refunds
        aggregate.merged = merge_snapshot(aggregate.merged, self.snapshot)
        aggregate.note_times(updated_at=self.snapshot.updated_at, refunds_before=before)


@dataclass(frozen=True, kw_only=True)
class OrderRefundParked(Created):
    """A refund came before its order; it takes effect when the order arrives. `body_digest` as in
    OrderRefundRecorded."""

    TOPIC: ClassVar[str] = "order.refund_parked"
    class_version: ClassVar[int] = 2
    omitted_when_none: ClassVar[tuple[str, ...]] = ("body_digest",)
    organization_id: str
    store_id: str
    platform: Platform
    external_id: str
    refund: Refund
    body_digest: str | None = None

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """Which body it was read from was not recorded: None."""

    def apply(self, aggregate: Order) -> None:
        before = aggregate.merged.refunds
        aggregate.merged = merge_refund(aggregate.merged, self.refund)
        aggregate.note_times(updated_at=None, refunds_before=before)


@dataclass(frozen=True, kw_only=True)
class OrderUpdated(Event):
    """A snapshot that changed the merge; it need not be newer than what is known."""

    TOPIC: ClassVar[str] = "order.updated"
    snapshot: OrderSnapshot

    def apply(self, aggregate: Order) -> None:
        before = aggregate.merged.refunds
        aggregate.merged = merge_snapshot(aggregate.merged, self.snapshot)
        aggregate.note_times(updated_at=self.snapshot.updated_at, refunds_before=before)


@dataclass(frozen=True, kw_only=True)
class OrderRefundRecorded(Event):
    """A refund that changed the merge. `body_digest`: SHA-256 hex of the body of the delivery that told it."""

    TOPIC: ClassVar[str] = "order.refund_recorded"
    class_version: ClassVar[int] = 2
    omitted_when_none: ClassVar[tuple[str, ...]] = ("body_digest",)
    refund: Refund
    body_digest: str | None = None

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """Which body it was read from was not recorded: None."""

    def apply(self, aggregate: Order) -> None:
        before = aggregate.merged.refunds
        aggregate.merged = merge_refund(aggregate.merged, self.refund)
        aggregate.note_times(updated_at=None, refunds_before=before)


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
