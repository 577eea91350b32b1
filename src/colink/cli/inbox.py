"""`colink inbox`: deliveries of the platforms as they were kept, and reading one again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from colink.application.deliveries import inbox_id
from colink.application.ports import Caller, DeliveryStatus, Recorded
from colink.cli.callers import actor_of
from colink.cli.output import Json, tell
from colink.cli.wiring import Wiring
from colink.projections.inbox import FiledDelivery, list_deliveries

STILL_REJECTED = 1


def add_to(app: typer.Typer, wiring: Wiring) -> None:
    inbox = typer.Typer(help="Deliveries of the platforms, as they were kept.", no_args_is_help=True)
    app.add_typer(inbox, name="inbox")

    @inbox.command("list")
    def list_(
        *,
        status: Annotated[DeliveryStatus | None, typer.Option(help="Only with this outcome.")] = None,
        store: Annotated[str | None, typer.Option(metavar="ID", help="Only of this store.")] = None,
        order: Annotated[str | None, typer.Option(metavar="ID", help="Only about this order.")] = None,
        after: Annotated[int | None, typer.Option(metavar="N", help="Behind number N.")] = None,
        limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
        json: Json = False,
    ) -> None:
        """List deliveries by arrival, with what was wrong with those that were rejected."""
        found = asyncio.run(_list(wiring, status=status, source=store, order_id=order, after=after, limit=limit + 1))
        shown = found[:limit]
        more = shown[-1].seq if len(found) > limit else None
        document = {"items": [_document(delivery) for delivery in shown], "next_after": more}
        tell(document, as_json=json, people=lambda console: _show(console, shown, more=more))

    @inbox.command()
    def replay(delivery: Annotated[str, typer.Argument(metavar="ID")], json: Json = False) -> None:
        """Read a kept delivery again, with today's connector. Exits 1 where it is rejected once more."""
        recorded = asyncio.run(_replay(wiring, delivery))
        status = recorded.answer.get("status")
        detail = (recorded.answer.get("problem") or {}).get("detail")
        line = f"{delivery} {status}{f': {detail}' if detail else ''}"
        tell(
            {"id": delivery, **recorded.answer, "replayed": recorded.replayed},
            as_json=json,
            people=lambda console: console.print(escape(line), soft_wrap=True),
        )
        if status == DeliveryStatus.REJECTED:
            raise typer.Exit(STILL_REJECTED)


async def _list(wiring: Wiring, **conditions: Any) -> list[FiledDelivery]:
    async with wiring.open_colink(wiring.load_settings()) as colink, colink.pool.connection() as connection:
        return await list_deliveries(connection, **conditions)


async def _replay(wiring: Wiring, delivery: str) -> Recorded:
    async with wiring.open_colink(wiring.load_settings()) as colink:
        return await colink.replay(delivery, caller=Caller(actor=actor_of(), correlation_id=colink.ids("cli")))


def _document(delivery: FiledDelivery) -> dict[str, object]:
    return {
        "number": delivery.seq,
        "id": inbox_id(delivery.source, delivery.delivery_id),
        "store_id": delivery.source,
        "delivery_id": delivery.delivery_id,
        "topic": delivery.topic,
        "status": delivery.status,
        "problem": _problem(delivery),
        "order_id": delivery.order_id,
        "received_at": delivery.received_at,
        "replayed_at": delivery.replayed_at,
    }


def _problem(delivery: FiledDelivery) -> Any:
    return msgspec.json.decode(delivery.problem) if delivery.problem else None


def _show(console: Console, deliveries: Sequence[FiledDelivery], *, more: int | None) -> None:
    if not deliveries:
        console.print("no such deliveries")
        return
    table = Table("received", "topic", "status", "id", "what was wrong", show_edge=False)
    for delivery in deliveries:
        problem = (_problem(delivery) or {}).get("detail", "")
        table.add_row(
            f"{delivery.received_at:%Y-%m-%d %H:%M:%SZ}",
            escape(delivery.topic),
            delivery.status,
            escape(inbox_id(delivery.source, delivery.delivery_id)),
            escape(problem),
        )
    console.print(table)
    if more is not None:
        console.print(f"there are more: colink inbox list --after {more}")
    if any(delivery.status == DeliveryStatus.REJECTED for delivery in deliveries):
        console.print("once the cause is mended: colink inbox replay ID")
