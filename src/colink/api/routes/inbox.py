"""Deliveries of the platforms as they were kept, and reading one again."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from colink.api.answers import json_answer
from colink.api.auth import Permission
from colink.api.configured import find
from colink.api.pages import Page, numbers_after, page
from colink.api.routes.organizations import STORE
from colink.api.session import REPLAYED, Session, may
from colink.application.deliveries import inbox_id
from colink.application.ports import DeliveryStatus
from colink.domain.errors import InvalidInput, NotFound
from colink.domain.ids import natural_parts
from colink.projections.inbox import FiledDelivery, list_deliveries

router = APIRouter(prefix="/v1", tags=["inbox"])
_NONE = "there is no such delivery"


@router.get("/inbox")
async def read_inbox(
    session: Annotated[Session, Depends(may(Permission.READ_INBOX))],
    page: Annotated[Page, Depends(page)],
    store_id: str | None = None,
    status: DeliveryStatus | None = None,
    order_id: str | None = None,
) -> Response:
    """Deliveries by arrival, without their bodies; a seller names one of its stores."""
    if session.within_organization is not None and store_id is None:
        msg = "store_id is missing: name one of your stores"
        raise InvalidInput(msg, field="store_id")
    after = numbers_after(page, count=1)
    if store_id is not None:
        await find(session, STORE, store_id)
    async with session.services.pool.connection() as conn:
        deliveries = await list_deliveries(
            conn,
            source=store_id,
            status=status,
            order_id=order_id,
            after=after[0] if after else None,
            limit=page.limit + 1,
        )
    return json_answer(page.answer(deliveries, key=lambda delivery: (delivery.seq,), show=_delivery_view))


@router.get("/inbox/{delivery_id}/body", response_class=Response)
async def read_body(delivery_id: str, session: Annotated[Session, Depends(may(Permission.SEE_BODIES))]) -> Response:
    """What the platform sent, byte for byte: it names the buyer. 410 where they were erased."""
    source, of_source = await _own(session, delivery_id)
    delivery = await session.services.body(source=source, delivery_id=of_source)
    if delivery is None:
        raise NotFound(_NONE)
    return Response(delivery.body, media_type="application/octet-stream", headers={"Cache-Control": "no-store"})


@router.post("/inbox/{delivery_id}/replay")
async def replay(delivery_id: str, session: Annotated[Session, Depends(may(Permission.REPLAY_INBOX))]) -> Response:
    """Read a kept delivery again, with today's connector. Reading an accepted one again moves no money."""
    await _own(session, delivery_id)
    recorded = await session.services.replay(delivery_id, **session.common())
    return json_answer(recorded.answer, headers={REPLAYED: "true"} if recorded.replayed else {})


async def _own(session: Session, delivery_id: str) -> tuple[str, str]:
    """Store and delivery id in an inbox id. Raises NotFound for none, or another organisation's."""
    parts = natural_parts(delivery_id)
    if not delivery_id.startswith("dlv_") or len(parts) != 2:
        raise NotFound(_NONE)
    if session.within_organization is not None:
        await find(session, STORE, parts[0])
    return parts[0], parts[1]


def _delivery_view(delivery: FiledDelivery) -> dict[str, Any]:
    return {
        "id": inbox_id(delivery.source, delivery.delivery_id),
        "store_id": delivery.source,
        "delivery_id": delivery.delivery_id,
        "topic": delivery.topic,
        "status": delivery.status,
        "problem": json.loads(delivery.problem) if delivery.problem else None,
        "order_id": delivery.order_id,
        "received_at": delivery.received_at,
        "replayed_at": delivery.replayed_at,
    }
