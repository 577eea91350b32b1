"""The promise: who calls is checked first, every error is a problem of a stable type, a request sent again has one
effect and one answer, and machines that run this are told how it is."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from tests.api.shop import ADMIN_KEY, Shop

from colink.api.auth import ALLOWED, Permission
from colink.domain.access import Role

pytestmark = pytest.mark.anyio

REPLAYED = "idempotent-replayed"


async def organizations(shop: Shop) -> int:
    async with shop.colink.pool.connection() as connection:
        cursor = await connection.execute(
            "select count(*) from colink.events where topic = 'organization.registered'"
        )
        row = await cursor.fetchone()
    return int(row[0])


async def test_without_a_known_key_nothing_is_told(shared_shop: Shop) -> None:
    for authorization in (None, "Bearer", "Bearer ", "Bearer ck_wrong", "Basic abc", f"Token {ADMIN_KEY}"):
        headers = {} if authorization is None else {"Authorization": authorization}
        for method, path in (("GET", "/v1/orders"), ("POST", "/v1/organizations"), ("GET", "/v1/organizations/x")):
            answer = await shared_shop.send(method, path, {} if method == "POST" else None, key=None, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["type"] == "urn:colink:problem:unauthorized"


async def test_a_new_key_works_at_once(shared_shop: Shop) -> None:
    key = await shared_shop.key("auditor")
    assert key.startswith("ck_")
    assert (await shared_shop.get("/v1/orders", key=key))["items"] == []


def test_roles_may_do_what_the_contract_says() -> None:
    """Auditors only read; only finance decides on payouts; only operators register and make keys."""
    reads = {permission for permission in Permission if permission.name.startswith("READ_")} | {
        Permission.PROVE,
        Permission.SEE_READS,
    }
    writes = set(Permission) - reads
    assert ALLOWED[Role.AUDITOR] & writes == frozenset()
    assert [role for role in Role if Permission.DECIDE_PAYOUTS in ALLOWED[role]] == [Role.FINANCE]
    assert [role for role in Role if Permission.KEEP_KEYS in ALLOWED[role]] == [Role.OPERATOR]
    assert [role for role in Role if Permission.REGISTER_ORGANIZATIONS in ALLOWED[role]] == [Role.OPERATOR]
    assert [role for role in Role if Permission.CONFIGURE in ALLOWED[role]] == [Role.OPERATOR, Role.SELLER]
    assert ALLOWED[Role.CREATOR] & {Permission.READ_SETUP, Permission.READ_REPORTS, Permission.READ_INBOX} == set()


@pytest.mark.parametrize(
    ("method", "path", "roles"),
    [
        ("POST", "/v1/organizations", {"operator"}),
        ("POST", "/v1/stores", {"operator", "seller"}),
        ("POST", "/v1/products", {"operator", "seller"}),
        ("POST", "/v1/creators", {"operator", "seller"}),
        ("POST", "/v1/campaigns", {"operator", "seller"}),
        ("POST", "/v1/commission-rules", {"operator", "seller"}),
        ("POST", "/v1/commission-rules/x/versions", {"operator", "seller"}),
        ("POST", "/v1/commission-rules/preview", {"operator", "finance", "seller"}),
        ("POST", "/v1/true-ups/x/release", {"finance"}),
        ("POST", "/v1/links", {"operator", "seller", "creator"}),
        ("POST", "/v1/coupons", {"operator", "seller"}),
        ("POST", "/v1/keys", {"operator"}),
        ("GET", "/v1/keys", {"operator"}),
        ("POST", "/v1/payout-accounts", {"operator", "finance", "seller", "creator"}),
        ("POST", "/v1/payouts", {"operator", "finance", "seller", "creator"}),
        ("POST", "/v1/payouts/x/cancel", {"operator", "finance", "seller", "creator"}),
        ("POST", "/v1/payouts/x/approve", {"finance"}),
        ("POST", "/v1/payouts/x/reject", {"finance"}),
        ("POST", "/v1/payouts/x/hold", {"finance"}),
        ("POST", "/v1/payouts/x/release", {"finance"}),
        ("POST", "/v1/inbox/x/replay", {"operator", "finance", "seller"}),
        ("POST", "/v1/orders/bulk", {"operator", "seller"}),
        ("GET", "/v1/organizations", {"operator", "finance", "auditor", "seller"}),
        ("GET", "/v1/stores", {"operator", "finance", "auditor", "seller"}),
        ("GET", "/v1/products", {"operator", "finance", "auditor", "seller"}),
        ("GET", "/v1/campaigns", {"operator", "finance", "auditor", "seller"}),
        ("GET", "/v1/commission-rules", {"operator", "finance", "auditor", "seller"}),
        ("GET", "/v1/inbox", {"operator", "finance", "auditor", "seller"}),
        ("GET", "/v1/reports/attribution", {"operator", "finance", "auditor", "seller"}),
        ("GET", "/v1/creators", set(Role)),
        ("GET", "/v1/links", set(Role)),
        ("GET", "/v1/coupons", set(Role)),
        ("GET", "/v1/orders", set(Role)),
        ("GET", "/v1/ledger/entries", set(Role)),
        ("GET", "/v1/balances", set(Role)),
        ("GET", "/v1/payouts", set(Role)),
        ("GET", "/v1/payout-accounts", set(Role)),
        ("GET", "/v1/leaderboards", set(Role)),
    ],
)
async def test_each_route_takes_the_roles_of_the_table(
    shared_shop: Shop, keys: dict[str, str], method: str, path: str, roles: set[str]
) -> None:
    statuses = {
        role: (await shared_shop.send(method, path, {} if method == "POST" else None, key=key)).status_code
        for role, key in keys.items()
    }
    assert {role for role, status in statuses.items() if status != 403} == {str(role) for role in roles}


@pytest.fixture(scope="module")
async def keys(shared_shop: Shop) -> dict[str, str]:
    """A key of each role."""
    organization, creator = await shared_shop.organization(), await shared_shop.creator()
    return {
        "operator": ADMIN_KEY,
        "finance": await shared_shop.key("finance"),
        "auditor": await shared_shop.key("auditor"),
        "seller": await shared_shop.key("seller", organization_id=organization["id"]),
        "creator": await shared_shop.key("creator", payee_id=creator["id"]),
    }


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "type_"),
    [
        ("GET", "/nothing/here", None, 404, "not-found"),
        ("GET", "/v1/nothing", None, 404, "not-found"),
        ("GET", "/v1/orders/", None, 404, "not-found"),
        ("DELETE", "/v1/orders", None, 405, "method-not-allowed"),
        ("GET", "/l/none", None, 404, "not-found"),
        ("POST", "/webhooks/shopify/sto_none", b"{}", 404, "not-found"),
        ("POST", "/callbacks/none", b"{}", 404, "not-found"),
        ("POST", "/v1/organizations", b"{not json", 400, "unreadable-body"),
        ("POST", "/v1/organizations", b"[1]", 422, "invalid-input"),
        ("POST", "/v1/organizations", b"[" * 100_000, 400, "bad-request"),
        ("POST", "/v1/organizations", b" " * (2 * 1024 * 1024 + 1), 413, "payload-too-large"),
        ("GET", "/v1/orders?external_id=a%00b", None, 422, "invalid-input"),
        ("GET", "/v1/orders/a%00b", None, 422, "invalid-input"),
        ("GET", "/v1/orders?limit=many", None, 422, "invalid-input"),
        ("GET", "/v1/balances?as_of=yesterday", None, 422, "invalid-input"),
        ("GET", "/v1/balances?at_position=99999999999999999999", None, 422, "invalid-input"),
        ("GET", "/v1/balances?at_position=1000000000", None, 422, "invalid-input"),
        ("GET", "/v1/reports/attribution?from=today&organization_id=x", None, 422, "invalid-input"),
        ("GET", "/v1/reports/attribution?organization_id=org_none", None, 404, "not-found"),
        ("GET", "/v1/leaderboards", None, 422, "invalid-input"),
    ],
)
async def test_errors_are_problems_of_a_stable_type(
    shared_shop: Shop, method: str, path: str, content: bytes | None, status: int, type_: str
) -> None:
    headers = {"Content-Type": "application/json"}
    problem = await shared_shop.refused(method, path, status=status, content=content, headers=headers)
    assert problem["type"] == f"urn:colink:problem:{type_}"
    assert {"title", "detail"} <= problem.keys()
    if status == 422:
        assert problem["field"]


async def test_half_a_surrogate_pair_is_refused(shared_shop: Shop) -> None:
    content = b'{"name": "\\ud800", "platform_fee_bps": 1}'
    headers = {"Content-Type": "application/json"}
    problem = await shared_shop.refused("POST", "/v1/organizations", status=422, content=content, headers=headers)
    assert problem["field"] == "name"


async def test_the_unexpected_leaks_nothing(shop: Shop) -> None:
    async def broken(_: object) -> dict[str, object]:
        msg = "password=hunter2"
        raise RuntimeError(msg)

    shop.http._transport.app._app.state.services.__dict__["orders"] = broken
    answer = await shop.send("GET", "/v1/orders")
    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:colink:problem:internal-error"
    assert "hunter2" not in answer.text
    assert answer.headers["x-correlation-id"].startswith("req_")


async def test_the_callers_correlation_id_is_kept_and_reaches_the_log(shop: Shop) -> None:
    headers = {"X-Correlation-Id": "trace-7"}
    body = {"name": "Kedai", "platform_fee_bps": 1}
    answer = await shop.send("POST", "/v1/organizations", body, headers=headers)
    assert answer.headers["x-correlation-id"] == "trace-7"
    async with shop.colink.pool.connection() as connection:
        cursor = await connection.execute(
            "select actor, correlation_id from colink.events where topic = 'organization.registered'"
        )
        ((actor, correlation_id),) = await cursor.fetchall()
    assert correlation_id == "trace-7"
    assert actor.startswith("key:key_")


async def test_64_requests_with_one_idempotency_key_have_one_effect_and_one_answer(shop: Shop) -> None:
    body = {"name": "Kedai", "platform_fee_bps": 500}
    answers = await asyncio.gather(
        *(shop.send("POST", "/v1/organizations", body, headers={"Idempotency-Key": "once"}) for _ in range(64))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert Counter(answer.headers.get(REPLAYED) for answer in answers) == {None: 1, "true": 63}
    assert await organizations(shop) == 1


async def test_an_idempotency_key_is_bound_to_its_request_and_its_api_key(shop: Shop) -> None:
    body: dict[str, Any] = {"handle": "aina", "display_name": "Aina"}
    headers = {"Idempotency-Key": "once"}
    first = await shop.send("POST", "/v1/creators", body, headers=headers)
    again = await shop.send("POST", "/v1/creators", body, headers=headers)
    assert (again.status_code, again.content, again.headers[REPLAYED]) == (201, first.content, "true")
    for path, other in (
        ("/v1/creators", body | {"handle": "budi"}),
        ("/v1/organizations", {"name": "A", "platform_fee_bps": 1}),
    ):
        problem = await shop.refused("POST", path, other, status=409, headers=headers)
        assert problem["type"] == "urn:colink:problem:idempotency-key-reused"
    operator = await shop.key("operator")
    other = await shop.send("POST", "/v1/creators", body | {"handle": "budi"}, key=operator, headers=headers)
    assert (other.status_code, REPLAYED in other.headers) == (201, False)
    for bad in ("", "two words", "x" * 256):
        problem = await shop.refused("POST", "/v1/creators", body, status=422, headers={"Idempotency-Key": bad})
        assert problem["field"] == "Idempotency-Key"


async def test_a_refused_request_leaves_its_idempotency_key_free(shop: Shop) -> None:
    headers = {"Idempotency-Key": "once"}
    await shop.refused(
        "POST", "/v1/organizations", {"name": "A", "platform_fee_bps": -1}, status=422, headers=headers
    )
    good = await shop.send("POST", "/v1/organizations", {"name": "A", "platform_fee_bps": 1}, headers=headers)
    assert (good.status_code, REPLAYED in good.headers) == (201, False)


async def test_a_replayed_key_does_not_tell_its_secret_again(shop: Shop) -> None:
    headers = {"Idempotency-Key": "once"}
    first = (await shop.send("POST", "/v1/keys", {"role": "auditor"}, headers=headers)).json()
    again = (await shop.send("POST", "/v1/keys", {"role": "auditor"}, headers=headers)).json()
    assert first["key"].startswith("ck_")
    assert again == first | {"key": None}


async def test_32_creators_at_once_want_one_handle(shop: Shop) -> None:
    body = {"handle": "aina", "display_name": "Aina"}
    answers = await asyncio.gather(*(shop.send("POST", "/v1/creators", body) for _ in range(32)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 31}
    assert {answer.json()["field"] for answer in answers if answer.status_code == 409} == {"handle"}


async def test_health_readiness_and_metrics_need_no_key(shop: Shop) -> None:
    await shop.organization()
    assert (await shop.get("/healthz", key=None)) == {"status": "ok"}
    ready = await shop.get("/readyz", key=None)
    assert (ready["status"], ready["database"]) == ("ready", "ok")
    lags = {(each["name"], each["log"]): each["lag"] for each in ready["projections"]}
    assert lags["attribution_report", "commerce"] == 2  # the operator's key and the organisation
    await shop.colink.engine.run_until_caught_up()
    ready = await shop.get("/readyz", key=None)
    assert {each["lag"] for each in ready["projections"]} == {0}
    await shop.refused("GET", "/v1/organizations/none", status=404)
    metrics = (await shop.send("GET", "/metrics", key=None)).text
    assert 'colink_http_requests_total{method="POST",route="/v1/organizations",status="201"} 1.0' in metrics
    route = "/v1/organizations/{organization_id}"
    assert f'colink_http_requests_total{{method="GET",route="{route}",status="404"}} 1.0' in metrics
    assert 'colink_projection_lag{log="commerce",projection="leaderboard"} 0.0' in metrics


async def test_without_the_database_readiness_and_writes_say_so(shop: Shop) -> None:
    await shop.get("/v1/orders")
    await shop.colink.pool.close()
    answer = await shop.send("GET", "/readyz", key=None)
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    problem = await shop.refused("GET", "/v1/orders", status=503)
    assert problem["type"] == "urn:colink:problem:unavailable"


async def test_openapi_describes_every_route(shared_shop: Shop) -> None:
    document = await shared_shop.get("/openapi.json", key=None)
    assert {
        "/v1/organizations",
        "/v1/stores",
        "/v1/products",
        "/v1/creators",
        "/v1/campaigns",
        "/v1/commission-rules",
        "/v1/links",
        "/v1/coupons",
        "/v1/orders",
        "/v1/ledger/entries",
        "/v1/balances",
        "/v1/payout-accounts",
        "/v1/payouts",
        "/v1/payouts/{payout_id}/entries",
        "/v1/payouts/{payout_id}/approve",
        "/v1/reports/attribution",
        "/v1/leaderboards",
        "/v1/events",
        "/healthz",
        "/readyz",
        "/metrics",
    } <= document["paths"].keys()


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/commission-rules", {"scope": "default", "rate_bps": 500, "cap_per_dya": {}}, "cap_per_dya"),
        ("/v1/commission-rules", {"scope": "default", "rate_bps": 500, "tiers": {"modus": 1}}, "tiers.modus"),
        ("/v1/commission-rules/preview", {"lines": [{"qty": 2}]}, "lines.0.qty"),
        ("/v1/payouts", {"payee_id": "cre_1", "currency": "MYR", "ammount": 5}, "ammount"),
        ("/v1/settlements", {"gross": {"amount": 5, "currency": "MYR", "scale": 2}}, "gross.scale"),
        ("/v1/journals", {"postings": [{"side": "debit"}]}, "postings.0.side"),
        ("/v1/seller-payments", {"order_id": "ord_1"}, "order_id"),
    ],
)
async def test_a_misspelt_field_about_money_is_not_a_field_left_out(
    shared_shop: Shop, path: str, body: dict[str, Any], field: str
) -> None:
    key = ADMIN_KEY if path.startswith("/v1/commission-rules") else await shared_shop.key("finance")
    problem = await shared_shop.refused("POST", path, body, status=422, key=key)
    assert {"field": field, "detail": "is not a field of this request"} in problem["errors"]


async def test_what_is_set_up_may_bring_fields_of_elsewhere(shared_shop: Shop) -> None:
    made = await shared_shop.post("/v1/creators", {"handle": "copied", "display_name": "Copied", "followers": 5})
    assert "followers" not in made
