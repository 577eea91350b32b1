"""Statements: what a payee earned and was paid in a period."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from colink.api.auth import Permission
from colink.api.bodies import Currency, Id, Moment
from colink.api.session import Session, may
from colink.domain.errors import InvalidInput
from colink.projections.statement_forms import StatementFormat, statement_pieces

router = APIRouter(prefix="/v1", tags=["ledger"])

_CSP = "default-src 'none'; style-src 'unsafe-inline'"


@router.get("/statements", response_class=Response)
async def read_statement(
    *,
    request: Request,
    session: Annotated[Session, Depends(may(Permission.READ_LEDGER))],
    from_: Annotated[Moment, Query(alias="from")],
    to: Moment,
    payee_id: Id | None = None,
    currency: Currency | None = None,
    at_position: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
    format: StatementFormat | None = None,  # noqa: A002 - the name of the query parameter
) -> Response:
    """Opening balance, every entry with order, reason, status and running balance, closing balance, payouts; from
    `from` to before `to`, by effective time, as recorded up to `at_position` (now, where none is given; the answer
    names it, and with it the same statement can be had later). JSON, CSV or HTML that prints, by `format` or
    `Accept`. A bound caller gets its own without `payee_id`."""
    payee = payee_id or session.within_payee
    if payee is None:
        raise InvalidInput("say whose statement: a creator's id or an organization's", field="payee_id")
    session.check_sees_payee(payee, what="payee")
    form = format or _accepted(request.headers.get("accept"))

    async def pieces() -> AsyncGenerator[bytes, None]:
        async with session.services.pool.connection() as conn:
            made = statement_pieces(
                conn,
                form,
                people=session.services.people,
                payee_id=payee,
                start=from_,
                end=to,
                currency=currency,
                at_position=at_position,
            )
            async with aclosing(made):
                async for piece in made:
                    yield piece

    # Problems come before the first piece, while the status can still say so.
    stream = pieces()
    first = await anext(stream)

    async def whole() -> AsyncGenerator[bytes, None]:
        async with aclosing(stream):
            yield first
            async for piece in stream:
                yield piece

    headers = {"Vary": "Accept", "Content-Security-Policy": _CSP, "Cache-Control": "private, no-store"}
    if form is StatementFormat.CSV:
        headers["Content-Disposition"] = 'attachment; filename="statement.csv"'
    return StreamingResponse(whole(), media_type=form.media_type, headers=headers)


def _accepted(accept: str | None) -> StatementFormat:
    """The first of ours that a client names; JSON for whoever names none."""
    for part in (accept or "").split(","):
        named = part.partition(";")[0].strip().lower()
        for form in StatementFormat:
            if named == form.media_type:
                return form
    return StatementFormat.JSON
