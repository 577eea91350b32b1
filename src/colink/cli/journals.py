"""`colink ledger propose`, `approve`, `reject` and `journals`: journals that people make."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from colink.application.book import ApproveBooking, ProposeJournal, RejectBooking
from colink.application.ports import Caller
from colink.application.representations import shown
from colink.cli.amounts import money_in, money_text
from colink.cli.callers import By, actor_of
from colink.cli.output import Json, tell
from colink.cli.times import moment
from colink.cli.wiring import RunningColink, Wiring
from colink.domain.bookings import BOOKING_ID, BookedPosting, BookingDetails, BookingStatus, booked_postings
from colink.domain.errors import NotFound
from colink.projections.bookings import booking_by_id, list_bookings

_MOST = 1_000


def posting(text: str) -> BookedPosting:
    """`platform:loss=-1250MYR`: signed minor units, credit above zero."""
    account, _, amount = text.rpartition("=")
    money = money_in(amount)
    if not account or money is None:
        msg = f"{text!r} is no posting: write ACCOUNT=AMOUNT, such as platform:loss=-1250MYR (minor units)"
        raise typer.BadParameter(msg)
    return BookedPosting(account=account, amount=money.amount, currency=money.currency)


def add_to(ledger: typer.Typer, wiring: Wiring) -> None:
    @ledger.command()
    def propose(
        postings: Annotated[
            list[BookedPosting],
            typer.Argument(parser=posting, metavar="ACCOUNT=AMOUNT...", help="Signed minor units, debits below 0."),
        ],
        *,
        reason: Annotated[str, typer.Option(help="Why; it is kept with the journal.")],
        effective_at: Annotated[
            datetime | None, typer.Option(parser=moment, metavar="TIME", help="RFC 3339; without it, now.")
        ] = None,
        corrects: Annotated[str | None, typer.Option(metavar="JOURNAL", help="The journal it corrects.")] = None,
        by: By = None,
        json: Json = False,
    ) -> None:
        """Propose a journal. It is posted when somebody else approves it."""
        answer = asyncio.run(
            _propose(wiring, postings, reason=reason, effective_at=effective_at, corrects=corrects, by=by)
        )
        tell(
            answer,
            as_json=json,
            people=lambda console: console.print(
                f"proposed {answer['id']}: somebody else approves it with colink ledger approve", soft_wrap=True
            ),
        )

    @ledger.command()
    def approve(booking_id: Annotated[str, typer.Argument(metavar="ID")], by: By = None, json: Json = False) -> None:
        """Post a journal that somebody else proposed."""
        answer = asyncio.run(_decide(wiring, booking_id, ApproveBooking, by=by))
        tell(answer, as_json=json, people=lambda console: console.print(f"posted {answer['id']}"))

    @ledger.command()
    def reject(
        booking_id: Annotated[str, typer.Argument(metavar="ID")],
        reason: Annotated[str, typer.Option(help="Why.")] = "",
        by: By = None,
        json: Json = False,
    ) -> None:
        """Refuse a journal that was proposed, or take back one's own. Nothing is posted."""
        answer = asyncio.run(_decide(wiring, booking_id, RejectBooking, by=by, note=reason))
        tell(answer, as_json=json, people=lambda console: console.print(f"rejected {answer['id']}"))

    @ledger.command()
    def journals(
        status: Annotated[BookingStatus | None, typer.Option(help="Only in this state.")] = None, json: Json = False
    ) -> None:
        """List the journals that people made."""
        found = asyncio.run(_list(wiring, status))
        document = {"items": [shown(each) for each in found]}
        tell(document, as_json=json, people=lambda console: _show(console, found))


async def _propose(
    wiring: Wiring,
    postings: list[BookedPosting],
    *,
    reason: str,
    effective_at: datetime | None,
    corrects: str | None,
    by: str | None,
) -> Mapping[str, Any]:
    async with wiring.open_colink(wiring.load_settings()) as colink:
        command = ProposeJournal(
            caller=_caller(colink, by),
            booking_id=colink.ids(BOOKING_ID),
            reason=reason,
            effective_at=effective_at,
            postings=postings,
            corrects=corrects,
        )
        return (await colink.commerce.submit(command)).answer


async def _decide(
    wiring: Wiring, booking_id: str, command: type[ApproveBooking | RejectBooking], *, by: str | None, **more: Any
) -> Mapping[str, Any]:
    async with wiring.open_colink(wiring.load_settings()) as colink:
        async with colink.pool.connection() as connection:
            known = await booking_by_id(connection, booking_id)
        if known is None:
            msg = f"there is no journal {booking_id!r}: colink ledger journals shows those there are"
            raise NotFound(msg)
        return (await colink.commerce.submit(command(caller=_caller(colink, by), known=known, **more))).answer


async def _list(wiring: Wiring, status: BookingStatus | None) -> list[BookingDetails]:
    async with wiring.open_colink(wiring.load_settings()) as colink, colink.pool.connection() as connection:
        return await list_bookings(connection, status=status, limit=_MOST)


def _caller(colink: RunningColink, by: str | None) -> Caller:
    return Caller(actor=actor_of(by), correlation_id=colink.ids("cli"))


def _show(console: Console, bookings: list[BookingDetails]) -> None:
    if not bookings:
        console.print("no journals made by people")
        return
    table = Table("journal", "kind", "status", "by", "reason", "posting", show_edge=False)
    for each in bookings:
        first, *others = booked_postings(each)
        table.add_row(
            each.id,
            each.kind,
            each.status,
            each.proposed_by,
            each.reason,
            f"{first.account} {money_text(first.amount, first.currency)}",
        )
        for other in others:
            table.add_row("", "", "", "", "", f"{other.account} {money_text(other.amount, other.currency)}")
    console.print(table)
