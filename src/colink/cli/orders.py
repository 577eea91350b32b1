"""`colink orders`: what finance decides about orders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console

from colink.application.decide_orders import HoldOrder, OrderDecision, ReattributeOrder, ReleaseOrder
from colink.application.ports import Caller
from colink.cli.callers import By, actor_of
from colink.cli.output import Json, tell
from colink.cli.wiring import Wiring
from colink.domain.errors import NotFound
from colink.domain.order_decisions import HoldKind
from colink.projections.orders import orders_by_ids

OrderId = Annotated[str, typer.Argument(metavar="ORDER")]
Reason = Annotated[str, typer.Option(help="Why; it is kept with the decision.")]
Payee = Annotated[str | None, typer.Option(metavar="ID", help="Only what this creator or organization has of it.")]
Line = Annotated[str | None, typer.Option(metavar="LINE", help="Only this line.")]
Make = Callable[[Caller, str], OrderDecision]
"""The command, from who decides and whose order it is."""


def add_to(app: typer.Typer, wiring: Wiring) -> None:
    orders = typer.Typer(help="Hold and release orders, and credit them by hand.", no_args_is_help=True)
    app.add_typer(orders, name="orders")

    @orders.command()
    def hold(
        order_id: OrderId,
        *,
        reason: Reason,
        payee: Payee = None,
        line: Line = None,
        by: By = None,
        json: Json = False,
    ) -> None:
        """Let nothing of an order clear until it is released; what had cleared is pending again."""
        _decide(
            wiring,
            order_id,
            lambda caller, organization_id: HoldOrder(
                caller=caller,
                order_id=order_id,
                organization_id=organization_id,
                reason=reason,
                payee_id=payee,
                line_id=line,
            ),
            by=by,
            as_json=json,
        )

    @orders.command()
    def release(
        order_id: OrderId,
        *,
        reason: Reason,
        kind: Annotated[HoldKind, typer.Option(help="Which hold ends.")] = HoldKind.REVIEW,
        payee: Payee = None,
        line: Line = None,
        by: By = None,
        json: Json = False,
    ) -> None:
        """End a hold of that payee and line; what had cleared before it is available at once."""
        _decide(
            wiring,
            order_id,
            lambda caller, organization_id: ReleaseOrder(
                caller=caller,
                order_id=order_id,
                organization_id=organization_id,
                reason=reason,
                kind=kind,
                payee_id=payee,
                line_id=line,
            ),
            by=by,
            as_json=json,
        )

    @orders.command()
    def reattribute(
        order_id: OrderId,
        *,
        reason: Reason,
        creator: Annotated[str | None, typer.Option(metavar="ID", help="Without: nobody is credited.")] = None,
        campaign: Annotated[str | None, typer.Option(metavar="ID", help="Whose rules serve it.")] = None,
        by: By = None,
        json: Json = False,
    ) -> None:
        """Credit an order to a creator, or to nobody, while nothing of it has cleared."""
        _decide(
            wiring,
            order_id,
            lambda caller, organization_id: ReattributeOrder(
                caller=caller,
                order_id=order_id,
                organization_id=organization_id,
                reason=reason,
                creator_id=creator,
                campaign_id=campaign,
            ),
            by=by,
            as_json=json,
        )


def _decide(wiring: Wiring, order_id: str, make: Make, *, by: str | None, as_json: bool) -> None:
    answer = asyncio.run(_submit(wiring, order_id, make, by=by))
    tell(answer, as_json=as_json, people=lambda console: _show(console, answer))


async def _submit(wiring: Wiring, order_id: str, make: Make, *, by: str | None) -> dict[str, Any]:
    async with wiring.open_colink(wiring.load_settings()) as colink:
        async with colink.pool.connection() as connection:
            filed = await orders_by_ids(connection, [order_id])
        if not filed:
            msg = f"there is no order {order_id!r}"
            raise NotFound(msg)
        caller = Caller(actor=actor_of(by), correlation_id=colink.ids("cli"))
        recorded = await colink.commerce.submit(make(caller, filed[0].organization_id))
        return dict(recorded.answer)


def _show(console: Console, answer: dict[str, Any]) -> None:
    by_hand = " (set by hand)" if answer["set_by_hand"] else ""
    console.print(f"{answer['id']} is credited to {answer['creator_id'] or 'nobody'}{by_hand}")
    for hold in answer["holds"]:
        what = ", ".join(
            [
                f"of {hold['payee_id']}" if hold["payee_id"] else "of all payees",
                f"line {hold['line_id']}" if hold["line_id"] else "all lines",
            ]
        )
        console.print(f"held: {hold['kind']} {what}")
    if not answer["holds"]:
        console.print("nothing of it is held")
