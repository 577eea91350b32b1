"""`POST /webhooks/{platform}/{store_id}`: takes a platform's raw delivery, verified before it is parsed.

A bare ASGI callable, to be routed beside FastAPI: it is the busiest route and every platform measures its deadline.
What a delivery means is decided in application/deliveries.py; here is only what HTTP has to say. Platforms switch off
webhooks that fail, so whatever was kept is answered with 200 (contract), but for a body that is no JSON at all.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from psycopg import OperationalError
from psycopg_pool import PoolTimeout
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from colink.api.answers import json_answer, problem_answer
from colink.application.deliveries import Arrival, RejectionCounter, StoreConnector, WebhookHeaders, receive_delivery
from colink.application.ports import Clock, CommandBus, DeliveryStatus, Recorded
from colink.application.privacy.envelope import PersonKeys
from colink.application.problems import PROBLEM_JSON
from colink.application.store_directory import CachedStores, StoreAccess
from colink.domain.errors import (
    ColinkError,
    ConcurrentUpdate,
    NotFound,
    PayloadTooLarge,
    Unauthorized,
    Unavailable,
    UnreadableBody,
)
from colink.domain.organizations import Platform

MAX_BODY = 2 * 1024 * 1024  # bytes
_STORE_ID = re.compile(r"[A-Za-z0-9_.~-]{1,128}")
_DELIVERY_ID = re.compile(r"[!-~]{1,128}")


def _uncounted(_: str) -> None:
    """Counts nothing."""


class _Disconnected(Exception):
    """The caller went away before its body was complete."""


@dataclass(frozen=True, kw_only=True)
class Webhooks:
    """The route. `connectors` holds the platforms that can be taken; `delivered` counts what became of deliveries.
    `patience`: seconds that reading a store may take; `bus` has its own. `keys` seal what is kept."""

    bus: CommandBus
    stores: CachedStores
    connectors: Mapping[Platform, StoreConnector]
    clock: Clock
    rejections: RejectionCounter
    keys: Callable[[], PersonKeys]
    delivered: Callable[[str], None] = _uncounted
    max_body: int = MAX_BODY
    patience: float = 4.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope, receive)
        except _Disconnected:
            return
        except (ConcurrentUpdate, Unavailable) as error:
            answer = self._not_now(error.detail)
        except (OperationalError, PoolTimeout, TimeoutError):
            answer = self._not_now("the database cannot be reached; nothing was recorded")
        except ColinkError as error:
            answer = problem_answer(error)
        await answer(scope, receive, send)

    def _not_now(self, detail: str) -> Response:
        self.delivered("unavailable")
        return problem_answer(Unavailable(detail))

    async def _turned_away(self, store_id: str, reason: str) -> None:
        self.delivered(reason)
        await self.rejections.count(source=store_id, reason=reason)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        if scope["method"] != "POST":
            return Response(status_code=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
        platform, store_id = scope["path"].rstrip("/").split("/")[-2:]
        access, connector = await self._addressed(platform, store_id)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            body = await self._body(headers, receive)
        except PayloadTooLarge:
            await self._turned_away(store_id, "too_large")
            raise
        if not await self._signed(connector, access, body, headers):
            await self._turned_away(store_id, "bad_signature")
            msg = "the signature does not fit the body and the secrets of this store"
            raise Unauthorized(msg)
        arrival = _arrival(connector.headers, headers, body, clock=self.clock)
        recorded = await receive_delivery(
            arrival, store=access.details, connector=connector, bus=self.bus, keys=self.keys
        )
        return self._answer_to(recorded)

    def _answer_to(self, recorded: Recorded) -> Response:
        answer: dict[str, Any] = dict(recorded.answer)
        problem = answer.get("problem")
        if recorded.replayed and answer.get("status") == DeliveryStatus.ACCEPTED:
            answer["status"] = "duplicate"
        self.delivered(answer["status"])
        if problem and problem.get("status") == UnreadableBody.status:
            response = json_answer(problem, status=UnreadableBody.status)
            response.headers["content-type"] = PROBLEM_JSON
            return response
        return json_answer(answer)

    async def _addressed(self, platform: str, store_id: str) -> tuple[StoreAccess, StoreConnector]:
        async with asyncio.timeout(self.patience):
            access = await self.stores.store(store_id) if _STORE_ID.fullmatch(store_id) else None
        connector = None if access is None else self.connectors.get(access.details.platform)
        if access is None or connector is None or access.details.platform != platform:
            msg = "no store takes deliveries at this address"
            raise NotFound(msg)
        return access, connector

    async def _body(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        """The whole body. Raises PayloadTooLarge as soon as it is known, without reading the rest."""
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self.max_body:
            raise _too_large(self.max_body)
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Disconnected
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self.max_body:
                raise _too_large(self.max_body)
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)

    async def _signed(
        self, connector: StoreConnector, access: StoreAccess, body: bytes, headers: Mapping[str, str]
    ) -> bool:
        """By a secret that is known here or, where that may be out of date, by one the store was given since."""
        if connector.verify(body, headers, access.webhook_secrets):
            return True
        fresh = await self.stores.reread(access.details.id)
        return (
            fresh is not None
            and fresh.webhook_secrets != access.webhook_secrets
            and connector.verify(body, headers, fresh.webhook_secrets)
        )


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body is larger than {limit} bytes")


def _arrival(names: WebhookHeaders, headers: Mapping[str, str], body: bytes, *, clock: Clock) -> Arrival:
    topic = _printable(headers.get(names.topic, ""))
    delivery_id = headers.get(names.delivery_id, "")
    if not _DELIVERY_ID.fullmatch(delivery_id):
        # Without an id of its own a delivery is what it says: the same again is the same delivery.
        delivery_id = hashlib.sha256(topic.encode() + b"\n" + body).hexdigest()
    return Arrival(
        topic=topic,
        delivery_id=delivery_id,
        headers={name: _printable(headers[name]) for name in names.kept if name in headers},
        body=body,
        received_at=clock.now(),
    )


def _printable(value: str) -> str:
    """A header as it may be stored: ASCII without control characters, of a sane length."""
    if value.isascii() and value.isprintable() and "\\" not in value:
        return value[:512]  # as nearly all are: what follows would not change it
    return value.encode("unicode_escape").decode("ascii")[:512]
