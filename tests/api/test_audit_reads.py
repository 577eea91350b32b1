"""The promise: an auditor reads everything and changes nothing, and of all they read there is a trace that stays."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest
from psycopg import errors
from tests.api.sale import Sale
from tests.api.shop import Shop, open_shop
from tests.conftest import TestDatabase

from colink.adapters.postgres.provision import Database
from colink.api.app import create_app
from colink.projections.audit_reads import list_reads

pytestmark = pytest.mark.anyio

_FOR_EVERYBODY = {"/healthz", "/readyz", "/metrics"}
NOT_FOR_AUDITORS = {
    "/v1/keys",  # keys are the operator's
    "/v1/inbox/{delivery_id}/body",  # it names buyers: for who needs it to serve them
}


def operations(method: str) -> list[str]:
    """The paths of all routes with this method, as the OpenAPI document has them."""
    paths = create_app(None).openapi()["paths"]  # type: ignore[arg-type]  # for the description alone
    return sorted(path for path, offered in paths.items() if method in offered and path not in _FOR_EVERYBODY)


def filled(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "x", path)


@pytest.mark.parametrize("path", operations("get"))
async def test_an_auditor_may_read_every_route(shared_shop: Shop, auditor: str, path: str) -> None:
    status = (await shared_shop.send("GET", filled(path), key=auditor)).status_code
    if path in NOT_FOR_AUDITORS:
        assert status == 403
    else:
        assert status in {200, 404, 422}, "it is asked for something that is not there, at most"


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, path) for method in ("post", "put", "patch", "delete") for path in operations(method)],
)
async def test_an_auditor_changes_nothing(shared_shop: Shop, auditor: str, method: str, path: str) -> None:
    answer = await shared_shop.send(method.upper(), filled(path), {}, key=auditor)
    assert answer.status_code == 403, answer.text


@pytest.fixture(scope="module")
async def auditor(shared_shop: Shop) -> str:
    return await shared_shop.key("auditor")


async def reads(shop: Shop) -> list[tuple[Any, ...]]:
    async with shop.colink.pool.connection() as connection:
        kept = await list_reads(connection)
    return [(each.role, each.method, each.route, each.path, each.query, each.status, each.items) for each in kept]


async def test_what_an_auditor_reads_is_kept_with_who_and_what_and_how_much(sale: Sale) -> None:
    shop = sale.shop
    made = await shop.post("/v1/keys", {"role": "auditor"})
    key = made["key"]
    headers = {"X-Request-ID": "asked-by-a-test"}
    entries = await shop.send(
        "GET", "/v1/ledger/entries", key=key, params={"order_id": sale.order_id, "limit": 3}, headers=headers
    )
    assert len(entries.json()["items"]) == 3
    await shop.get(f"/v1/orders/{sale.order_id}", key=key)
    await shop.refused("GET", "/v1/orders/none", status=404, key=key)
    await shop.refused("POST", "/v1/organizations", {"name": "x"}, status=403, key=key)
    await shop.get("/v1/orders")  # the operator's reading is nobody's business
    assert await reads(shop) == [
        ("auditor", "GET", "/v1/ledger/entries", "/v1/ledger/entries", f"order_id={sale.order_id}&limit=3", 200, 3),
        ("auditor", "GET", "/v1/orders/{order_id}", f"/v1/orders/{sale.order_id}", "", 200, None),
        ("auditor", "GET", "/v1/orders/{order_id}", "/v1/orders/none", "", 404, None),
        ("auditor", "POST", "/v1/organizations", "/v1/organizations", "", 403, None),
    ]

    told = await shop.get("/v1/audit/reads", key=key, limit=1)
    [first] = told["items"]
    assert (first["reader"], first["correlation_id"]) == (f"key:{made['id']}", "asked-by-a-test")
    assert first["read_at"] == shop.clock.now().isoformat().replace("+00:00", "Z")
    rest = await shop.get("/v1/audit/reads", key=key, cursor=told["next_cursor"])
    assert [each["route"] for each in rest["items"]][-1] == "/v1/audit/reads", "reading this list is reading, too"
    assert await shop.get("/v1/audit/reads", reader="key:none") == {"items": [], "next_cursor": None}
    refused = await shop.send("GET", "/v1/audit/reads", params={"from": "5"})
    assert (refused.status_code, refused.json()["field"]) == (422, "from"), "no number of seconds"


async def test_who_reads_what_a_buyer_was_called_leaves_a_trace(sale: Sale) -> None:
    shop = sale.shop
    [delivery] = (await shop.get("/v1/inbox"))["items"]
    answer = await shop.send("GET", f"/v1/inbox/{delivery['id']}/body")
    assert answer.status_code == 200
    assert [each[:3] + each[5:] for each in await reads(shop)] == [
        ("operator", "GET", "/v1/inbox/{delivery_id}/body", 200, None)
    ]


async def test_who_reads_where_somebody_else_is_paid_leaves_a_trace(sale: Sale) -> None:
    shop, payee = sale.shop, sale.creator["id"]
    account = {"payee_id": payee, "rail": "sandbox", "currency": "MYR", "details": {"account_number": "1"}}
    made = await shop.post("/v1/payout-accounts", account)
    path = f"/v1/payout-accounts/{made['id']}"
    own, finance = await shop.key("creator", payee_id=payee), await shop.key("finance")
    for key in (own, finance):
        assert (await shop.get(path, key=key))["details"] == account["details"]
    await shop.get("/v1/payout-accounts", key=finance)
    assert [each[:3] + each[5:] for each in await reads(shop)] == [
        ("finance", "GET", "/v1/payout-accounts/{account_id}", 200, None),
        ("finance", "GET", "/v1/payout-accounts", 200, 1),
    ]


async def test_what_cannot_be_kept_is_not_told(database: TestDatabase) -> None:
    async with open_shop(Database(owner_dsn=database.owner_dsn, app_dsn=database.app_dsn)) as shop:
        auditor = await shop.key("auditor")
        with psycopg.connect(database.owner_dsn) as connection:
            connection.execute("ALTER FUNCTION colink.log_read RENAME TO gone")
        problem = await shop.refused("GET", "/v1/organizations", status=503, key=auditor)
        assert "recorded first" in problem["detail"]
        assert (await shop.get("/v1/organizations"))["items"] == [], "of others nothing has to be kept"


async def test_traces_stay(sale: Sale, database: TestDatabase) -> None:
    key = await sale.shop.key("auditor")
    await sale.shop.get("/v1/orders", key=key)
    for change in ("UPDATE colink.audit_reads SET reader = 'x'", "DELETE FROM colink.audit_reads"):
        with (
            psycopg.connect(database.superuser_dsn) as connection,
            pytest.raises(errors.InsufficientPrivilege, match="append-only"),
        ):
            connection.execute(change.encode())
    with psycopg.connect(database.app_dsn) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute("INSERT INTO colink.audit_reads DEFAULT VALUES")
