"""What providers settled to us."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.responses import Response

from colink.api.auth import Permission
from colink.api.bodies import Currency, ExactBody, Id, Int, Moment, MoneyBody, Text
from colink.api.configured import Kind, answer_list, answer_one, find
from colink.api.pages import Page, page
from colink.api.routes.organizations import STORE
from colink.api.session import Session, may
from colink.application.settlements import MOST_FEES, RecordSettlement
from colink.domain.errors import InvalidInput
from colink.domain.facts import FeeKind
from colink.domain.settlements import SettledFee, SettlementDetails

router = APIRouter(prefix="/v1", tags=["settlements"])

SETTLEMENT = Kind(details_class=SettlementDetails, name="settlement")
Reading = Annotated[Session, Depends(may(Permission.READ_SETTLEMENTS))]


class SettledFeeBody(ExactBody):
    """A fee of one order; below zero: given back. `dispute_id`: the platform's id of the dispute that it is for;
    without it, it is for those opened by then."""

    order_external_id: Id
    kind: FeeKind = FeeKind.PAYMENT
    amount: MoneyBody | Int
    dispute_id: Id | None = None


class SettlementBody(ExactBody):
    """`gross`: what leaves the store's clearing account, `fee`: what the provider kept of it. All amounts are in
    `currency`; plain integers are taken too, as its minor units."""

    store_id: Id
    reference: Text
    currency: Currency
    gross: MoneyBody | Int
    fee: MoneyBody | Int
    settled_at: Moment
    received_by: Text | None = None
    fees: Annotated[list[SettledFeeBody], Field(max_length=MOST_FEES, default_factory=list)]


@router.post("/settlements", status_code=201)
async def record_settlement(
    body: SettlementBody, session: Annotated[Session, Depends(may(Permission.RECORD_SETTLEMENTS))]
) -> Response:
    """Book what a provider settled of a store's money, by its own reference: the same again changes nothing, another
    settlement under that reference is a conflict. The fee that the statement shows of an order takes the place of
    what was known of it; the difference is posted."""
    return await session.submit(
        RecordSettlement(
            **session.common(),
            store=await find(session, STORE, body.store_id),
            reference=body.reference,
            currency=body.currency,
            gross=_minor(body.gross, body.currency, field="gross"),
            fee=_minor(body.fee, body.currency, field="fee"),
            settled_at=body.settled_at,
            received_by=body.received_by,
            fees=tuple(
                SettledFee(
                    order_external_id=fee.order_external_id,
                    kind=fee.kind,
                    amount=_minor(fee.amount, body.currency, field=f"fees.{number}.amount"),
                    dispute_id=fee.dispute_id,
                )
                for number, fee in enumerate(body.fees)
            ),
        )
    )


def _minor(amount: MoneyBody | int, currency: str, *, field: str) -> int:
    """Raises InvalidInput for money in another currency than the settlement's."""
    if isinstance(amount, int):
        return amount
    if amount.currency != currency:
        msg = f"the settlement is in {currency}, this is in {amount.currency}"
        raise InvalidInput(msg, field=f"{field}.currency")
    return amount.amount


@router.get("/settlements")
async def list_settlements(
    session: Reading, page: Annotated[Page, Depends(page)], organization_id: str | None = None
) -> Response:
    return await answer_list(session, SETTLEMENT, page, organization_id=organization_id)


@router.get("/settlements/{settlement_id}")
async def read_settlement(settlement_id: str, session: Reading) -> Response:
    return await answer_one(session, SETTLEMENT, settlement_id)
