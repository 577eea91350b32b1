"""Sellers who collect the money themselves: invoices, payments, and what is open of their accounts."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.responses import Response

from colink.api.answers import json_answer
from colink.api.auth import Permission
from colink.api.bodies import Currency, ExactBody, Id, Moment, MoneyBody, Text
from colink.api.pages import Page, page, text_after
from colink.api.session import Session, may
from colink.application.seller_accounts import shown_account
from colink.application.seller_invoices import IssueSellerInvoice, shown_invoice
from colink.application.seller_payments import RecordSellerPayment, ReturnSellerPayment, shown_payment
from colink.domain.errors import InvalidInput, NotFound
from colink.domain.seller_account_events import SellerAccountDetails
from colink.domain.seller_accounts import MOST_ORDERS
from colink.domain.seller_billing import SellerInvoiceDetails, SellerPaymentDetails
from colink.projections.documents import Document, document_by_id, list_documents
from colink.projections.seller_billing import open_orders_of, receivable_currencies, return_page
from colink.projections.seller_invoices import bill_for

router = APIRouter(prefix="/v1", tags=["seller billing"])

Reading = Annotated[Session, Depends(may(Permission.READ_BILLING))]
Billing = Annotated[Session, Depends(may(Permission.BILL_SELLERS))]
Paging = Annotated[Page, Depends(page)]


class SellerPaymentBody(ExactBody):
    """Money that arrived from a seller. `reference`: the bank's, by which it is recorded once. It settles the orders
    that it names, or those of its invoice, and with the rest the oldest."""

    organization_id: Id
    amount: MoneyBody
    reference: Annotated[Text, Field(max_length=140)]
    received_at: Moment
    invoice_id: Id | None = None
    order_ids: Annotated[list[Id], Field(max_length=MOST_ORDERS)] = []  # noqa: RUF012 - pydantic copies it


class SellerPaymentReturnBody(ExactBody):
    """`reason`: what the bank says. `returned_at`: when it took the money back."""

    reason: Annotated[Text, Field(max_length=1_000)]
    returned_at: Moment


class SellerInvoiceBody(ExactBody):
    """`period`: a calendar month that is over (`2026-03`), in the organisation's time zone; by default the last."""

    organization_id: Id
    currency: Currency
    period: Annotated[str | None, Field(pattern="^2[0-9]{3}-(0[1-9]|1[0-2])$")] = None


@router.post("/seller-payments", status_code=201)
async def record_seller_payment(body: SellerPaymentBody, session: Billing) -> Response:
    """Record a payment, once per reference. What it does not settle at once the worker settles, oldest orders first;
    what is left over stays the seller's credit."""
    if body.order_ids and body.invoice_id is not None:
        msg = "a payment names an invoice or orders, not both"
        raise InvalidInput(msg, field="order_ids")
    named = tuple(dict.fromkeys(body.order_ids))
    async with session.services.pool.connection() as conn:
        currencies = await receivable_currencies(conn, body.organization_id)
        if body.invoice_id is not None:
            named = await open_orders_of(conn, body.invoice_id, organization_id=body.organization_id)
    return await session.submit(
        RecordSellerPayment(
            **session.common(),
            organization_id=body.organization_id,
            amount=body.amount.money(),
            reference=body.reference,
            received_at=body.received_at,
            currencies=currencies,
            invoice_id=body.invoice_id,
            order_ids=named,
        )
    )


@router.get("/seller-payments")
async def read_seller_payments(session: Reading, page: Paging, organization_id: str | None = None) -> Response:
    documents = await _documents(session, page, SellerPaymentDetails, organization_id)
    return json_answer(
        page.answer(
            documents,
            key=lambda document: (document.id,),
            show=lambda document: shown_payment(document.details(SellerPaymentDetails)),
        )
    )


@router.get("/seller-payments/{payment_id}")
async def read_seller_payment(payment_id: str, session: Reading) -> Response:
    document = await _own_document(session, SellerPaymentDetails, payment_id, what="payment")
    return json_answer(shown_payment(document.details(SellerPaymentDetails)))


@router.post("/seller-payments/{payment_id}/return")
async def return_seller_payment(payment_id: str, body: SellerPaymentReturnBody, session: Billing) -> Response:
    """The bank took the payment back, say a cheque or a direct debit bounced. Its journal is reversed, and as much of
    what is settled is taken back of orders that have not cleared, those that it named first, then the newest: they
    clear once they are paid again. What has cleared stays; what is missing is owed before anything else is settled.
    Told again, the same answer."""
    document = await _own_document(session, SellerPaymentDetails, payment_id, what="payment")
    payment = document.details(SellerPaymentDetails)
    async with session.services.pool.connection() as conn:
        page_ = await return_page(conn, payment)
    return await session.submit(
        ReturnSellerPayment(
            **session.common(), known=payment, reason=body.reason, returned_at=body.returned_at, page=page_
        ),
        status=200,
    )


@router.post("/seller-invoices", status_code=201)
async def issue_seller_invoice(body: SellerInvoiceBody, session: Billing) -> Response:
    """Bill a seller for a month: what was open, what was charged and credited for each order since the invoice
    before, what was paid, and what is due. Asked again, the same invoice."""
    async with session.services.pool.connection() as conn:
        bill = await bill_for(
            conn,
            organization_id=body.organization_id,
            currency=body.currency,
            period=body.period,
            now=session.services.clock.now(),
        )
    return await session.submit(IssueSellerInvoice(**session.common(), bill=bill))


@router.get("/seller-invoices")
async def read_seller_invoices(session: Reading, page: Paging, organization_id: str | None = None) -> Response:
    """Without their lines, which an invoice asked for alone has."""
    documents = await _documents(session, page, SellerInvoiceDetails, organization_id)
    return json_answer(
        page.answer(
            documents,
            key=lambda document: (document.id,),
            show=lambda document: shown_invoice(document.details(SellerInvoiceDetails), lines=False),
        )
    )


@router.get("/seller-invoices/{invoice_id}")
async def read_seller_invoice(invoice_id: str, session: Reading) -> Response:
    document = await _own_document(session, SellerInvoiceDetails, invoice_id, what="invoice")
    return json_answer(shown_invoice(document.details(SellerInvoiceDetails)))


@router.get("/seller-accounts")
async def read_seller_accounts(session: Reading, page: Paging, organization_id: str | None = None) -> Response:
    """Of each seller and currency the credit: what was paid or credited and settles no order yet; below zero: what is
    owed beside orders. `held`: of that, what true-ups of creators wait for."""
    documents = await _documents(session, page, SellerAccountDetails, organization_id)
    return json_answer(
        page.answer(
            documents,
            key=lambda document: (document.id,),
            show=lambda document: shown_account(document.details(SellerAccountDetails)),
        )
    )


async def _documents(session: Session, page: Page, kind: type[Any], organization_id: str | None) -> list[Document]:
    if organization_id is not None:
        session.check_sees_organization(organization_id, what="organization")
    async with session.services.pool.connection() as conn:
        return await list_documents(
            conn,
            kind,
            organization_id=organization_id or session.within_organization,
            after_id=text_after(page),
            limit=page.limit + 1,
        )


async def _own_document(session: Session, kind: type[Any], id_: str, *, what: str) -> Document:
    async with session.services.pool.connection() as conn:
        document = await document_by_id(conn, kind, id_)
    if document is None:
        msg = f"there is no such {what}"
        raise NotFound(msg)
    session.check_sees_organization(document.organization_id, what=what)
    return document
