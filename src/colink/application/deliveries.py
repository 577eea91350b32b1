"""From a verified delivery to a command: what it says is recorded and its bytes are kept, in one append.

Knows no platform (a connector translates) and no HTTP. What cannot be used is kept as rejected with its problem, so
that later deliveries are unaffected and it can be read again when the connector has learned better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from colink.application.ports import (
    Caller,
    CommandBus,
    Decision,
    Delivery,
    DeliveryStatus,
    Facts,
    Idempotency,
    JsonObject,
    Needs,
    Recorded,
    Request,
)
from colink.application.problems import problem_document
from colink.application.record_order import News, RecordOrder, order_of
from colink.application.store_directory import StoreDirectory
from colink.domain.errors import (
    ColinkError,
    ConcurrentUpdate,
    IdempotencyConflict,
    InvalidInput,
    NotFound,
    Unavailable,
)
from colink.domain.ids import natural_id, natural_parts
from colink.domain.organizations import Platform, StoreDetails

_NOT_THE_DELIVERYS_FAULT = (Unavailable, ConcurrentUpdate, IdempotencyConflict)


@dataclass(frozen=True, kw_only=True)
class Ignored:
    """A delivery that changes nothing here; it is kept all the same."""

    reason: str


Translated = News | Ignored


@dataclass(frozen=True, kw_only=True)
class WebhookHeaders:
    """The names of a platform's headers, lower case. `kept`: those stored beside the body."""

    signature: str
    topic: str
    delivery_id: str
    kept: tuple[str, ...]


class StoreConnector(Protocol):
    """What a platform must be able to do to bring orders in."""

    @property
    def headers(self) -> WebhookHeaders: ...

    def verify(self, body: bytes, headers: Mapping[str, str], secrets: Sequence[str]) -> bool:
        """Whether one of the store's secrets signed exactly these bytes."""

    def translate(self, topic: str, body: bytes) -> Translated:
        """What a verified delivery says. Raises InvalidInput naming the field, UnreadableBody where it is no JSON,
        and nothing else, whatever the bytes."""


class Inbox(Protocol):
    """Deliveries as they were kept."""

    async def delivery(self, *, source: str, delivery_id: str) -> Delivery | None:
        """One delivery, byte for byte, with what has become of it."""


class RejectionCounter(Protocol):
    """Counts what was turned away without being kept: all that is stored of a delivery nobody signed."""

    async def count(self, *, source: str, reason: str) -> None:
        """One more for the store `source`; `reason` is a stable word such as `bad_signature`."""


@dataclass(frozen=True, kw_only=True)
class KeepDelivery(Request):
    """Keeps a delivery that changes nothing: ignored, or rejected with its problem."""

    store: StoreDetails
    delivery: Delivery
    answer: JsonObject

    def needs(self) -> Needs:
        return Needs()

    def decide(self, facts: Facts) -> Decision:  # noqa: ARG002 - what is kept does not depend on what is known
        return Decision(answer=self.answer, organization_id=self.store.organization_id, delivery=self.delivery)


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A verified delivery as it came in. `headers` are those worth keeping."""

    topic: str
    delivery_id: str
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime


async def receive_delivery(
    arrival: Arrival, *, store: StoreDetails, connector: StoreConnector, bus: CommandBus
) -> Recorded:
    """Record a delivery once.

    The answer is `{"status": "accepted", "order_id"}`, `{"status": "ignored", "reason"}` or `{"status": "rejected",
    "problem"}`; for a delivery that is already kept it is the first answer, `replayed`. Raises Unavailable or
    ConcurrentUpdate when nothing was recorded and it should be sent again.
    """
    delivery = Delivery(
        source=store.id,
        delivery_id=arrival.delivery_id,
        topic=arrival.topic,
        headers=arrival.headers,
        body=arrival.body,
        received_at=arrival.received_at,
        status=DeliveryStatus.ACCEPTED,
    )
    request = Request(
        caller=Caller(actor=f"webhook:{store.id}", correlation_id=inbox_id(store.id, arrival.delivery_id)),
        delivery_key=(store.id, arrival.delivery_id),
    )
    return await _record(delivery, request, store=store, connector=connector, bus=bus)


async def replay_delivery(
    id_: str,
    *,
    caller: Caller,
    idempotency: Idempotency | None = None,
    inbox: Inbox,
    stores: StoreDirectory,
    connectors: Mapping[Platform, StoreConnector],
    bus: CommandBus,
) -> Recorded:
    """Read a kept delivery again with today's connector; its inbox row takes over the outcome.

    One that was accepted already is answered as it was (`replayed`): reading the same bytes again cannot change an
    order. Raises NotFound for an unknown inbox id.
    """
    parts = natural_parts(id_)
    kept = await inbox.delivery(source=parts[0], delivery_id=parts[1]) if len(parts) == 2 else None
    access = await stores.store(kept.source) if kept is not None else None
    connector = connectors.get(access.details.platform) if access is not None else None
    if kept is None or access is None or connector is None:
        msg = "there is no such delivery"
        raise NotFound(msg)
    if kept.status is DeliveryStatus.ACCEPTED:
        return _accepted_before(kept)
    delivery = replace(kept, status=DeliveryStatus.ACCEPTED, problem=None, order_id=None, replay=True)
    request = Request(caller=replace(caller, causation_id=id_), idempotency=idempotency)
    try:
        return await _record(delivery, request, store=access.details, connector=connector, bus=bus)
    except ConcurrentUpdate:
        by_now = await inbox.delivery(source=kept.source, delivery_id=kept.delivery_id)
        if by_now is None or by_now.status is not DeliveryStatus.ACCEPTED:
            raise
        return _accepted_before(by_now)


def _accepted_before(kept: Delivery) -> Recorded:
    return Recorded(answer={"status": kept.status.value, "order_id": kept.order_id}, replayed=True)


def inbox_id(source: str, delivery_id: str) -> str:
    """The id under which a kept delivery is listed and replayed."""
    return natural_id("dlv", source, delivery_id)


async def _record(
    delivery: Delivery, request: Request, *, store: StoreDetails, connector: StoreConnector, bus: CommandBus
) -> Recorded:
    shared: dict[str, Any] = {
        "caller": request.caller,
        "idempotency": request.idempotency,
        "delivery_key": request.delivery_key,
        "store": store,
    }
    try:
        told = connector.translate(delivery.topic, delivery.body)
    except InvalidInput as error:
        return await bus.submit(_rejection(delivery, error, shared))
    if isinstance(told, Ignored):
        ignored = replace(delivery, status=DeliveryStatus.IGNORED)
        answer = {"status": DeliveryStatus.IGNORED.value, "reason": told.reason}
        return await bus.submit(KeepDelivery(delivery=ignored, answer=answer, **shared))
    accepted = replace(delivery, order_id=order_of(store, told))
    try:
        return await bus.submit(RecordOrder(news=told, delivery=accepted, **shared))
    except _NOT_THE_DELIVERYS_FAULT:
        raise
    except ColinkError as error:
        return await bus.submit(_rejection(delivery, error, shared))


def _rejection(delivery: Delivery, error: ColinkError, shared: Mapping[str, Any]) -> KeepDelivery:
    problem = problem_document(error)
    return KeepDelivery(
        delivery=replace(delivery, status=DeliveryStatus.REJECTED, problem=problem),
        answer={"status": DeliveryStatus.REJECTED.value, "problem": problem},
        **shared,
    )
