"""Orders, as the log has them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from colink.api.answers import json_answer
from colink.api.auth import Permission
from colink.api.order_view import order_view, order_view_for_creator
from colink.api.pages import Page, numbers_after, page
from colink.api.session import Session, may
from colink.domain.errors import NotFound
from colink.domain.orders import Order
from colink.projections.orders import list_orders, orders_by_ids

router = APIRouter(prefix="/v1", tags=["orders"])

Reading = Annotated[Session, Depends(may(Permission.READ_ORDERS))]


@router.get("/orders")
async def read_orders(
    session: Reading,
    page: Annotated[Page, Depends(page)],
    store_id: str | None = None,
    external_id: str | None = None,
    organization_id: str | None = None,
) -> Response:
    """Orders in the order in which they became known. A creator sees their own commission, not the seller's numbers.
    An order of which only a refund was told is not listed yet."""
    if organization_id is not None:
        session.check_sees_organization(organization_id, what="organization")
    after = numbers_after(page, count=1)
    async with session.services.pool.connection() as conn:
        filed = await list_orders(
            conn,
            store_id=store_id,
            external_id=external_id,
            organization_id=organization_id or session.within_organization,
            creator_id=session.within_creator,
            after=after[0] if after else None,
            limit=page.limit + 1,
        )
    orders = await session.services.orders([row.order_id for row in filed[: page.limit]])
    answer = page.answer(filed, key=lambda row: (row.created_position,))
    views = [_view(session, orders[row.order_id]) for row in answer["items"] if row.order_id in orders]
    return json_answer(answer | {"items": [view for view in views if view is not None]})


@router.get("/orders/{order_id}")
async def read_order(order_id: str, session: Reading) -> Response:
    async with session.services.pool.connection() as conn:
        filed = await orders_by_ids(conn, [order_id])
    orders = await session.services.orders([row.order_id for row in filed])
    view = _view(session, orders[order_id]) if order_id in orders else None
    if view is None:
        msg = "there is no such order"
        raise NotFound(msg)
    session.check_sees_organization(orders[order_id].organization_id, what="order")
    return json_answer(view)


def _view(session: Session, order: Order) -> dict[str, Any] | None:
    if session.within_creator is not None:
        return order_view_for_creator(order, session.within_creator)
    return order_view(order, whole=session.within_organization is None)
