"""The promise: whatever is sent, the answer is a problem of the caller's, never an error of ours."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any
from urllib.parse import quote

import pytest
from tests.api.shop import Shop

pytestmark = pytest.mark.anyio

ODD: list[Any] = [
    None, True, False, 0, -1, 1.5, 10**15, 10**16, 2**63, 2**64, 10**400, "", " ", "x", "MYR", "é" * 300, "a" * 3000,
    "\x1f", "\x1e", "\u2028", "😀", "../..", "%00", "';--", "{}", [], {}, [1], {"a": 1}, {"amount": 1},
    {"amount": "1", "currency": "MYR"}, {"amount": 1, "currency": "myr"}, {"amount": 1, "currency": "\x1fYR"},
    {"webhook_secrets": ["\x1f"]}, {"webhook_secrets": ["a\ud83d"]}, {"outcome": {"deep": [1]}}, {"delay_ms": -1},
    "2026-02-30T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "campaign", "shopify",
]  # fmt: skip


async def test_no_body_breaks_anything(shared_shop: Shop) -> None:
    document = await shared_shop.get("/openapi.json", key=None)
    organization = await shared_shop.organization()
    store, creator = await shared_shop.store(organization), await shared_shop.creator()
    known = {
        "organization_id": organization["id"],
        "store_id": store["id"],
        "creator_id": creator["id"],
        "payee_id": creator["id"],
        "platform": "shopify",
        "settlement": "platform_collected",
        "scope": "default",
        "currency": "MYR",
        "rail": "sandbox",
        "role": "auditor",
        "credentials": {"webhook_secrets": ["s"]},
        "destination": "https://kedai.example/",
        "rate_bps": 100,
        "platform_fee_bps": 100,
        "details": {},
        "skus": [],
    }
    names = itertools.count()
    for path, operations in document["paths"].items():
        body = operations.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        reference = body.get("schema", {}).get("$ref", "")
        if not reference:
            continue
        schema = document["components"]["schemas"][reference.rpartition("/")[2]]
        good = {name: known.get(name, f"x{next(names)}") for name in schema.get("required", [])}
        address = path.replace("{", "").replace("}", "")
        for name, value in itertools.product(schema["properties"], ODD):
            content = json_bytes(good | {name: value})
            headers = {"Content-Type": "application/json"}
            answer = await shared_shop.send("POST", address, content=content, headers=headers)
            assert answer.status_code < 500, (path, name, value, answer.text)


async def test_no_query_breaks_anything(shared_shop: Shop) -> None:
    document = await shared_shop.get("/openapi.json", key=None)
    chosen = random.Random(7)
    for path, operations in document["paths"].items():
        if "get" not in operations or path in {"/metrics", "/readyz"}:
            continue
        parameters = operations["get"].get("parameters", [])
        for value in chosen.sample([value for value in ODD if isinstance(value, str | int)], 20):
            address = path
            for parameter in parameters:
                if parameter["in"] == "path":
                    address = address.replace(f"{{{parameter['name']}}}", quote(str(value), safe="") or "x")
            query = {parameter["name"]: str(value) for parameter in parameters if parameter["in"] == "query"}
            for asked in (query, *({name: each} for name, each in query.items())):
                answer = await shared_shop.send("GET", address, params=asked)
                assert answer.status_code < 500, (path, asked, answer.text)


def json_bytes(value: Any) -> bytes:
    """JSON that may hold half a surrogate pair, as an escape."""
    return json.dumps(value).encode()
