"""Many orders told at once."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from colink.api.answers import json_answer
from colink.api.auth import Permission
from colink.api.configured import find
from colink.api.order_bodies import BulkBody, cut, read_order, snapshot_of
from colink.api.routes.organizations import ORGANIZATION, STORE
from colink.api.session import REPLAYED, Session, may
from colink.application.ports import Idempotency
from colink.application.record_orders import check_may_tell_of_orders, record_orders
from colink.domain.errors import InvalidInput
from colink.domain.snapshots import OrderSnapshot
from colink.projections.recorded_answers import recorded_answer

BULK_PATH = "/v1/orders/bulk"
BULK_MAX_BODY = 8 * 1024 * 1024  # bytes
router = APIRouter(prefix="/v1", tags=["orders"])

(_BODY,), SCHEMAS = msgspec.json.schema_components([BulkBody], ref_template="#/components/schemas/{name}")
"""How the body is described; `SCHEMAS` belong into the description's components."""


@router.post(
    "/orders/bulk",
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": _BODY}}}},
)
async def record_bulk(
    request: Request, session: Annotated[Session, Depends(may(Permission.RECORD_ORDERS))]
) -> Response:
    """Tell of up to 1,000 orders of a store, each as it is now. The answer has a result per order, in their order:
    `accepted`, `duplicate` (nothing of it was news) or `rejected` with a problem whose `field` names the order by its
    index and what is wrong in it; the others are recorded all the same. The body may be 8 MiB large. A 503 says how
    many were recorded: send the same request again. A seller's key tells only of orders whose money the seller
    collects itself."""
    store_id, raws = cut(await request.body())
    store = await find(session, STORE, store_id)
    if session.within_organization is not None:
        check_may_tell_of_orders(store, await find(session, ORGANIZATION, store.organization_id))

    async def first_answer(idempotency: Idempotency) -> dict[str, Any] | None:
        async with session.services.pool.connection() as conn:
            return await recorded_answer(conn, idempotency)

    recorded = await record_orders(
        [_told(session, raw) for raw in raws],
        store=store,
        bus=session.services.commerce,
        first_answer=first_answer,
        **session.common(),
    )
    return json_answer(recorded.answer, headers={REPLAYED: "true"} if recorded.replayed else {})


def _told(session: Session, raw: msgspec.Raw) -> OrderSnapshot | InvalidInput:
    """An order, or what is wrong with it."""
    try:
        order = read_order(raw)
        return snapshot_of(order, customer_ref=session.services.customer_ref(order.keys.customer_email))
    except InvalidInput as error:
        return error
