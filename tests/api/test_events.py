"""The promise: the commerce log can be read in order, whole, by those who see everything; a seller reads its own part
of it, without what is hidden from it elsewhere; a creator none of it; and nobody the digest of a key."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from tests.api.shop import ADMIN_KEY, Shop

from colink.projections.audit.trace import trace

pytestmark = pytest.mark.anyio


async def log(shop: Shop) -> list[dict[str, Any]]:
    async with shop.colink.pool.connection() as connection:
        cursor = await connection.execute(
            "select position, stream_id, version, topic, schema_version, payload, organization_id, actor,"
            " correlation_id, causation_id from colink.events order by position"
        )
        names = ["position", "stream_id", "version", "type", "schema_version", "payload", "organization_id", "actor",
                 "correlation_id", "causation_id"]  # fmt: skip
        rows = [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]
        return [row | {"payload": json.loads(row["payload"])} for row in rows]


def told(event: dict[str, Any]) -> dict[str, Any]:
    """What may be read of an event as recorded."""
    if event["type"] != "api_key.created":
        return event
    payload = event["payload"]
    assert len(payload["details"]["digest"]) == 64
    details = {name: value for name, value in payload["details"].items() if name != "digest"}
    return event | {"payload": payload | {"details": details}}


async def paged(shop: Shop, key: str, *, limit: int) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = await shop.get("/v1/events", key=key, limit=limit, **({"cursor": cursor} if cursor else {}))
        assert len(page["items"]) <= limit
        items += page["items"]
        assert page["after"] == items[-1]["position"]
        cursor = page["next_cursor"]
        if cursor is None:
            return items


async def test_who_sees_everything_reads_the_whole_log_in_order(shop: Shop) -> None:
    for _ in range(4):
        await shop.organization()
    await shop.creator(email="aina@example.com")
    keys = [ADMIN_KEY, await shop.key("finance"), await shop.key("auditor")]
    recorded = await log(shop)
    assert [event["position"] for event in recorded] == list(range(1, len(recorded) + 1))
    for key in keys:
        for limit in (1, 3, 200):
            items = await paged(shop, key, limit=limit)
            assert all(item.pop("recorded_at").startswith("20") for item in items)
            assert items == [told(event) for event in recorded]


async def test_nobody_reads_the_digest_of_a_key(shop: Shop) -> None:
    organization = await shop.organization()
    secrets = {
        "finance": await shop.key("finance"),
        "auditor": await shop.key("auditor"),
        "seller": await shop.key("seller", organization_id=organization["id"]),
        "operator": ADMIN_KEY,
    }
    digests = {hashlib.sha256(secret.encode()).hexdigest() for secret in secrets.values()}
    recorded = {
        event["payload"]["details"]["digest"]: event["position"]
        for event in await log(shop)
        if event["type"] == "api_key.created"
    }
    assert set(recorded) == digests
    for secret in secrets.values():
        answer = await shop.send("GET", "/v1/events?limit=200", key=secret)
        assert "api_key.created" in answer.text
        assert not any(digest in answer.text for digest in digests)
    async with shop.colink.pool.connection() as connection:
        for digest, position in recorded.items():
            (event,) = (await trace(connection, str(position))).events
            assert digest not in event.payload
            assert json.loads(event.payload)["details"]["role"] in secrets


async def test_an_event_is_shown_as_it_was_recorded(shop: Shop) -> None:
    answer = await shop.send(
        "POST", "/v1/organizations", {"name": "Kedai", "platform_fee_bps": 500}, headers={"X-Correlation-Id": "c-1"}
    )
    organization = answer.json()
    event = (await shop.get("/v1/events"))["items"][-1]
    actor = (await shop.get("/v1/keys"))["items"][0]["id"]
    assert event.pop("recorded_at").endswith("Z")
    assert event == {
        "position": 2,
        "stream_id": organization["id"],
        "version": 1,
        "type": "organization.registered",
        "schema_version": 1,
        "organization_id": organization["id"],
        "actor": f"key:{actor}",
        "correlation_id": "c-1",
        "causation_id": None,
        "payload": {"timestamp": "2026-03-01T12:00:00Z", "originator_topic": "organization", "details": organization},
    }


async def test_reading_goes_on_after_a_position(shop: Shop) -> None:
    await shop.organization()
    first = await shop.get("/v1/events", limit=1)
    assert ([item["position"] for item in first["items"]], first["after"]) == ([1], 1)
    rest = await shop.get("/v1/events", after=first["after"])
    assert ([item["position"] for item in rest["items"]], rest["next_cursor"], rest["after"]) == ([2], None, 2)
    nothing = await shop.get("/v1/events", after=rest["after"])
    assert nothing == {"items": [], "next_cursor": None, "after": 2}
    await shop.creator()
    assert [item["position"] for item in (await shop.get("/v1/events", after=2))["items"]] == [3]
    for query, field in (
        ("after=-1", "after"),
        ("after=x", "after"),
        (f"after={2**63}", "after"),
        ("cursor=x", "cursor"),
    ):
        assert (await shop.refused("GET", f"/v1/events?{query}", status=422))["field"] == field


async def test_a_seller_reads_its_organisations_events_without_hashes_and_a_creator_none(shop: Shop) -> None:
    ours, theirs = await shop.organization(), await shop.organization(name="Other")
    creator = await shop.creator(email="aina@example.com")
    for organization in (ours, theirs):
        campaign = await shop.campaign(organization)
        await shop.link(creator, campaign_id=campaign["id"])
        await shop.rule(organization)
    seller = await shop.key("seller", organization_id=ours["id"])
    own = [event for event in await log(shop) if event["organization_id"] == ours["id"]]
    assert [event["type"] for event in own] == [
        "organization.registered",
        "campaign.created",
        "link.created",
        "commission_rule.added",
        "api_key.created",
    ]
    items = await paged(shop, seller, limit=2)
    assert [item["position"] for item in items] == [event["position"] for event in own]
    hidden = {"link.created": "creator_customer_ref", "api_key.created": "digest"}
    for item, event in zip(items, own, strict=True):
        name = hidden.get(event["type"])
        if name is not None:
            assert event["payload"]["details"].pop(name)
        assert item["payload"] == event["payload"]
    after = items[-2]["position"]
    assert (await shop.get("/v1/events", key=seller, after=after))["items"] == items[-1:]
    await shop.refused("GET", "/v1/events", status=403, key=await shop.key("creator", payee_id=creator["id"]))
    await shop.refused("GET", "/v1/events", status=401, key=None)
