"""The promise: who runs this sees what it does. A request can be followed by one id through answer, log lines and
events; the figures that matter are there for Prometheus, also while the database is away; and no log line holds a
secret or personal data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families
from tests.api.sale import TSHIRT
from tests.api.shop import ADMIN_KEY, SECRET, Shop

from colink.api.correlation import given_correlation_id
from colink.application.worker import Job, Worker
from colink.domain.errors import Unavailable

pytestmark = pytest.mark.anyio

Lines = list[dict[str, Any]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What is logged, as the lines that machines read."""
    kept: Lines = []

    def keep(_: object, __: str, event: Any) -> str:
        rendered = structlog.processors.JSONRenderer()(
            None, "", structlog.processors.format_exc_info(None, "", event)
        )
        kept.append(json.loads(rendered))
        raise structlog.DropEvent

    before = structlog.get_config()
    processors = [structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, keep]
    structlog.configure(processors=processors, cache_logger_on_first_use=False)
    yield kept
    structlog.configure(**before)


TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("headers", "given"),
    [
        ({"x-request-id": "r-1", "x-correlation-id": "c-1", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}, "r-1"),
        ({"x-correlation-id": "c-1", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}, "c-1"),
        ({"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}, TRACE),
        ({"x-request-id": "two words", "traceparent": f"00-{TRACE}-b7ad6b7169203331-00"}, TRACE),
        ({"x-request-id": "", "x-correlation-id": "x" * 129}, None),
        ({"x-request-id": "r\\xe9"}, "r\\xe9"),
        ({"traceparent": f"ff-{TRACE}-b7ad6b7169203331-01"}, None),
        ({"traceparent": f"00-{'0' * 32}-b7ad6b7169203331-01"}, None),
        ({"traceparent": f"00-{TRACE.upper()}-b7ad6b7169203331-01"}, None),
        ({"traceparent": TRACE}, None),
        ({}, None),
    ],
)
def test_which_id_a_request_has(headers: dict[str, str], given: str | None) -> None:
    assert given_correlation_id([(name.encode(), value.encode()) for name, value in headers.items()]) == given


async def test_one_id_leads_through_answer_log_and_events(shop: Shop, lines: Lines) -> None:
    answer = await shop.send("POST", "/v1/creators", {"handle": "aina", "display_name": "Aina"})
    id_ = answer.headers["x-request-id"]
    assert id_.startswith("req_")
    assert answer.headers["x-correlation-id"] == id_
    (line,) = [line for line in lines if line["event"] == "request"]
    assert line["ms"] >= 0
    assert line | {"ms": 0} == {
        "event": "request",
        "level": "info",
        "correlation_id": id_,
        "method": "POST",
        "route": "/v1/creators",
        "status": 201,
        "ms": 0,
    }
    assert (await shop.get("/v1/events"))["items"][-1]["correlation_id"] == id_
    given = await shop.send(
        "POST", "/v1/creators", {"handle": "budi", "display_name": "B"}, headers={"X-Request-ID": "r-7"}
    )
    assert given.headers["x-request-id"] == "r-7"
    assert (await shop.get("/v1/events"))["items"][-1]["correlation_id"] == "r-7"


async def test_busy_routes_log_one_of_a_hundred_and_every_failure(shop: Shop, lines: Lines) -> None:
    store = await shop.store(await shop.organization())
    lines.clear()
    for number in range(101):
        await shop.order(store, order_id=4507 + number % 2, items=[TSHIRT])
    assert [(line["route"], line["status"], line["one_of"]) for line in lines] == [("/webhooks", 200, 100)] * 2
    lines.clear()
    for _ in range(3):
        await shop.refused("POST", f"/webhooks/shopify/{store['id']}", {}, status=401)
    assert [(line["event"], line["status"]) for line in lines] == [("request", 401)] * 3
    lines.clear()
    for path in ("/healthz", "/readyz", "/metrics"):
        await shop.send("GET", path)
    assert lines == []


async def test_no_secret_and_no_personal_data_is_logged(shop: Shop, lines: Lines) -> None:
    organization = await shop.organization()
    store, creator = await shop.store(organization), await shop.creator(email="aina@private.example")
    key = await shop.key("seller", organization_id=organization["id"])
    link = await shop.link(creator)
    await shop.follow(link)
    await shop.order(store, email="buyer@private.example", items=[TSHIRT])
    await shop.send("GET", "/v1/orders?external_id=buyer@private.example", key=key)
    await shop.send("POST", "/v1/creators", {"handle": "buyer@private.example", "display_name": 7})
    await shop.send("GET", "/v1/creators/buyer@private.example")
    await shop.send("GET", "/v1/orders", key="ck_guess_private")
    bulk = {"store_id": store["id"], "orders": [{"keys": {"customer_email": "buyer@private.example"}}]}
    await shop.send("POST", "/v1/orders/bulk", bulk)
    account = {"payee_id": creator["id"], "rail": "sandbox", "currency": "MYR", "details": {"outcome": "private"}}
    await shop.send("POST", "/v1/payout-accounts", account)
    assert len(lines) > 8
    told = json.dumps(lines)
    for secret in (ADMIN_KEY, SECRET, key, "private", "Mozilla", "127.0.0.1", "Bearer"):
        assert secret not in told, secret


async def test_lines_of_a_job_say_which_run_they_belong_to(lines: Lines) -> None:
    async def work() -> int:
        structlog.get_logger().info("working")
        return 0

    await Worker([Job(name="clearing", run=work, interval=1.0)]).run_once()
    await Worker([Job(name="clearing", run=work, interval=1.0)]).run_once()
    assert {line["job"] for line in lines} == {"clearing"}
    ids = {line["correlation_id"] for line in lines}
    assert len(ids) == 2
    assert all(id_.startswith("job:clearing:") for id_ in ids)


async def figures(shop: Shop) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = await shop.send("GET", "/metrics", key=None)
    assert answer.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def figure(found: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


async def test_the_figures_that_matter(shop: Shop) -> None:
    store = await shop.store(await shop.organization())
    for _ in range(2):
        await shop.order(store, items=[TSHIRT])
    await shop.refused("POST", f"/webhooks/shopify/{store['id']}", {}, status=401)
    found = await figures(shop)
    head = (await shop.get("/v1/events", limit=200))["after"]
    commands = figure(found, "colink_batch_commands_sum", log="commerce")
    assert commands is not None
    assert commands >= 4
    assert figure(found, "colink_append_seconds_count", log="commerce") == figure(
        found, "colink_batch_commands_count", log="commerce"
    )
    assert figure(found, "colink_queue_depth", log="commerce") == 0
    assert figure(found, "colink_deliveries_total", outcome="accepted") == 2
    assert figure(found, "colink_deliveries_total", outcome="bad_signature") == 1
    assert figure(found, "colink_seal_lag", log="commerce") == head
    assert figure(found, "colink_projection_lag", log="commerce", projection="leaderboard") == head
    seconds = figure(found, "colink_projection_lag_seconds", log="commerce", projection="leaderboard")
    assert seconds is not None
    assert seconds > 0
    assert figure(found, "colink_http_request_seconds_count", route="/webhooks") == 3
    assert (figure(found, "process_resident_memory_bytes") or 0) > 1_000_000
    await shop.colink.seal()
    assert figure(await figures(shop), "colink_seal_lag", log="commerce") == 0


async def test_strange_methods_do_not_make_new_figures(shop: Shop) -> None:
    await shop.send("BREW", "/v1/orders")
    assert figure(await figures(shop), "colink_http_requests_total", method="other", route="/v1/orders", status="405")


async def test_without_the_database_the_figures_that_need_it_are_left_out(shop: Shop) -> None:
    await shop.organization()
    await shop.colink.pool.close()
    found = await figures(shop)
    assert not [name for name, _ in found if "lag" in name or "parked" in name or "seal" in name]
    assert figure(found, "colink_http_requests_total", method="POST", route="/v1/organizations", status="201") == 1


async def test_a_full_queue_says_so_everywhere_and_lets_shoppers_through(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    organization = await shop.organization()
    store, creator = await shop.store(organization), await shop.creator()
    link = await shop.link(creator)
    campaign = await shop.campaign(organization)
    for bus in (shop.colink.commerce, shop.colink.tracking):
        monkeypatch.setattr(bus, "_queue_size", 0)
    orders = {"store_id": store["id"], "orders": [{}]}
    for method, path, body in (
        ("POST", "/v1/creators", {"handle": "budi", "display_name": "Budi"}),
        ("GET", f"/v1/views/{campaign['slug']}.gif?creator={creator['id']}", None),
    ):
        answer = await shop.send(method, path, body)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == f"urn:colink:problem:{Unavailable.slug}"
    assert (await shop.send("POST", "/v1/orders/bulk", orders)).json()["rejected"] == 1  # nothing to be recorded
    followed = await shop.send("GET", f"/l/{link['code']}", headers={"User-Agent": "Mozilla/5.0 Firefox/140.0"})
    assert (followed.status_code, followed.headers["location"]) == (302, link["destination"])
    with pytest.raises(AssertionError, match="unavailable"):
        await shop.order(store, items=[TSHIRT])
    found = await figures(shop)
    assert figure(found, "colink_touches_unrecorded_total") == 1
    assert figure(found, "colink_deliveries_total", outcome="unavailable") == 1
