"""Creators, links and coupons: who brings buyers, and what they hand to them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import segno
from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.responses import Response

from colink.api.answers import json_answer
from colink.api.auth import Permission
from colink.api.bodies import Body, Id, Text
from colink.api.configured import Kind, find, read_list
from colink.api.pages import Page, page, text_after
from colink.api.session import Session, may
from colink.application.configure.creators import RegisterCreator
from colink.application.configure.promotion import CreateCoupon, CreateLink
from colink.application.representations import shown
from colink.domain.creators import CreatorDetails
from colink.domain.errors import NotFound
from colink.domain.tracking import CouponDetails, LinkDetails
from colink.projections.belongings import promotions_of_creator

router = APIRouter(prefix="/v1", tags=["promotion"])

Configuring = Annotated[Session, Depends(may(Permission.CONFIGURE))]
CreatingLinks = Annotated[Session, Depends(may(Permission.CREATE_LINKS))]
Reading = Annotated[Session, Depends(may(Permission.READ_PROMOTION))]
Paging = Annotated[Page, Depends(page)]

CREATOR = Kind(details_class=CreatorDetails, name="creator", everyone=True)
LINK = Kind(details_class=LinkDetails, name="link")
COUPON = Kind(details_class=CouponDetails, name="coupon")


class CreatorBody(Body):
    """The e-mail is kept apart, to notice own purchases, and never shown. All of it is stored sealed."""

    handle: Text
    display_name: Text
    email: Text | None = None


class LinkBody(Body):
    """Without a campaign the host of the destination says which stores the link leads to."""

    creator_id: Id
    campaign_id: Id | None = None
    destination: Text
    code: Text | None = None
    utm: Annotated[dict[Text, Text], Field(max_length=10)] | None = None


class CouponBody(Body):
    """A discount code of the store. Its case does not matter."""

    creator_id: Id
    campaign_id: Id | None = None
    store_id: Id
    code: Text


@router.post("/creators", status_code=201)
async def register_creator(body: CreatorBody, session: Configuring) -> Response:
    creator_id, services = session.services.ids("cre"), session.services
    command = RegisterCreator(
        **session.common(),
        id=creator_id,
        customer_ref=services.customer_ref(body.email),
        sealed=services.people.seal_profile(creator_id, **body.model_dump()),
        **body.model_dump(),
    )
    return await session.submit(command, reveal=services.people.show_creators)


@router.get("/creators")
async def list_creators(session: Reading, page: Paging) -> Response:
    show = session.services.people.show_creators
    if session.within_creator is not None:
        [creator] = await show([shown(await find(session, CREATOR, session.within_creator))])
        return json_answer({"items": [] if page.after else [creator], "next_cursor": None})
    listed = await read_list(session, CREATOR, page)
    return json_answer(listed | {"items": await show(listed["items"])})


@router.get("/creators/{creator_id}")
async def read_creator(creator_id: str, session: Reading) -> Response:
    _check_is_own(session, creator_id, what="creator")
    [creator] = await session.services.people.show_creators([shown(await find(session, CREATOR, creator_id))])
    return json_answer(creator)


@router.post("/links", status_code=201)
async def create_link(body: LinkBody, session: CreatingLinks) -> Response:
    """Create a tracking link. A creator creates their own."""
    command = CreateLink(
        **session.common(),
        within=session.within_organization,
        creator_only=session.within_creator,
        id=session.services.ids("lnk"),
        creator_id=body.creator_id,
        campaign_id=body.campaign_id,
        destination=body.destination,
        code=body.code or session.services.new_code(),
        utm=body.utm,
    )
    return await session.submit(command, show=lambda link: _with_addresses(session, link))


@router.get("/links")
async def list_links(session: Reading, page: Paging, creator_id: str | None = None) -> Response:
    listed = await _promotions(session, LINK, page, creator_id)
    return json_answer(listed | {"items": [_with_addresses(session, link) for link in listed["items"]]})


@router.get("/links/{link_id}")
async def read_link(link_id: str, session: Reading) -> Response:
    return json_answer(_with_addresses(session, shown(await _own_link(session, link_id))))


@router.get("/links/{link_id}/qr.{form}", response_class=Response)
async def draw_link(link_id: str, form: Literal["svg", "png"], session: Reading) -> Response:
    """The link's URL as a QR code."""
    link = await _own_link(session, link_id)
    drawing = io.BytesIO()
    code = segno.make(_address(session, link.code), error="m", micro=False)
    code.save(drawing, kind=form, scale=8, border=4)
    return Response(drawing.getvalue(), media_type="image/png" if form == "png" else "image/svg+xml")


@router.post("/coupons", status_code=201)
async def create_coupon(body: CouponBody, session: Configuring) -> Response:
    return await session.submit(
        CreateCoupon(
            **session.common(),
            within=session.within_organization,
            id=session.services.ids("cpn"),
            **body.model_dump(),
        )
    )


@router.get("/coupons")
async def list_coupons(session: Reading, page: Paging, creator_id: str | None = None) -> Response:
    return json_answer(await _promotions(session, COUPON, page, creator_id))


@router.get("/coupons/{coupon_id}")
async def read_coupon(coupon_id: str, session: Reading) -> Response:
    coupon: CouponDetails = await find(session, COUPON, coupon_id)
    _check_is_own(session, coupon.creator_id, what="coupon")
    return json_answer(shown(coupon))


def _check_is_own(session: Session, creator_id: str, *, what: str) -> None:
    """Raises NotFound for what is another creator's."""
    if session.within_creator is not None and creator_id != session.within_creator:
        msg = f"there is no such {what}"
        raise NotFound(msg)


async def _own_link(session: Session, link_id: str) -> LinkDetails:
    link: LinkDetails = await find(session, LINK, link_id)
    _check_is_own(session, link.creator_id, what="link")
    return link


async def _promotions(session: Session, kind: Kind, page: Page, creator_id: str | None) -> dict[str, Any]:
    """Links or coupons: of one creator where asked for, those of the caller where it is bound."""
    if creator_id is not None:
        _check_is_own(session, creator_id, what="creator")
    creator_id = creator_id or session.within_creator
    if creator_id is None:
        return await read_list(session, kind, page)
    async with session.services.pool.connection() as conn:
        documents = await promotions_of_creator(
            conn,
            kind.details_class,
            creator_id=creator_id,
            organization_id=session.within_organization,
            after_id=text_after(page),
            limit=page.limit + 1,
        )
    return page.answer(documents, key=lambda document: (document.id,), show=kind.show)


def _address(session: Session, code: str) -> str:
    return f"{session.services.public_url}/l/{code}"


def _with_addresses(session: Session, link: Mapping[str, Any]) -> dict[str, Any]:
    qr = f"{session.services.public_url}/v1/links/{link['id']}/qr.svg"
    return {**link, "url": _address(session, link["code"]), "qr_url": qr}
