"""What finance decides about orders: holds, releases, and who is credited."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from colink.api.auth import Permission
from colink.api.bodies import ExactBody, Id, Text
from colink.api.session import Session, may
from colink.application.decide_orders import HoldOrder, ReattributeOrder, ReleaseOrder
from colink.domain.errors import NotFound
from colink.domain.order_decisions import HoldKind
from colink.projections.orders import orders_by_ids

router = APIRouter(prefix="/v1/orders", tags=["orders"])

Deciding = Annotated[Session, Depends(may(Permission.DECIDE_ORDERS))]


class OrderHoldBody(ExactBody):
    """Why, and what of the order: without a payee of all payees, without a line of all lines and the pass-through."""

    reason: Text
    payee_id: Id | None = None
    line_id: Id | None = None


class OrderReleaseBody(OrderHoldBody):
    """Which hold ends: a review of that payee and line, the hold of a creator's own purchase, or what the buyer has
    not got back of the pass-through."""

    kind: HoldKind = HoldKind.REVIEW


class ReattributionBody(ExactBody):
    """Who is credited from now on (null: nobody), and why. The campaign says which of the pinned rules serve."""

    creator_id: Id | None
    campaign_id: Id | None = None
    reason: Text


@router.post("/{order_id}/hold")
async def hold_order(order_id: str, body: OrderHoldBody, session: Deciding) -> Response:
    """Nothing of what is held clears; what had cleared is pending again until the hold is released."""
    return await session.submit(
        HoldOrder(
            **session.common(),
            order_id=order_id,
            organization_id=await _organization_of(session, order_id),
            reason=body.reason,
            payee_id=body.payee_id,
            line_id=body.line_id,
        ),
        status=200,
    )


@router.post("/{order_id}/release")
async def release_order(order_id: str, body: OrderReleaseBody, session: Deciding) -> Response:
    """What had cleared before the hold is available at once; the rest when it is due."""
    return await session.submit(
        ReleaseOrder(
            **session.common(),
            order_id=order_id,
            organization_id=await _organization_of(session, order_id),
            reason=body.reason,
            kind=body.kind,
            payee_id=body.payee_id,
            line_id=body.line_id,
        ),
        status=200,
    )


@router.post("/{order_id}/reattribute")
async def reattribute_order(order_id: str, body: ReattributionBody, session: Deciding) -> Response:
    """Credit the order to a creator, or nobody, while nothing of it has cleared; no later delivery overturns it."""
    return await session.submit(
        ReattributeOrder(
            **session.common(),
            order_id=order_id,
            organization_id=await _organization_of(session, order_id),
            reason=body.reason,
            creator_id=body.creator_id,
            campaign_id=body.campaign_id,
        ),
        status=200,
    )


async def _organization_of(session: Session, order_id: str) -> str:
    async with session.services.pool.connection() as conn:
        filed = await orders_by_ids(conn, [order_id])
    if not filed:
        msg = "there is no such order"
        raise NotFound(msg)
    session.check_sees_organization(filed[0].organization_id, what="order")
    return filed[0].organization_id
