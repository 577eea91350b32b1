"""Organisations and their stores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from colink.api.answers import json_answer
from colink.api.auth import Permission
from colink.api.bodies import Body, Currency, ExactBody, Flag, FreeJson, Id, Int, MoneyBody, Text
from colink.api.configured import Kind, answer_list, answer_one, find, read_list
from colink.api.pages import Page, page
from colink.api.session import Session, may
from colink.application.configure.organizations import ConnectStore, RegisterOrganization
from colink.application.representations import shown
from colink.application.withholding import SetWithholding
from colink.domain.errors import InvalidInput
from colink.domain.organizations import FeeSchedule, OrganizationDetails, Platform, Settlement, StoreDetails

router = APIRouter(prefix="/v1", tags=["organizations"])

Registering = Annotated[Session, Depends(may(Permission.REGISTER_ORGANIZATIONS))]
Configuring = Annotated[Session, Depends(may(Permission.CONFIGURE))]
Reading = Annotated[Session, Depends(may(Permission.READ_SETUP))]
Paging = Annotated[Page, Depends(page)]

ORGANIZATION = Kind(details_class=OrganizationDetails, name="organization")
STORE = Kind(details_class=StoreDetails, name="store")


class OrganizationBody(Body):
    name: Text
    platform_fee_bps: Int
    hold_days: Int = 14
    timezone: Text = "UTC"
    refund_platform_fee: Flag = True
    advance: Flag = False


class FeeScheduleBody(ExactBody):
    """What the payment provider keeps: a rate of the total collected and a fixed part, which is money, or minor units
    of each order's own currency."""

    rate_bps: Int = 0
    fixed: MoneyBody | Int | None = None

    def schedule(self) -> FeeSchedule:
        fixed = self.fixed.money() if isinstance(self.fixed, MoneyBody) else self.fixed
        return FeeSchedule(rate_bps=self.rate_bps, fixed=fixed)


class StoreBody(Body):
    organization_id: Id
    platform: Platform
    name: Text
    domain: Text | None = None
    settlement: Settlement
    credentials: FreeJson
    payment_fee: FeeScheduleBody | None = None


@router.post("/organizations", status_code=201)
async def register_organization(body: OrganizationBody, session: Registering) -> Response:
    """Register a seller. Fees in basis points; `hold_days` until money clears."""
    return await session.submit(
        RegisterOrganization(**session.common(), id=session.services.ids("org"), **body.model_dump())
    )


@router.get("/organizations")
async def list_organizations(session: Reading, page: Paging) -> Response:
    return await answer_list(session, ORGANIZATION, page)


@router.get("/organizations/{organization_id}")
async def read_organization(organization_id: str, session: Reading) -> Response:
    return await answer_one(session, ORGANIZATION, organization_id)


@router.post("/stores", status_code=201)
async def connect_store(body: StoreBody, session: Configuring) -> Response:
    """Connect a shop. Point its webhooks at the `webhook_url` of the answer. Credentials are never shown again."""
    command = ConnectStore(
        **session.common(),
        within=session.within_organization,
        id=session.services.ids("sto"),
        organization_id=body.organization_id,
        platform=body.platform,
        name=body.name,
        settlement=body.settlement,
        credentials=body.credentials,
        domain=body.domain,
        payment_fee=body.payment_fee.schedule() if body.payment_fee else None,
    )
    return await session.submit(command, show=lambda store: _with_address(session, store))


@router.get("/stores")
async def list_stores(session: Reading, page: Paging, organization_id: str | None = None) -> Response:
    listed = await read_list(session, STORE, page, organization_id=organization_id)
    return json_answer(listed | {"items": [_with_address(session, store) for store in listed["items"]]})


@router.get("/stores/{store_id}")
async def read_store(store_id: str, session: Reading) -> Response:
    return json_answer(_with_address(session, shown(await find(session, STORE, store_id))))


def _with_address(session: Session, store: Mapping[str, Any]) -> Mapping[str, Any]:
    address = f"{session.services.public_url}/webhooks/{store['platform']}/{store['id']}"
    return {**store, "webhook_url": address}


class WithholdingBody(ExactBody):
    """`rate_bps` 0 switches it off. Payouts below `threshold` are not taxed."""

    currency: Currency
    authority: Id
    rate_bps: Int
    threshold: MoneyBody | None = None


@router.post("/organizations/{organization_id}/withholding", status_code=201)
async def set_withholding(organization_id: str, body: WithholdingBody, session: Registering) -> Response:
    """Withhold tax from a seller's payouts in one currency, from those approved after this."""
    threshold = body.threshold.money() if body.threshold else None
    if threshold is not None and threshold.currency != body.currency:
        msg = f"the threshold is in {threshold.currency}, the tax in {body.currency}"
        raise InvalidInput(msg, field="threshold.currency")
    return await session.submit(
        SetWithholding(
            **session.common(),
            organization_id=organization_id,
            currency=body.currency,
            authority=body.authority,
            rate_bps=body.rate_bps,
            threshold=threshold.amount if threshold else 0,
        )
    )
