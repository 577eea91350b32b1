"""Payout accounts and payouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from colink.api.answers import json_answer
from colink.api.auth import ALLOWED, Permission
from colink.api.bodies import Body, Currency, ExactBody, FreeJson, Id, MoneyBody, Text
from colink.api.pages import Page, numbers_after, page, text_after, texts_after
from colink.api.routes.ledger import entry_view
from colink.api.session import Session, may, watch
from colink.application.payouts import (
    ApprovePayout,
    CancelPayout,
    HoldPayout,
    LiftPayoutHold,
    RegisterPayoutAccount,
    RejectPayout,
    RequestPayout,
    shown_account,
)
from colink.domain.errors import NotFound
from colink.domain.ledger import payee_available
from colink.domain.money import Money
from colink.domain.payout_accounts import PayoutAccountDetails, Rail, payout_account_id
from colink.domain.payout_funds import Stretch
from colink.domain.payouts import PAYOUT_ID, PayoutStatus
from colink.projections.belongings import payout_accounts
from colink.projections.debts import list_debts
from colink.projections.documents import document_by_id
from colink.projections.entries import Entry, list_credits
from colink.projections.payouts import FiledPayout, list_payouts, payout_by_id
from colink.projections.statuses import statuses_of

router = APIRouter(prefix="/v1", tags=["payouts"])

Reading = Annotated[Session, Depends(may(Permission.READ_PAYOUTS))]
Requesting = Annotated[Session, Depends(may(Permission.REQUEST_PAYOUTS))]
Deciding = Annotated[Session, Depends(may(Permission.DECIDE_PAYOUTS))]
KeepingAccounts = Annotated[Session, Depends(may(Permission.KEEP_PAYOUT_ACCOUNTS))]
Paging = Annotated[Page, Depends(page)]


class PayoutAccountBody(ExactBody):
    """Where a payee is paid in one currency; the next one takes its place. Sandbox details: `outcome`, `delay_ms`,
    and, to be like a bank's, `account_holder` and `account_number`. Details are stored sealed."""

    payee_id: Id
    rail: Rail
    currency: Currency
    details: FreeJson
    minimum: MoneyBody | None = None


class PayoutBody(ExactBody):
    """Without an amount: all that is available."""

    payee_id: Id
    currency: Currency
    amount: MoneyBody | None = None


class ReasonBody(Body):
    reason: Text | None = None


class HoldBody(ExactBody):
    """Why, for whoever finds the payout held."""

    reason: Text


@router.post("/payout-accounts", status_code=201)
async def register_payout_account(body: PayoutAccountBody, session: KeepingAccounts) -> Response:
    services = session.services
    command = RegisterPayoutAccount(
        **session.common(),
        within_payee=session.within_payee,
        payee_id=body.payee_id,
        rail=body.rail,
        currency=body.currency,
        details=body.details,
        minimum=body.minimum.money() if body.minimum else None,
        sealed=services.people.seal_account(
            body.payee_id,
            body.details,
            account_id=payout_account_id(body.payee_id, body.currency),
            name=services.ids("acd"),
        ),
    )
    return await session.submit(command, reveal=services.people.show_accounts)


@router.get("/payout-accounts")
async def read_payout_accounts(
    request: Request, session: Reading, page: Paging, payee_id: str | None = None
) -> Response:
    """All accounts, or those of one payee; a bound caller gets its own."""
    if payee_id is not None:
        session.check_sees_payee(payee_id, what="payee")
    async with session.services.pool.connection() as conn:
        documents = await payout_accounts(
            conn,
            payee_id=payee_id or session.within_payee,
            after_id=text_after(page),
            limit=page.limit + 1,
        )
    listed = page.answer(
        documents,
        key=lambda document: (document.id,),
        show=lambda document: shown_account(document.details(PayoutAccountDetails)),
    )
    return json_answer(listed | {"items": await _readable(request, session, listed["items"])})


@router.get("/payout-accounts/{account_id}")
async def read_payout_account(request: Request, account_id: str, session: Reading) -> Response:
    async with session.services.pool.connection() as conn:
        document = await document_by_id(conn, PayoutAccountDetails, account_id)
    if document is None:
        msg = "there is no such payout account"
        raise NotFound(msg)
    account = document.details(PayoutAccountDetails)
    session.check_sees_payee(account.payee_id, what="payout account")
    [view] = await _readable(request, session, [shown_account(account)])
    return json_answer(view)


async def _readable(request: Request, session: Session, views: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Accounts with their details in clear for those who keep accounts: payees, finance, operators. Others, auditors
    that is, are told none. Of who reads another's there is a trace."""
    if Permission.KEEP_PAYOUT_ACCOUNTS in ALLOWED[session.principal.role]:
        if session.within_payee is None:
            watch(request, session.principal)
        return await session.services.people.show_accounts(views)
    return [{name: value for name, value in view.items() if name != "private"} | {"details": None} for view in views]


@router.post("/payouts", status_code=201)
async def request_payout(body: PayoutBody, session: Requesting) -> Response:
    """Reserve what is available, or a part of it, for a payout."""
    return await session.submit(
        RequestPayout(
            **session.common(),
            within_payee=session.within_payee,
            payout_id=session.services.ids(PAYOUT_ID),
            payee_id=body.payee_id,
            currency=body.currency,
            amount=body.amount.money() if body.amount else None,
            automatic_approval=session.services.automatic_approval,
        )
    )


@router.get("/payouts")
async def read_payouts(
    session: Reading,
    page: Paging,
    payee_id: str | None = None,
    currency: Annotated[str | None, Query(max_length=3)] = None,
    status: PayoutStatus | None = None,
) -> Response:
    if payee_id is not None:
        session.check_sees_payee(payee_id, what="payee")
    after = numbers_after(page, count=1)
    async with session.services.pool.connection() as conn:
        payouts = await list_payouts(
            conn,
            payee_id=payee_id or session.within_payee,
            currency=currency,
            status=[status] if status else None,
            after=after[0] if after else None,
            limit=page.limit + 1,
        )
    return json_answer(page.answer(payouts, key=lambda payout: (payout.created_position,), show=_payout_view))


@router.get("/payouts/debts")
async def read_debts(session: Reading, page: Paging, payee_id: str | None = None) -> Response:
    """Payees whose available money is below zero, as something that was paid out was refunded, and for how long. It
    is netted from their next payout."""
    if payee_id is not None:
        session.check_sees_payee(payee_id, what="payee")
    after = texts_after(page, count=2)
    async with session.services.pool.connection() as conn:
        debts = await list_debts(
            conn,
            payee_id=payee_id or session.within_payee,
            after=(after[0], after[1]) if after else None,
            limit=page.limit + 1,
        )
    now = session.services.clock.now()
    return json_answer(
        page.answer(
            debts,
            key=lambda debt: (debt.payee_id, debt.currency),
            show=lambda debt: {
                "payee_id": debt.payee_id,
                "owed": Money(debt.amount, debt.currency),
                "since": debt.since,
                "days": debt.days(now),
            },
        )
    )


@router.get("/payouts/{payout_id}")
async def read_payout(payout_id: str, session: Reading) -> Response:
    return json_answer(_payout_view(await _own_payout(session, payout_id)))


@router.get("/payouts/{payout_id}/entries")
async def read_payout_entries(payout_id: str, session: Reading, page: Paging) -> Response:
    """The cleared credits a payout reserved, oldest first. `reserved` is the part of the entry that lies in it: all
    of them together are its amount and the debits it netted."""
    payout = await _own_payout(session, payout_id)
    after = numbers_after(page, count=1)
    account, last = payee_available(payout.payee_id), after[0] if after else None
    entries: list[Entry] = []
    async with session.services.pool.connection() as conn:
        for stretch in payout.stretches:
            entries += await list_credits(
                conn,
                account=account,
                currency=payout.currency,
                start=stretch.start,
                end=stretch.end,
                after=last,
                limit=page.limit + 1 - len(entries),
            )
            last = entries[-1].credited_after if entries else last
            if len(entries) > page.limit:
                break
        statuses = await statuses_of(conn, {entry.order_id for entry in entries if entry.order_id})
    return json_answer(
        page.answer(
            entries,
            key=lambda entry: (entry.credited_after or 0,),
            show=lambda entry: entry_view(entry, statuses) | {"reserved": _reserved(entry, payout.stretches)},
        )
    )


@router.post("/payouts/{payout_id}/approve")
async def approve_payout(payout_id: str, session: Deciding) -> Response:
    """Approve for the account the payee has now. Who requested a payout does not approve it."""
    payout = await _own_payout(session, payout_id)
    return await session.submit(
        ApprovePayout(**session.common(), payout_id=payout_id, payee_id=payout.payee_id, currency=payout.currency),
        status=200,
    )


@router.post("/payouts/{payout_id}/cancel")
async def cancel_payout(payout_id: str, session: Requesting, body: ReasonBody | None = None) -> Response:
    """Call off a payout that was not submitted; its money is available again. What finance holds its payee does not
    call off."""
    await _own_payout(session, payout_id)
    reason = (body.reason if body else None) or ""
    return await session.submit(
        CancelPayout(**session.common(), within_payee=session.within_payee, payout_id=payout_id, reason=reason),
        status=200,
    )


@router.post("/payouts/{payout_id}/reject")
async def reject_payout(payout_id: str, session: Deciding, body: ReasonBody | None = None) -> Response:
    """Refuse a payout that was requested; its money is available again."""
    await _own_payout(session, payout_id)
    reason = (body.reason if body else None) or ""
    return await session.submit(RejectPayout(**session.common(), payout_id=payout_id, reason=reason), status=200)


@router.post("/payouts/{payout_id}/hold")
async def hold_payout(payout_id: str, body: HoldBody, session: Deciding) -> Response:
    """Stop a payout that was not submitted; its money stays reserved until it is released, rejected or cancelled."""
    await _own_payout(session, payout_id)
    return await session.submit(HoldPayout(**session.common(), payout_id=payout_id, reason=body.reason), status=200)


@router.post("/payouts/{payout_id}/release")
async def release_payout(payout_id: str, session: Deciding) -> Response:
    """Lift a hold. The payout is requested again: an approval given before the hold counts no more."""
    await _own_payout(session, payout_id)
    return await session.submit(LiftPayoutHold(**session.common(), payout_id=payout_id), status=200)


async def _own_payout(session: Session, payout_id: str) -> FiledPayout:
    async with session.services.pool.connection() as conn:
        payout = await payout_by_id(conn, payout_id)
    if payout is None:
        msg = "there is no such payout"
        raise NotFound(msg)
    session.check_sees_payee(payout.payee_id, what="payout")
    return payout


def _payout_view(payout: FiledPayout) -> dict[str, Any]:
    return {
        "id": payout.payout_id,
        "payee_id": payout.payee_id,
        "status": payout.status,
        "amount": Money(payout.amount, payout.currency),
        "tax": Money(payout.tax, payout.currency),
        "net": Money(payout.amount - payout.tax, payout.currency),
    }


def _reserved(entry: Entry, stretches: tuple[Stretch, ...]) -> int:
    end = entry.credited_after or 0
    start = end - entry.amount
    return sum(max(0, min(end, part.end) - max(start, part.start)) for part in stretches)
