"""The promise: a key that was revoked or has expired opens nothing any more, in any process and for answers that are
under way; who ended it is in the log, nobody locks everybody out by it, and the auditor sees when the rows that
callers are looked up in say something else than the log."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from tests.api.shop import ADMIN_KEY, NOON, Shop
from tests.api.test_event_stream import listening, served
from tests.conftest import TestDatabase

from colink.adapters.postgres import migrate
from colink.api import auth, event_stream
from colink.application.configure.access import key_digest
from colink.bootstrap import ensure_admin_key
from colink.domain.audit.report import Kind, Pass
from colink.projections.audit import verify

pytestmark = pytest.mark.anyio


async def made(shop: Shop, role: str = "finance", **more: Any) -> Any:
    return await shop.post("/v1/keys", {"role": role} | more)


async def revoke(shop: Shop, key: Any, **body: Any) -> Any:
    return await shop.post(f"/v1/keys/{key['id']}/revoke", body or None, status=200)


async def of_events(shop: Shop, topic: str) -> list[Any]:
    events = (await shop.get("/v1/events", limit=200))["items"]
    return [event for event in events if event["type"] == topic]


async def test_a_revoked_key_opens_nothing_and_says_so(shop: Shop) -> None:
    clerk = await made(shop, name="desk 2")
    await shop.get("/v1/payouts", key=clerk["key"])
    shop.clock.time += timedelta(hours=1)
    ended = await revoke(shop, clerk, reason="left us")
    operator = (await shop.get("/v1/keys"))["items"][0]
    assert ended == {
        "id": clerk["id"],
        "role": "finance",
        "revoked": {"at": "2026-03-01T13:00:00Z", "by": f"key:{operator['id']}", "reason": "left us"},
    }
    problem = await shop.refused("GET", "/v1/payouts", key=clerk["key"], status=401)
    assert problem["type"] == "urn:colink:problem:key-revoked"
    assert clerk["id"] in problem["detail"]
    listed = (await shop.get("/v1/keys"))["items"]
    assert listed[1] == {
        "id": clerk["id"],
        "role": "finance",
        "organization_id": None,
        "payee_id": None,
        "name": "desk 2",
        "expires_at": None,
        "created_at": listed[1]["created_at"],
        "created_by": f"key:{operator['id']}",
        "revoked": ended["revoked"],
    }
    assert [key["id"] for key in (await shop.get("/v1/keys", standing=True))["items"]] == [operator["id"]]
    assert [key["id"] for key in (await shop.get("/v1/keys", role="finance"))["items"]] == [clerk["id"]]
    [event] = await of_events(shop, "api_key.revoked")
    assert (event["stream_id"], event["actor"]) == (clerk["id"], f"key:{operator['id']}")
    assert event["payload"]["details"]["reason"] == "left us"


async def test_revoking_again_changes_nothing(shop: Shop) -> None:
    clerk = await made(shop)
    first = await revoke(shop, clerk, reason="left us")
    shop.clock.time += timedelta(hours=1)
    again, at_once = await asyncio.gather(revoke(shop, clerk), revoke(shop, clerk, reason="another"))
    assert again == at_once == first
    assert len(await of_events(shop, "api_key.revoked")) == 1
    await shop.refused("POST", "/v1/keys/key_none/revoke", status=404)


async def test_only_operators_see_and_revoke_keys(shop: Shop) -> None:
    finance, other = await made(shop), await made(shop)
    for role in ("finance", "auditor"):
        key = await shop.key(role)
        await shop.refused("POST", f"/v1/keys/{other['id']}/revoke", key=key, status=403)
        await shop.refused("GET", "/v1/keys", key=key, status=403)
    await shop.get("/v1/payouts", key=finance["key"])
    assert await of_events(shop, "api_key.revoked") == []


async def test_operators_cannot_lock_everybody_out(shop: Shop) -> None:
    """The key one calls with stays, so the last operator's does; of two who revoke each other one stays."""
    own = (await shop.get("/v1/keys"))["items"][0]
    problem = await shop.refused("POST", f"/v1/keys/{own['id']}/revoke", status=409)
    assert problem["type"] == "urn:colink:problem:own-key"
    other = await made(shop, "operator")
    answers = await asyncio.gather(
        shop.send("POST", f"/v1/keys/{other['id']}/revoke"),
        shop.send("POST", f"/v1/keys/{own['id']}/revoke", key=other["key"]),
    )
    assert sorted(answer.status_code for answer in answers) == [200, 401]
    assert len(await of_events_by(shop, (ADMIN_KEY, other["key"]))) == 1


async def of_events_by(shop: Shop, keys: tuple[str, ...]) -> list[Any]:
    """The revocations, read with whichever of the keys still opens."""
    for key in keys:
        answer = await shop.send("GET", "/v1/events", key=key, params={"limit": 200})
        if answer.status_code == 200:
            return [event for event in answer.json()["items"] if event["type"] == "api_key.revoked"]
    raise AssertionError("nobody gets in any more")


async def test_another_process_takes_a_revoked_key_for_two_seconds_at_most(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = 0.0
    monkeypatch.setattr(auth.time, "monotonic", lambda: passed)
    transport = httpx.ASGITransport(app=shop.colink.asgi())
    clerk = await made(shop)
    async with httpx.AsyncClient(transport=transport, base_url="http://elsewhere.example") as http:
        elsewhere = replace(shop, http=http)
        await elsewhere.get("/v1/payouts", key=clerk["key"])
        await revoke(shop, clerk)
        await shop.refused("GET", "/v1/payouts", key=clerk["key"], status=401)
        passed = 2.001
        await elsewhere.refused("GET", "/v1/payouts", key=clerk["key"], status=401)


async def test_a_key_expires(shop: Shop) -> None:
    key = await made(shop, expires_at="2026-03-31T14:00:00+02:00")
    assert key["expires_at"] == "2026-03-31T12:00:00Z"
    shop.clock.time = NOON + timedelta(days=30) - timedelta(microseconds=1)
    await shop.get("/v1/payouts", key=key["key"])
    shop.clock.time = NOON + timedelta(days=30)
    problem = await shop.refused("GET", "/v1/payouts", key=key["key"], status=401)
    assert problem["type"] == "urn:colink:problem:key-expired"
    assert key["id"] not in {each["id"] for each in (await shop.get("/v1/keys", standing=True))["items"]}
    ended = await revoke(shop, key)
    assert ended["revoked"]["reason"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"expires_at": "2026-03-01T12:00:00Z"}, "expires_at"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": "2026-04-01T12:00:00"}, "expires_at"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\u0000b"}, "name"),
    ],
)
async def test_a_key_that_cannot_be_is_refused(shop: Shop, body: dict[str, Any], field: str) -> None:
    problem = await shop.refused("POST", "/v1/keys", {"role": "finance"} | body, status=422)
    assert problem["field"] == field
    assert len((await shop.get("/v1/keys"))["items"]) == 1


@pytest.mark.parametrize("how", ["revoked", "revoked elsewhere", "expired"])
async def test_a_stream_ends_with_its_key(shop: Shop, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(event_stream, "RECHECK", 0.05)
    seller = await shop.organization()
    key = await made(shop, "seller", organization_id=seller["id"], expires_at="2026-03-02T12:00:00Z")
    async with served(shop) as (_, url), listening(url, key=key["key"]) as listener:
        assert (await listener.next_event())["stream_id"] == seller["id"]
        match how:
            case "revoked":
                answer = await httpx.AsyncClient(base_url=url).post(
                    f"/v1/keys/{key['id']}/revoke", headers={"Authorization": f"Bearer {ADMIN_KEY}"}
                )
                assert answer.status_code == 200
            case "revoked elsewhere":
                await revoke(shop, key)
            case _:
                shop.clock.time += timedelta(days=1)
        await listener.blocks_to_the_end()


async def test_the_admin_key_of_the_settings_stays_revoked(shop: Shop) -> None:
    other = await made(shop, "operator")
    own = (await shop.get("/v1/keys"))["items"][0]
    await shop.post(f"/v1/keys/{own['id']}/revoke", key=other["key"], status=200)
    await ensure_admin_key(shop.colink)
    problem = await shop.refused("GET", "/v1/keys", status=401)
    assert problem["type"] == "urn:colink:problem:key-revoked"
    assert len((await shop.get("/v1/keys", key=other["key"]))["items"]) == 2


async def test_the_rows_of_keys_of_before_say_that_they_have_no_name_and_no_end(
    shop: Shop, database: TestDatabase
) -> None:
    """As their events do when they are read; the migration brings them there."""
    folder = Path(migrate.__file__).parent / "migrations" / "sql"
    with psycopg.connect(database.superuser_dsn) as superuser:
        before = "select body from colink.documents where kind = 'api_key'"
        [now] = superuser.execute(before).fetchall()
        superuser.execute(
            "update colink.documents set body = replace(body, %s, '')", [',"name":null,"expires_at":null']
        )
        assert superuser.execute(before).fetchall() != [now]
        superuser.execute((folder / "0017_ends_of_keys.sql").read_text())
        assert superuser.execute(before).fetchall() == [now]


@pytest.mark.parametrize(
    ("statement", "kind", "message"),
    [
        ("delete from colink.documents where kind = 'api_key_revocation'", Kind.MISSING, "api_key_revocation"),
        ("update colink.documents set current = false where kind = 'api_key_revocation'", Kind.CHANGED, "current"),
        (
            "update colink.documents set key = '{digest}' where kind = 'api_key' and body like '%creator%'",
            Kind.CHANGED,
            "api_key",
        ),
        (
            "update colink.documents set body = replace(body, 'creator', 'finance') where body like '%\"creator\"%'",
            Kind.CHANGED,
            "api_key",
        ),
        (
            """insert into colink.documents select kind, 'key_forged', 1, '{digest}', null, false, true, body,
                position from colink.documents where kind = 'api_key' limit 1""",
            Kind.EXTRA,
            "did not write version 1 of api_key key_forged",
        ),
    ],
    ids=["revocation deleted", "revocation hidden", "another secret", "another role", "a key nobody made"],
)
async def test_rows_that_callers_are_looked_up_in_are_verified(
    shop: Shop, database: TestDatabase, statement: str, kind: Kind, message: str
) -> None:
    clerk, creator = await made(shop), await shop.creator()
    await made(shop, "creator", payee_id=creator["id"])
    await revoke(shop, clerk)
    with psycopg.connect(database.superuser_dsn) as superuser:
        superuser.execute(statement.replace("{digest}", key_digest("ck_of_mine")))
    async with shop.colink.pool.connection() as connection:
        report = await verify(connection, shop.colink.decode, only=[Pass.DOCUMENTS])
    findings = [finding for result in report.passes for finding in result.findings]
    assert kind in {finding.kind for finding in findings}
    assert any(message in finding.message for finding in findings), findings
