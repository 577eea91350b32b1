"""`colink audit reads`: what auditors read, and who read personal data, and the traces that audit commands leave
there themselves."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Protocol

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from colink.application.ports import Clock, IdFactory
from colink.cli.callers import actor_of
from colink.cli.output import Json, tell
from colink.cli.wiring import Wiring
from colink.projections.audit_reads import KeptRead, Read, list_reads, log_read
from colink.projections.engine import Pool

_DONE = 200


class Reading(Protocol):
    """Of the opened application, what keeping a trace needs."""

    @property
    def pool(self) -> Pool: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def ids(self) -> IdFactory: ...


def add_to(audit: typer.Typer, wiring: Wiring) -> None:
    @audit.command("reads")
    def reads(
        *,
        reader: Annotated[
            str | None, typer.Option(metavar="ID", help="Only of this one: key:ID or cli:USER.")
        ] = None,
        after: Annotated[int | None, typer.Option(metavar="N", help="Behind number N.")] = None,
        limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
        json: Json = False,
    ) -> None:
        """List what auditors read, and who read personal data: who asked for what, when, and how much was told."""
        found = asyncio.run(_list(wiring, reader=reader, after=after, limit=limit + 1))
        shown = found[:limit]
        more = shown[-1].seq if len(found) > limit else None
        document = {"items": [msgspec.to_builtins(read) for read in shown], "next_after": more}
        tell(document, as_json=json, people=lambda console: _show(console, shown, more=more))


async def keep_trace(colink: Reading, command: str, *, of: str = "", status: int = _DONE) -> None:
    """Before an audit command reads `of`, or tells what it read: who at this machine began it. `status` as HTTP says
    what became of it, where that is known."""
    read = Read(
        read_at=colink.clock.now(),
        reader=actor_of(),
        role="cli",
        method="CLI",
        route=f"colink audit {command}",
        path=of,
        query="",
        status=status,
        items=None,
        correlation_id=colink.ids("cli"),
    )
    async with colink.pool.connection() as connection:
        await log_read(connection, read)


async def _list(wiring: Wiring, *, reader: str | None, after: int | None, limit: int) -> list[KeptRead]:
    async with wiring.open_colink(wiring.load_settings()) as colink:
        await keep_trace(colink, "reads", of=reader or "")
        async with colink.pool.connection() as connection:
            return await list_reads(connection, reader=reader, after=after, limit=limit)


def _show(console: Console, reads: list[KeptRead], *, more: int | None) -> None:
    if not reads:
        console.print("no such readings")
        return
    table = Table("number", "when", "who", "what", "status", "items", show_edge=False)
    for read in reads:
        what = f"{read.method} {read.path}" + (f"?{read.query}" if read.query else "")
        if read.method == "CLI":
            what = f"{read.route} {read.path}"
        at: datetime = read.read_at
        items = "" if read.items is None else str(read.items)
        table.add_row(
            str(read.seq),
            f"{at:%Y-%m-%d %H:%M:%S}",
            f"{read.reader} ({read.role})",
            escape(what),
            str(read.status),
            items,
        )
    console.print(table)
    if more is not None:
        console.print(f"for more: --after {more}")
