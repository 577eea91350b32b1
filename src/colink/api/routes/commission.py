"""Which commission each line of an order would get, and why; and what of true-ups waits for a seller's money."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.responses import Response

from colink.api.answers import json_answer
from colink.api.auth import Permission
from colink.api.bodies import Currency, ExactBody, Id, Int, Moment, MoneyBody, Text
from colink.api.configured import Kind, find
from colink.api.session import Session, may
from colink.application.ports import Caller
from colink.application.preview_commission import ImaginedOrder, PreviewCommission
from colink.application.true_ups import ReleaseTrueUp
from colink.domain.errors import InvalidInput, NotFound
from colink.domain.ids import natural_parts
from colink.domain.organizations import StoreDetails
from colink.domain.snapshots import OrderLine

router = APIRouter(prefix="/v1", tags=["campaigns"])

Previewing = Annotated[Session, Depends(may(Permission.PREVIEW_COMMISSION))]
Deciding = Annotated[Session, Depends(may(Permission.DECIDE_ORDERS))]
STORE = Kind(details_class=StoreDetails, name="store")
MOST_LINES = 500


class PreviewLineBody(ExactBody):
    """As in an order that a shop tells: external ids are the platform's. `base`: price x quantity less discounts, tax
    included in the price."""

    line_id: Text | None = None
    product_external_id: Text | None = None
    sku_external_id: Text | None = None
    quantity: Annotated[Int, Field(ge=0, le=10**9)] = 1
    base: MoneyBody


class PreviewBody(ExactBody):
    """Either `order_id`, an order that is recorded, or an order that is not: its store, currency, lines and who would
    be credited: by `link_id`, `coupon_code`, or outright `creator_id` with a `campaign_id` or without."""

    order_id: Id | None = None
    store_id: Id | None = None
    currency: Currency | None = None
    placed_at: Moment | None = None
    lines: Annotated[list[PreviewLineBody], Field(max_length=MOST_LINES, default_factory=list)]
    link_id: Id | None = None
    coupon_code: Text | None = None
    creator_id: Id | None = None
    campaign_id: Id | None = None


@router.post("/commission-rules/preview")
async def preview_commission(body: PreviewBody, session: Previewing) -> Response:
    """Which rule would serve each line, what the line would come to, and each other rule with the reason why not.
    Records nothing. Computed by what decides orders; caps and tiers that are settled by the day or month are told by
    `settled_with`."""
    # The order's store and with it the organisation: what belongs to another is not found.
    store_id = _store_of(body.order_id) if body.order_id is not None else body.store_id
    if store_id is None or (body.order_id is not None) == (body.store_id is not None):
        msg = "give either order_id, or store_id with currency and lines"
        raise InvalidInput(msg, field="store_id")
    store: StoreDetails = await find(session, STORE, store_id)
    command = PreviewCommission(
        caller=Caller(actor=f"key:{session.principal.key_id}", correlation_id=session.correlation_id),
        store=store,
        imagined=_imagined(body, session) if body.order_id is None else None,
        order_id=body.order_id,
    )
    recorded = await session.services.commerce.submit(command)
    return json_answer(recorded.answer)


class TrueUpReleaseBody(ExactBody):
    reason: Text


@router.post("/true-ups/{true_up_id}/release")
async def release_true_up(true_up_id: Id, body: TrueUpReleaseBody, session: Deciding) -> Response:
    """Let clear what a day or month came to for a creator of a seller who collects the money itself and has paid. The
    id is part of the journal's: `jrn_tru_...`."""
    return await session.submit(
        ReleaseTrueUp(**session.common(), true_up_id=true_up_id, reason=body.reason), status=200
    )


def _store_of(order_id: str) -> str:
    parts = natural_parts(order_id)
    if not order_id.startswith("ord_") or len(parts) < 2:
        msg = "there is no such order"
        raise NotFound(msg)
    return parts[0]


def _imagined(body: PreviewBody, session: Session) -> ImaginedOrder:
    if body.currency is None:
        msg = "currency is missing: an order has one"
        raise InvalidInput(msg, field="currency")
    return ImaginedOrder(
        currency=body.currency,
        placed_at=body.placed_at or session.services.clock.now(),
        lines=[_line(line, number, body.currency) for number, line in enumerate(body.lines)],
        link_id=body.link_id,
        coupon_code=body.coupon_code,
        creator_id=body.creator_id,
        campaign_id=body.campaign_id,
    )


def _line(line: PreviewLineBody, number: int, currency: str) -> OrderLine:
    if line.base.currency != currency:
        msg = f"must be in the order's currency {currency}"
        raise InvalidInput(msg, field=f"lines.{number}.base.currency")
    if line.base.amount < 0:
        msg = "a line's base is zero or more"
        raise InvalidInput(msg, field=f"lines.{number}.base.amount")
    told: dict[str, Any] = {
        "product_external_id": line.product_external_id,
        "sku_external_id": line.sku_external_id,
    }
    return OrderLine(line_id=line.line_id or str(number + 1), quantity=line.quantity, base=line.base.amount, **told)
