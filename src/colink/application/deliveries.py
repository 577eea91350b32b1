"""From a verified delivery to a command: what it says is recorded and its bytes are kept, sealed, in one append.

Knows no platform (a connector translates) and no HTTP. What cannot be used is kept as rejected with its problem, so
that later deliveries are unaffected and it can be read again when the connector has learned better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from colink.application.privacy.envelope import PersonKeys
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
        """One delivery, its body opened, byte for byte, with what has become of it. Raises Erased."""


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
    arrival: Arrival,
    *,
    store: StoreDetails,
    connector: StoreConnector,
    bus: CommandBus,
    keys: Callable[[], PersonKeys],
) -> Recorded:
    """Record a delivery once; its body is sealed with one of `keys`.

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
    return await _record(delivery, request, store=store, connector=connector, bus=bus, keys=keys())


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
    order. Raises NotFound for an unknown inbox id, Erased where nobody can read it any more.
    """
    parts = natural_parts(id_)
    found = await inbox.delivery(source=parts[0], delivery_id=parts[1]) if len(parts) == 2 else None
    access = await stores.store(found.source) if found is not None else None
    connector = connectors.get(access.details.platform) if access is not None else None
    if found is None or access is None or connector is None:
        msg = "there is no such delivery"
        raise NotFound(msg)
    if found.status is DeliveryStatus.ACCEPTED:
        return _accepted_before(found)
    delivery = replace(found, status=DeliveryStatus.ACCEPTED, problem=None, order_id=None, replay=True)
    request = Request(caller=replace(caller, causation_id=id_), idempotency=idempotency)
    try:
        return await _record(delivery, request, store=access.details, connector=connector, bus=bus, keys=None)
    except ConcurrentUpdate:
        by_now = await inbox.delivery(source=found.source, delivery_id=found.delivery_id)
        if by_now is None or by_now.status is not DeliveryStatus.ACCEPTED:
            raise
        return _accepted_before(by_now)


def _accepted_before(kept: Delivery) -> Recorded:
    return Recorded(answer={"status": kept.status.value, "order_id": kept.order_id}, replayed=True)


def inbox_id(source: str, delivery_id: str) -> str:
    """The id under which a kept delivery is listed and replayed."""
    return natural_id("dlv", source, delivery_id)


def kept(delivery: Delivery, *, owner: str, keys: PersonKeys) -> Delivery:
    """The delivery with its body sealed, by a key that is the owner's."""
    place = inbox_id(delivery.source, delivery.delivery_id)
    key = keys.new_key(owner, place)
    return replace(delivery, body=key.seal_body(delivery.body, place=place), key=keys.wrapped(key))


async def _record(
    delivery: Delivery,
    request: Request,
    *,
    store: StoreDetails,
    connector: StoreConnector,
    bus: CommandBus,
    keys: PersonKeys | None,
) -> Recorded:
    """`keys` None: the delivery is read again, and its row keeps the bytes it has.

    A body is its order's, and goes with the buyer; one that tells of no order is nobody's but its own.
    """

    def as_kept(order_id: str | None) -> Delivery:
        if keys is None:
            return replace(delivery, body=b"")
        return kept(delivery, owner=order_id or inbox_id(delivery.source, delivery.delivery_id), keys=keys)

    shared: dict[str, Any] = {
        "caller": request.caller,
        "idempotency": request.idempotency,
        "delivery_key": request.delivery_key,
        "store": store,
    }
    try:
        told = connector.translate(delivery.topic, delivery.body)
    except InvalidInput as error:
        return await bus.submit(_rejection(as_kept(None), error, shared))
    if isinstance(told, Ignored):
        ignored = replace(as_kept(None), status=DeliveryStatus.IGNORED)
        answer = {"status": DeliveryStatus.IGNORED.value, "reason": told.reason}
        return await bus.submit(KeepDelivery(delivery=ignored, answer=answer, **shared))
    order_id = order_of(store, told)
    sealed = as_kept(order_id)
    try:
        return await bus.submit(RecordOrder(news=told, delivery=replace(sealed, order_id=order_id), **shared))
    except _NOT_THE_DELIVERYS_FAULT:
        raise
    except ColinkError as error:
        return await bus.submit(_rejection(sealed, error, shared))


def _rejection(delivery: Delivery, error: ColinkError, shared: Mapping[str, Any]) -> KeepDelivery:
    problem = problem_document(error)
    return KeepDelivery(
        delivery=replace(delivery, status=DeliveryStatus.REJECTED, problem=problem),
        answer={"status": DeliveryStatus.REJECTED.value, "problem": problem},
        **shared,
    )
