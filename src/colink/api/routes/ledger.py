"""Ledger entries with what became of their money, and balances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from colink.api.answers import json_answer
from colink.api.auth import Permission
from colink.api.bodies import Moment
from colink.api.pages import Page, numbers_after, page
from colink.api.session import Session, may
from colink.domain import ledger
from colink.domain.errors import InvalidInput, NotFound
from colink.domain.organizations import StoreDetails
from colink.projections.balances_in_time import Balance, list_balances
from colink.projections.documents import list_documents
from colink.projections.engine import Connection, Log, head
from colink.projections.entries import Entry, list_entries
from colink.projections.orders import orders_by_ids
from colink.projections.statuses import Statuses, statuses_of

router = APIRouter(prefix="/v1", tags=["ledger"])

Reading = Annotated[Session, Depends(may(Permission.READ_LEDGER))]
_MOST_STORES = 1_000


@router.get("/ledger/entries")
async def read_entries(
    session: Reading,
    page: Annotated[Page, Depends(page)],
    order_id: str | None = None,
    payee_id: str | None = None,
    account: str | None = None,
) -> Response:
    """Entries in the order of the log, those that fit everything given. A seller sees those of its own business, a
    creator those of their own accounts."""
    after = numbers_after(page, count=2)
    async with session.services.pool.connection() as conn:
        await check_may_ask(session, conn, order_id=order_id, payee_id=payee_id, account=account)
        entries = await list_entries(
            conn,
            order_id=order_id,
            payee_id=payee_id or session.within_creator,
            account=account,
            organization_id=session.within_organization,
            after=(after[0], after[1]) if after else None,
            limit=page.limit + 1,
        )
        statuses = await statuses_of(conn, {entry.order_id for entry in entries if entry.order_id})
    return json_answer(
        page.answer(entries, key=lambda entry: entry.cursor, show=lambda entry: entry_view(entry, statuses))
    )


@router.get("/balances")
async def read_balances(
    session: Reading,
    payee_id: str | None = None,
    account: str | None = None,
    as_of: Moment | None = None,
    at_position: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
) -> Response:
    """Balances by account and currency, credit above zero: now, by effective time (`as_of`, included), as recorded up
    to a log position. A bound caller gets the accounts that are its own."""
    async with session.services.pool.connection() as conn:
        if at_position is not None and at_position > (end := await head(conn, Log.COMMERCE)):
            msg = f"the log ends at position {end}: give a position up to that"
            raise InvalidInput(msg, field="at_position")
        await check_may_ask(session, conn, order_id=None, payee_id=payee_id, account=account)
        payee_id = payee_id or (session.within_payee if account is None else None)
        balances = await list_balances(conn, account=account, payee_id=payee_id, as_of=as_of, at_position=at_position)
        if session.within_organization is not None and account is None:
            for own in await _seller_accounts(conn, session.within_organization):
                balances += await list_balances(conn, account=own, as_of=as_of, at_position=at_position)
    return json_answer({"items": [_balance_view(balance) for balance in balances], "next_cursor": None})


def entry_view(entry: Entry, statuses: Statuses) -> dict[str, Any]:
    return {
        "id": f"ent_{entry.position}.{entry.ordinal}",
        "journal_id": entry.journal_id,
        "kind": entry.kind,
        "account": entry.account,
        "purpose": entry.purpose,
        "amount": entry.amount,
        "currency": entry.currency,
        "status": statuses.of_entry(
            account=entry.account,
            purpose=entry.purpose,
            currency=entry.currency,
            order_id=entry.order_id,
            line_id=entry.line_id,
        ),
        "order_id": entry.order_id,
        "line_id": entry.line_id,
        "payout_id": entry.payout_id,
        "effective_at": entry.effective_at,
        "occurred_at": entry.occurred_at,
        "recorded_at": entry.recorded_at,
        "position": entry.position,
    }


def _balance_view(balance: Balance) -> dict[str, Any]:
    return {"account": balance.account, "currency": balance.currency, "amount": balance.amount}


async def check_may_ask(
    session: Session, conn: Connection, *, order_id: str | None, payee_id: str | None, account: str | None
) -> None:
    """Raises NotFound where a bound caller asks for an order, payee or account that is not its own."""
    if session.within_payee is None:
        return
    if payee_id is not None:
        session.check_sees_payee(payee_id, what="payee")
    if account is not None and not await _is_own_account(session, conn, account):
        msg = "there is no such account"
        raise NotFound(msg)
    if order_id is not None:
        filed = await orders_by_ids(conn, [order_id])
        own = [
            row
            for row in filed
            if row.organization_id == session.within_organization
            or any(claim.payee_id == session.within_creator for claim in row.claims)
        ]
        if not own:
            msg = "there is no such order"
            raise NotFound(msg)


async def _is_own_account(session: Session, conn: Connection, account: str) -> bool:
    if ledger.payee_of(account) is not None:
        return ledger.payee_of(account) == session.within_payee
    organization_id = session.within_organization
    return organization_id is not None and account in await _seller_accounts(conn, organization_id)


async def _seller_accounts(conn: Connection, organization_id: str) -> Sequence[str]:
    """What a seller owes, and what its stores collected; its payee accounts left out."""
    stores = await list_documents(conn, StoreDetails, organization_id=organization_id, limit=_MOST_STORES)
    return [ledger.seller_receivable(organization_id), *(ledger.store_clearing(store.id) for store in stores)]
