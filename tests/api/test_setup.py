"""The promise: what is set up can be read back as it was answered, and what cannot be is refused naming the field."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.shop import PUBLIC_URL, Shop

from colink.domain.customers import customer_ref_of

pytestmark = pytest.mark.anyio


async def test_everything_set_up_reads_back_as_it_was_answered(shop: Shop) -> None:
    organization = await shop.organization(timezone="Asia/Kuala_Lumpur", hold_days=7)
    store = await shop.store(organization)
    product = await shop.product(store)
    creator = await shop.creator(email="aina@example.com")
    campaign = await shop.campaign(organization, product_ids=[product["id"]])
    rule = await shop.rule(organization, scope="sku", target_id=product["skus"][0]["id"])
    link = await shop.link(creator, campaign_id=campaign["id"], utm={"source": "instagram"})
    coupon = await shop.coupon(creator, store)
    for path, made in {
        "organizations": organization,
        "stores": store,
        "products": product,
        "creators": creator,
        "campaigns": campaign,
        "commission-rules": rule,
        "links": link,
        "coupons": coupon,
    }.items():
        assert await shop.get(f"/v1/{path}/{made['id']}") == made
        assert (await shop.get(f"/v1/{path}"))["items"] == [made]
        problem = await shop.refused("GET", f"/v1/{path}/none", status=404)
        assert problem["type"] == "urn:colink:problem:not-found"


async def test_answers_have_the_shapes_of_the_contract(shop: Shop) -> None:
    organization = await shop.organization()
    assert {key: value for key, value in organization.items() if key != "id"} == {
        "name": "Kedai",
        "platform_fee_bps": 500,
        "hold_days": 14,
        "timezone": "UTC",
        "refund_platform_fee": True,
        "advance": False,
    }
    fee = {"rate_bps": 290, "fixed": {"amount": 100, "currency": "MYR"}}
    store = await shop.store(organization, payment_fee=fee)
    assert store["webhook_url"] == f"{PUBLIC_URL}/webhooks/shopify/{store['id']}"
    assert store["payment_fee"] == fee
    # The address is there: it refuses what nobody signed.
    await shop.refused("POST", store["webhook_url"], {}, status=401)
    product = await shop.product(store)
    assert product["id"] == f"prd_{store['id']}.71"
    assert product["skus"] == [
        {
            "id": f"sku_{store['id']}.81",
            "external_id": "81",
            "sku": "TS-M",
            "price": {"amount": 5990, "currency": "MYR"},
        }
    ]
    creator = await shop.creator()
    link = await shop.link(creator, code="aina-raya")
    assert link["url"] == f"{PUBLIC_URL}/l/aina-raya"
    assert link["qr_url"] == f"{PUBLIC_URL}/v1/links/{link['id']}/qr.svg"
    generated = await shop.link(creator)
    assert len(generated["code"]) == 9
    international = await shop.link(creator, destination="https://bücher.example/ä?q=1")
    assert international["destination"] == "https://bücher.example/ä?q=1"


async def test_the_same_product_again_changes_it(shop: Shop) -> None:
    store = await shop.store(await shop.organization())
    first = await shop.product(store)
    assert await shop.product(store) == first
    assert (await shop.product(store, title="Tee"))["title"] == "Tee"
    assert (await shop.get(f"/v1/products/{first['id']}"))["title"] == "Tee"
    recorded = [event["topic"] for event in await events(shop) if event["stream_id"] == first["id"]]
    assert recorded == ["product.recorded", "product.changed"]


async def test_a_rule_is_revised_by_versions_that_stay(shop: Shop) -> None:
    rule = await shop.rule(await shop.organization(), rate_bps=1000)
    second = await shop.post(
        f"/v1/commission-rules/{rule['id']}/versions", {"rate_bps": 1200, "valid_from": "2026-04-01T08:00:00+08:00"}
    )
    assert (second["version"], second["rate_bps"], second["valid_from"]) == (2, 1200, "2026-04-01T00:00:00Z")
    assert await shop.get(f"/v1/commission-rules/{rule['id']}") == second
    assert await shop.get(f"/v1/commission-rules/{rule['id']}", version=1) == rule
    problem = await shop.refused(
        "POST", f"/v1/commission-rules/{rule['id']}/versions", {"rate_bps": 9501}, status=422
    )
    assert (problem["type"], problem["field"]) == ("urn:colink:problem:commission-too-high", "rate_bps")


async def test_taken_names_are_conflicts_that_name_the_field(shop: Shop) -> None:
    organization = await shop.organization()
    store, creator = await shop.store(organization), await shop.creator(handle="aina")
    await shop.campaign(organization, slug="raya")
    await shop.link(creator, code="aina")
    await shop.coupon(creator, store, code="AINA10")
    taken: list[tuple[str, dict[str, Any], str]] = [
        ("/v1/creators", {"handle": "aina", "display_name": "B"}, "handle"),
        ("/v1/campaigns", {"organization_id": organization["id"], "name": "B", "slug": "raya"}, "slug"),
        ("/v1/links", {"creator_id": creator["id"], "destination": "https://k.example", "code": "aina"}, "code"),
        ("/v1/coupons", {"creator_id": creator["id"], "store_id": store["id"], "code": "aina10"}, "code"),
    ]
    for path, body, field in taken:
        problem = await shop.refused("POST", path, body, status=409)
        assert (problem["type"], problem["field"]) == ("urn:colink:problem:conflict", field)


ABSURD = 10**15 + 1


@pytest.mark.parametrize(
    ("path", "changes", "field"),
    [
        ("organizations", {"name": ""}, "name"),
        ("organizations", {"name": "a\x00b"}, "name"),
        ("organizations", {"platform_fee_bps": 10_001}, "platform_fee_bps"),
        ("organizations", {"platform_fee_bps": 5.5}, "platform_fee_bps"),
        ("organizations", {"platform_fee_bps": "500"}, "platform_fee_bps"),
        ("organizations", {"platform_fee_bps": True}, "platform_fee_bps"),
        ("organizations", {"hold_days": -1}, "hold_days"),
        ("organizations", {"timezone": "Asia/Nowhere"}, "timezone"),
        ("organizations", {"timezone": "../../etc/passwd"}, "timezone"),
        ("organizations", {"advance": "yes"}, "advance"),
        ("stores", {"organization_id": "org_none"}, "organization_id"),
        ("stores", {"platform": "myshop"}, "platform"),
        ("stores", {"platform": "woocommerce"}, "platform"),
        ("stores", {"platform": "shopee", "credentials": {}}, "platform"),
        ("stores", {"platform": "lazada"}, "platform"),
        ("stores", {"credentials": {}}, "credentials.webhook_secrets"),
        ("stores", {"credentials": {"webhook_secrets": []}}, "credentials.webhook_secrets"),
        ("stores", {"credentials": {"webhook_secrets": [1]}}, "credentials.webhook_secrets"),
        ("stores", {"domain": "https://kedai.example/"}, "domain"),
        ("stores", {"payment_fee": {"rate_bps": 100, "fixed": "30"}}, "payment_fee.fixed"),
        ("stores", {"payment_fee": {"rate_bps": 100, "fixed": -30}}, "payment_fee.fixed"),
        ("stores", {"payment_fee": {"fixed": {"amount": -1, "currency": "MYR"}}}, "payment_fee.fixed.amount"),
        ("products", {"store_id": "sto_none"}, "store_id"),
        ("products", {"skus": [{"external_id": "1", "sku": "A", "price": 5}]}, "skus.0.price"),
        (
            "products",
            {"skus": [{"external_id": "1", "sku": "A", "price": {"amount": ABSURD, "currency": "MYR"}}]},
            "skus.0.price.amount",
        ),
        (
            "products",
            {"skus": [{"external_id": "1", "sku": "A", "price": {"amount": 1.0, "currency": "MYR"}}]},
            "skus.0.price.amount",
        ),
        (
            "products",
            {"skus": [{"external_id": "1", "sku": "A", "price": {"amount": 1, "currency": "XXY"}}]},
            "skus.0.price.currency",
        ),
        ("creators", {"handle": "two words"}, "handle"),
        ("creators", {"email": "nobody"}, "email"),
        ("campaigns", {"slug": "Hari Raya"}, "slug"),
        ("campaigns", {"organization_id": "org_none"}, "organization_id"),
        ("campaigns", {"product_ids": ["prd_none"]}, "product_ids.0"),
        ("commission-rules", {"rate_bps": 9501}, "rate_bps"),
        ("commission-rules", {"rate_bps": None}, "rate_bps"),
        ("commission-rules", {"fixed": {"amount": 1, "currency": "MYR"}}, "fixed"),
        ("commission-rules", {"scope": "campaign"}, "target_id"),
        ("commission-rules", {"scope": "campaign", "target_id": "cmp_none"}, "target_id"),
        ("commission-rules", {"scope": "product", "target_id": "prd_none"}, "target_id"),
        ("commission-rules", {"scope": "sku", "target_id": "sku_none"}, "target_id"),
        ("commission-rules", {"creator_id": "cre_none"}, "creator_id"),
        ("commission-rules", {"valid_from": "2026-03-01"}, "valid_from"),
        ("commission-rules", {"valid_from": "2026-03-01T00:00:00"}, "valid_from"),
        ("links", {"creator_id": "cre_none"}, "creator_id"),
        ("links", {"campaign_id": "cmp_none"}, "campaign_id"),
        ("links", {"destination": "javascript:alert(1)"}, "destination"),
        ("links", {"destination": "//kedai.example"}, "destination"),
        ("links", {"destination": "https://aina@kedai.example/"}, "destination"),
        ("links", {"destination": "https://kedai.example:0/"}, "destination"),
        ("links", {"destination": "https://kedai.example\\@evil.example/"}, "destination"),
        ("links", {"destination": "https://ke_dai.example/"}, "destination"),
        ("links", {"code": "a b"}, "code"),
        ("links", {"code": "abc-"}, "code"),
        ("links", {"code": "_abc"}, "code"),
        ("links", {"code": "a" * 65}, "code"),
        ("links", {"utm": {"color": "red"}}, "utm"),
        ("coupons", {"store_id": "sto_none"}, "store_id"),
        ("coupons", {"code": "   "}, "code"),
        ("keys", {"role": "boss"}, "role"),
        ("keys", {"role": "seller"}, "organization_id"),
        ("keys", {"role": "creator", "payee_id": "cre_none"}, "payee_id"),
        ("keys", {"role": "finance", "organization_id": "org_none"}, "organization_id"),
    ],
)
async def test_what_cannot_be_is_refused_naming_the_field(
    shared_shop: Shop, good: dict[str, dict[str, Any]], path: str, changes: dict[str, Any], field: str
) -> None:
    before = len(await events(shared_shop))
    problem = await shared_shop.refused("POST", f"/v1/{path}", good[path] | changes, status=422)
    assert problem["field"] == field
    assert len(await events(shared_shop)) == before


async def test_fields_we_do_not_know_are_ignored(shared_shop: Shop, good: dict[str, dict[str, Any]]) -> None:
    body = good["organizations"] | {"name": "Wide", "colour": "green"}
    made = await shared_shop.post("/v1/organizations", body)
    assert (made["name"], "colour" in made) == ("Wide", False)


async def test_the_same_bodies_without_the_mistakes_are_taken(
    shared_shop: Shop, good: dict[str, dict[str, Any]]
) -> None:
    for path, body in good.items():
        answer = await shared_shop.send("POST", f"/v1/{path}", body)
        assert answer.status_code == 201, answer.text
        echoed = {name: value for name, value in answer.json().items() if name in body}
        # What a store is connected with is never told again.
        assert echoed == {name: value for name, value in body.items() if name != "credentials"}, path


@pytest.fixture(scope="module")
async def good(shared_shop: Shop) -> dict[str, dict[str, Any]]:
    """By path, a body that is taken."""
    organization = await shared_shop.organization()
    store, creator = await shared_shop.store(organization), await shared_shop.creator()
    return {
        "organizations": {"name": "B", "platform_fee_bps": 500},
        "stores": {
            "organization_id": organization["id"],
            "platform": "shopify",
            "name": "B",
            "settlement": "platform_collected",
            "credentials": {"webhook_secrets": ["s"]},
        },
        "products": {
            "organization_id": organization["id"],
            "store_id": store["id"],
            "external_id": "1",
            "title": "B",
            "skus": [],
        },
        "creators": {"handle": "budi", "display_name": "B"},
        "campaigns": {"organization_id": organization["id"], "name": "B", "slug": "b"},
        "commission-rules": {"organization_id": organization["id"], "scope": "default", "rate_bps": 100},
        "links": {"creator_id": creator["id"], "destination": "https://kedai.example/"},
        "coupons": {"creator_id": creator["id"], "store_id": store["id"], "code": "B"},
        "keys": {"role": "auditor"},
    }


async def test_references_across_organizations_are_refused(shop: Shop) -> None:
    ours, theirs = await shop.organization(), await shop.organization(name="Other")
    their_store = await shop.store(theirs)
    their_product, their_campaign = await shop.product(their_store), await shop.campaign(theirs)
    creator, our_store = await shop.creator(), await shop.store(ours)
    sku = their_product["skus"][0]["id"]
    rule = {"organization_id": ours["id"], "rate_bps": 100}
    for path, body, field in (
        ("campaigns", {"organization_id": ours["id"], "name": "B", "slug": "b", "product_ids": [their_product["id"]]},
         "product_ids.0"),
        ("commission-rules", rule | {"scope": "campaign", "target_id": their_campaign["id"]}, "target_id"),
        ("commission-rules", rule | {"scope": "product", "target_id": their_product["id"]}, "target_id"),
        ("commission-rules", rule | {"scope": "sku", "target_id": sku}, "target_id"),
        ("products", {"organization_id": ours["id"], "store_id": their_store["id"], "external_id": "9", "title": "B",
                      "skus": []}, "store_id"),
        ("coupons", {"creator_id": creator["id"], "store_id": our_store["id"], "code": "B",
                     "campaign_id": their_campaign["id"]}, "campaign_id"),
    ):  # fmt: skip
        problem = await shop.refused("POST", f"/v1/{path}", body, status=422)
        assert problem["field"] == field


async def test_secrets_are_never_echoed_nor_in_the_log(shop: Shop) -> None:
    secret, email = "shpss_do_not_tell", "aina.binti@example.com"
    organization = await shop.organization()
    store = await shop.store(organization, credentials={"webhook_secrets": [secret]})
    creator = await shop.creator(email=email)
    link = await shop.link(creator)
    key = await shop.key("seller", organization_id=organization["id"])
    told = [store, creator, link, await shop.get("/v1/stores"), await shop.get("/v1/creators")]
    told += [await shop.get("/v1/keys"), await shop.get("/v1/links")]
    reference = customer_ref_of(email, pepper=shop.colink.installation.pepper)
    for hidden in (secret, email, key, reference):
        assert hidden not in str(told)
    logged = str(await events(shop))
    for hidden in (secret, email, key):
        assert hidden not in logged
    assert reference in logged
    problem = await shop.send(
        "POST", "/v1/stores", {"organization_id": organization["id"], "credentials": {"webhook_secrets": [secret]}}
    )
    assert problem.status_code == 422
    assert secret not in problem.text
    async with shop.colink.pool.connection() as connection:
        cursor = await connection.execute("select owner_id, name, value from colink.private_values order by 1, 2")
        kept = await cursor.fetchall()
        cursor = await connection.execute("select answer from colink.idempotency_keys")
        assert key not in str(await cursor.fetchall())
    assert [row[:2] for row in kept] == [
        (creator["id"], "email"),
        (creator["id"], "key:profile"),
        (store["id"], "webhook_secrets"),
    ]
    assert email not in str(kept)
    assert kept[2][2] == f'["{secret}"]'


async def test_links_are_drawn_as_qr_codes(shop: Shop) -> None:
    link = await shop.link(await shop.creator())
    svg = await shop.send("GET", f"/v1/links/{link['id']}/qr.svg")
    assert (svg.status_code, svg.headers["content-type"]) == (200, "image/svg+xml")
    assert svg.text.startswith("<?xml")
    png = await shop.send("GET", f"/v1/links/{link['id']}/qr.png")
    assert (png.headers["content-type"], png.content[:4]) == ("image/png", b"\x89PNG")


async def test_lists_are_paged_by_opaque_cursors(shop: Shop) -> None:
    made = [await shop.creator() for _ in range(5)]
    seen, cursor = [], None
    while True:
        page = await shop.get("/v1/creators", limit=2, **({"cursor": cursor} if cursor else {}))
        assert len(page["items"]) <= 2
        seen += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == made
    for query, field in (
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("cursor=xx", "cursor"),
        ("cursor=WzFd", "cursor"),
    ):
        problem = await shop.refused("GET", f"/v1/creators?{query}", status=422)
        assert problem["field"] == field


async def events(shop: Shop) -> list[dict[str, Any]]:
    """The whole commerce log."""
    async with shop.colink.pool.connection() as connection:
        cursor = await connection.execute("select stream_id, topic, payload from colink.events order by position")
        return [
            {"stream_id": stream_id, "topic": topic, "payload": payload}
            for stream_id, topic, payload in await cursor.fetchall()
        ]
