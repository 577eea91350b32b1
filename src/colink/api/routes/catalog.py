"""Products and their SKUs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.responses import Response

from colink.api.auth import Permission
from colink.api.bodies import Body, Id, MoneyBody, Text
from colink.api.configured import Kind, answer_list, answer_one
from colink.api.pages import Page, page
from colink.api.session import Session, may
from colink.application.configure.catalog import MOST_SKUS, NewSku, RecordProduct
from colink.domain.catalog import ProductDetails

router = APIRouter(prefix="/v1", tags=["catalog"])

PRODUCT = Kind(details_class=ProductDetails, name="product")


class SkuBody(Body):
    external_id: Id
    sku: Text
    price: MoneyBody


class ProductBody(Body):
    """External ids are the platform's product and variant ids."""

    organization_id: Id
    store_id: Id
    external_id: Id
    title: Text
    skus: Annotated[list[SkuBody], Field(max_length=MOST_SKUS)]


@router.post("/products", status_code=201)
async def record_product(
    body: ProductBody, session: Annotated[Session, Depends(may(Permission.CONFIGURE))]
) -> Response:
    """Record a product, or change the one with that external id."""
    return await session.submit(
        RecordProduct(
            **session.common(),
            within=session.within_organization,
            organization_id=body.organization_id,
            store_id=body.store_id,
            external_id=body.external_id,
            title=body.title,
            skus=tuple(
                NewSku(external_id=sku.external_id, sku=sku.sku, price=sku.price.money()) for sku in body.skus
            ),
        )
    )


@router.get("/products")
async def list_products(
    session: Annotated[Session, Depends(may(Permission.READ_SETUP))],
    page: Annotated[Page, Depends(page)],
    organization_id: str | None = None,
) -> Response:
    return await answer_list(session, PRODUCT, page, organization_id=organization_id)


@router.get("/products/{product_id}")
async def read_product(product_id: str, session: Annotated[Session, Depends(may(Permission.READ_SETUP))]) -> Response:
    return await answer_one(session, PRODUCT, product_id)
