"""The ledger as a whole: its chart with gross sums, and closed periods."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from colink.api.answers import json_answer
from colink.api.auth import Permission
from colink.api.bodies import ExactBody, Text
from colink.api.session import Session, may
from colink.application.close_period import ClosePeriod
from colink.domain.accounts import CHART
from colink.domain.errors import NotFound
from colink.projections.books import AccountSums, Closing, list_accounts, list_closings

router = APIRouter(prefix="/v1/ledger", tags=["ledger"])

Reading = Annotated[Session, Depends(may(Permission.READ_LEDGER))]
Booking = Annotated[Session, Depends(may(Permission.BOOK_JOURNALS))]


class ClosingBody(ExactBody):
    """Why; it is kept with the closing."""

    reason: Text


@router.get("/accounts")
async def read_accounts(session: Reading, prefix: str | None = None) -> Response:
    """The chart of accounts, and each account that was posted to: debits, credits, and balance (credit above zero),
    in minor units. For those who see the whole ledger."""
    check_sees_everything(session)
    async with session.services.pool.connection() as conn:
        accounts = await list_accounts(conn, prefix=prefix)
    chart = [
        {
            "account": kind.pattern,
            "type": kind.type,
            "normal_side": kind.normal_side,
            "may_go_negative": kind.may_go_negative,
            "meaning": kind.meaning,
        }
        for kind in CHART
    ]
    return json_answer({"chart": chart, "items": [account_view(each) for each in accounts], "next_cursor": None})


@router.get("/periods")
async def read_periods(session: Reading) -> Response:
    """From when the ledger is open (null: always), and every closing. Creators and sellers are told `open_from`
    alone: who closed a month, and why, is the platform's own."""
    async with session.services.pool.connection() as conn:
        closings = await list_closings(conn)
    open_from = closings[-1].details.open_from if closings else None
    if session.within_payee is not None:
        closings = []
    return json_answer(
        {"open_from": open_from, "items": [closing_view(each) for each in closings], "next_cursor": None}
    )


@router.post("/periods/{month}/close", status_code=201)
async def close_period(month: str, body: ClosingBody, session: Booking) -> Response:
    """Close a month (such as 2026-10, in UTC) that is over, and all open ones before it. It stays closed."""
    return await session.submit(ClosePeriod(**session.common(), month=month, reason=body.reason))


def check_sees_everything(session: Session) -> None:
    """Raises NotFound for a caller who is bound to an organisation or payee."""
    if session.within_payee is not None:
        msg = "there is no such thing here"
        raise NotFound(msg)


def account_view(account: AccountSums) -> dict[str, Any]:
    return {
        "account": account.account,
        "currency": account.currency,
        "type": account.kind.type,
        "normal_side": account.kind.normal_side,
        "debits": account.debits,
        "credits": account.credits,
        "amount": account.amount,
    }


def closing_view(closing: Closing) -> dict[str, Any]:
    details = closing.details
    return {
        "month": details.month,
        "open_from": details.open_from,
        "closed_by": details.closed_by,
        "reason": details.reason,
        "recorded_at": closing.recorded_at,
        "position": closing.position,
    }
