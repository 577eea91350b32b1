"""Journals that people make: proposed by one, approved or rejected by another."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.responses import Response

from colink.api.answers import json_answer
from colink.api.auth import Permission
from colink.api.bodies import Body, Currency, ExactBody, Id, Int, Moment, MoneyBody, Text
from colink.api.pages import Page, page, text_after
from colink.api.routes.books import check_sees_everything
from colink.api.session import Session, may
from colink.application.book import (
    ApproveBooking,
    ProposeConversion,
    ProposeJournal,
    ProposeRemittance,
    ProposeReversal,
    ProposeWriteOff,
    RejectBooking,
)
from colink.application.representations import shown
from colink.domain.bookings import BOOKING_ID, MAX_POSTINGS, BookedPosting, BookingDetails, BookingStatus
from colink.domain.errors import NotFound
from colink.projections.bookings import booking_by_id, list_bookings

router = APIRouter(prefix="/v1", tags=["journals"])

Reading = Annotated[Session, Depends(may(Permission.READ_LEDGER))]
Booking = Annotated[Session, Depends(may(Permission.BOOK_JOURNALS))]


class PostingBody(ExactBody):
    """Signed minor units, credit above zero."""

    account: Id
    amount: Int
    currency: Currency


class ProposalBody(ExactBody):
    """Why, and when it takes effect: now, where nothing is said; never in a closed period."""

    reason: Text
    effective_at: Moment | None = None
    organization_id: Id | None = None


class JournalBody(ProposalBody):
    """The postings sum to zero in each currency. `corrects`: a journal id."""

    postings: Annotated[list[PostingBody], Field(min_length=2, max_length=MAX_POSTINGS)]
    corrects: Id | None = None


class WriteOffBody(ProposalBody):
    """`account`: a payee's available account below zero, or a seller's receivable."""

    account: Id
    amount: MoneyBody


class ConversionBody(ProposalBody):
    """`rate`: units of `into` for one unit of the amount's currency, a decimal as text; whose, and when it was so."""

    payee_id: Id
    amount: MoneyBody
    into: Currency
    rate: Id
    source: Text
    rated_at: Moment


class RemittanceBody(ProposalBody):
    """`processor`: the rail or bank that pays, as in `processor:{name}:cash`."""

    authority: Id
    processor: Id
    amount: MoneyBody


class NoteBody(Body):
    reason: Text | None = None


@router.post("/journals", status_code=201)
async def propose_journal(body: JournalBody, session: Booking) -> Response:
    """A journal by hand. It is posted when somebody else approves it."""
    postings = [BookedPosting(account=p.account, amount=p.amount, currency=p.currency) for p in body.postings]
    return await session.submit(ProposeJournal(**_proposal(session, body), postings=postings, corrects=body.corrects))


@router.post("/write-offs", status_code=201)
async def propose_write_off(body: WriteOffBody, session: Booking) -> Response:
    """Give up what is owed. It is posted when somebody else approves it, up to the debt there is then."""
    return await session.submit(
        ProposeWriteOff(**_proposal(session, body), account=body.account, amount=body.amount.money())
    )


@router.post("/conversions", status_code=201)
async def propose_conversion(body: ConversionBody, session: Booking) -> Response:
    """Convert what a payee has available. It is posted when somebody else approves it."""
    return await session.submit(
        ProposeConversion(
            **_proposal(session, body),
            payee_id=body.payee_id,
            amount=body.amount.money(),
            into=body.into,
            rate=body.rate,
            source=body.source,
            rated_at=body.rated_at,
        )
    )


@router.post("/conversions/{booking_id}/reverse", status_code=201)
async def propose_reversal(booking_id: str, body: ProposalBody, session: Booking) -> Response:
    """Take a conversion back at the rate it was made at. It is posted when somebody else approves it."""
    return await session.submit(ProposeReversal(**_proposal(session, body), reverses=booking_id))


@router.post("/tax-remittances", status_code=201)
async def propose_remittance(body: RemittanceBody, session: Booking) -> Response:
    """Pay withheld tax to its authority. It is posted when somebody else approves it."""
    return await session.submit(
        ProposeRemittance(
            **_proposal(session, body),
            authority=body.authority,
            processor=body.processor,
            amount=body.amount.money(),
        )
    )


@router.get("/journals")
async def read_journals(
    session: Reading, page: Annotated[Page, Depends(page)], status: BookingStatus | None = None
) -> Response:
    """Journals that people made, oldest first: manual ones, write-offs, conversions, remittances."""
    check_sees_everything(session)
    async with session.services.pool.connection() as conn:
        bookings = await list_bookings(conn, status=status, after_id=text_after(page), limit=page.limit + 1)
    return json_answer(page.answer(bookings, key=lambda each: (each.id,), show=shown))


@router.get("/journals/{booking_id}")
async def read_journal(booking_id: str, session: Reading) -> Response:
    return json_answer(shown(await _booking(session, booking_id)))


@router.post("/journals/{booking_id}/approve")
async def approve_journal(booking_id: str, session: Booking) -> Response:
    """Post it. Who proposed it does not approve it."""
    known = await _booking(session, booking_id)
    return await session.submit(ApproveBooking(**session.common(), known=known), status=200)


@router.post("/journals/{booking_id}/reject")
async def reject_journal(booking_id: str, session: Booking, body: NoteBody | None = None) -> Response:
    """Refuse it, or take back one's own. Nothing is posted."""
    known = await _booking(session, booking_id)
    note = (body.reason if body else None) or ""
    return await session.submit(RejectBooking(**session.common(), known=known, note=note), status=200)


async def _booking(session: Session, booking_id: str) -> BookingDetails:
    check_sees_everything(session)
    async with session.services.pool.connection() as conn:
        booking = await booking_by_id(conn, booking_id)
    if booking is None:
        msg = "there is no such journal"
        raise NotFound(msg)
    return booking


def _proposal(session: Session, body: ProposalBody) -> Any:
    return {
        **session.common(),
        "booking_id": session.services.ids(BOOKING_ID),
        "reason": body.reason,
        "effective_at": body.effective_at,
        "organization_id": body.organization_id,
    }
