"""The FastAPI application: all routes but the bare ones, which `root.py` puts beside it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from colink.api.errors import add_error_handlers
from colink.api.read_log import ReadLog
from colink.api.routes import (
    audit,
    books,
    bulk_orders,
    campaigns,
    catalog,
    commission,
    events,
    health,
    inbox,
    journals,
    keys,
    ledger,
    order_decisions,
    orders,
    organizations,
    payouts,
    people,
    promotion,
    reports,
    seller_billing,
    settlements,
    statements,
)
from colink.api.services import Services

_DESCRIPTION = """Sellers and creators selling together: orders in, attribution, revenue split, ledger, payouts.

Money is `{"amount": <minor units>, "currency": "MYR"}`; times are RFC 3339 in UTC; lists are
`{"items": [...], "next_cursor": null}` with `?limit=&cursor=`; errors are RFC 9457 problem details. Every POST
takes an `Idempotency-Key` (scoped to the API key): the same request again gets the first answer with the header
`Idempotent-Replayed: true`, another request under the same key is a conflict.
"""


class _Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """As FastAPI makes it, with the schemas of bodies that msgspec reads."""
        if self.openapi_schema is None:
            super().openapi()["components"]["schemas"].update(bulk_orders.SCHEMAS)
        return super().openapi()


def create_app(services: Services) -> FastAPI:
    app = _Api(title="CoLink Commerce", version=version("colink"), description=_DESCRIPTION, redirect_slashes=False)
    app.state.services = services
    add_error_handlers(app)
    if services is not None:  # it is, where only the description is wanted (openapi.py)
        app.add_middleware(ReadLog, pool=services.pool, clock=services.clock)
    for module in (
        organizations,
        catalog,
        promotion,
        campaigns,
        commission,
        keys,
        orders,
        order_decisions,
        bulk_orders,
        ledger,
        books,
        statements,
        journals,
        payouts,
        settlements,
        seller_billing,
        reports,
        inbox,
        people,
        events,
        audit,
        health,
    ):
        app.include_router(module.router)
    return app
