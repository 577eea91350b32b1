"""The demo's people at work over HTTP: an operator sets the shop up, payees ask for their money, finance sends it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from colink.cli.demo.processes import DemoFailed
from colink.cli.demo.scenario import (
    CAMPAIGN_PRODUCT_ID,
    CAMPAIGN_SLUG,
    COUPON_CODE,
    CREATORS,
    CURRENCY,
    HOLD_DAYS,
    LINKS,
    MEI,
    PAYMENT_FEE_BPS,
    PAYMENT_FEE_FIXED,
    PLATFORM_FEE_BPS,
    RULES,
    SHOP_DOMAIN,
    VARIANTS,
    Rule,
)

Json = dict[str, Any]
_PATIENCE = 30.0


class Api:
    """CoLink's API, called with one key."""

    def __init__(self, url: str, key: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=_PATIENCE, trust_env=False
        )

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def post(self, path: str, body: Mapping[str, Any] | None = None) -> Json:
        return _document(await self._client.post(path, json=body, headers={"Idempotency-Key": secrets.token_hex(8)}))

    async def get(self, path: str, **query: str | int) -> Json:
        return _document(await self._client.get(path, params=query))

    async def every(self, path: str, **query: str | int) -> list[Json]:
        """All items of a list, page by page."""
        items: list[Json] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self.get(path, limit=200, **query, **cursor)
            items += page["items"]
            if page["next_cursor"] is None:
                return items
            cursor = {"cursor": page["next_cursor"]}


def _document(answer: httpx.Response) -> Json:
    if answer.is_error:
        msg = f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}: {answer.text}"
        raise DemoFailed(msg)
    return dict(answer.json())


@dataclass(kw_only=True)
class Shop:
    """What was set up: ids by the story's own names, and a key for each kind of user."""

    organization_id: str = ""
    store_id: str = ""
    webhook_url: str = ""
    webhook_secret: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    campaign_id: str = ""
    creators: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    products: dict[int, str] = field(default_factory=dict)
    skus: dict[int, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict, repr=False)
    things: int = 0

    @property
    def payees(self) -> dict[str, str]:
        """Payee ids by who they are."""
        return {**self.creators, "seller": self.organization_id}

    @property
    def names(self) -> dict[str, str]:
        """Ids to what people call them."""
        return {
            self.organization_id: "seller",
            self.store_id: "shopify",
            self.campaign_id: f"campaign {CAMPAIGN_SLUG}",
            **{id_: handle for handle, id_ in self.creators.items()},
            **{id_: f"link {code}" for code, id_ in self.links.items()},
            **{self.skus[variant.variant_id]: variant.sku for variant in VARIANTS},
        }


async def set_up(api: Api) -> Shop:
    """One organisation with its Shopify store, products, campaign and rules; creators with links and a coupon;
    payout accounts; and a key for every kind of user."""
    shop = Shop()

    async def create(path: str, **body: Any) -> Json:
        shop.things += 1
        return await api.post(path, body)

    organization = await create(
        "/v1/organizations",
        name="Batik House",
        platform_fee_bps=PLATFORM_FEE_BPS,
        hold_days=HOLD_DAYS,
        timezone="Asia/Kuala_Lumpur",
    )
    shop.organization_id = organization["id"]
    owner = {"organization_id": shop.organization_id}
    store = await create(
        "/v1/stores",
        **owner,
        platform="shopify",
        name="batik-house",
        domain=SHOP_DOMAIN,
        settlement="platform_collected",
        credentials={"webhook_secrets": [shop.webhook_secret]},
        payment_fee={"rate_bps": PAYMENT_FEE_BPS, "fixed": _sen(PAYMENT_FEE_FIXED)},
    )
    shop.store_id, shop.webhook_url = store["id"], store["webhook_url"]
    for product_id in dict.fromkeys(variant.product_id for variant in VARIANTS):
        variants = [variant for variant in VARIANTS if variant.product_id == product_id]
        product = await create(
            "/v1/products",
            **owner,
            store_id=shop.store_id,
            external_id=str(product_id),
            title=variants[0].product,
            skus=[
                {
                    "external_id": str(variant.variant_id),
                    "sku": variant.sku,
                    "price": _sen(int(variant.price * 100)),
                }
                for variant in variants
            ],
        )
        shop.products[product_id] = product["id"]
        shop.skus |= {int(sku["external_id"]): sku["id"] for sku in product["skus"]}
    for creator in CREATORS:
        made = await create("/v1/creators", handle=creator.handle, display_name=creator.name, email=creator.email)
        shop.creators[creator.handle] = made["id"]
    campaign = await create(
        "/v1/campaigns",
        **owner,
        name="Raya sarongs",
        slug=CAMPAIGN_SLUG,
        product_ids=[shop.products[CAMPAIGN_PRODUCT_ID]],
    )
    shop.campaign_id = campaign["id"]
    for rule in RULES:
        await create("/v1/commission-rules", **owner, **_rule(rule, shop))
    for link in LINKS:
        made = await create(
            "/v1/links",
            creator_id=shop.creators[link.creator.handle],
            destination=f"https://{SHOP_DOMAIN}/",
            code=link.code,
            utm={"source": link.creator.handle, "medium": "creator"},
            **({"campaign_id": shop.campaign_id} if link.in_campaign else {}),
        )
        shop.links[link.code] = made["id"]
    await create(
        "/v1/coupons",
        creator_id=shop.creators[MEI.handle],
        campaign_id=shop.campaign_id,
        store_id=shop.store_id,
        code=COUPON_CODE,
    )
    for payee_id in shop.payees.values():
        details = {"outcome": "paid", "delay_ms": 50}
        await create("/v1/payout-accounts", payee_id=payee_id, rail="sandbox", currency=CURRENCY, details=details)
    for role in ("finance", "auditor"):
        shop.keys[role] = (await create("/v1/keys", role=role))["key"]
    shop.keys["seller"] = (await create("/v1/keys", role="seller", **owner))["key"]
    for handle, payee_id in shop.creators.items():
        shop.keys[handle] = (await create("/v1/keys", role="creator", payee_id=payee_id))["key"]
    return shop


@dataclass(frozen=True, kw_only=True)
class RequestedPayout:
    """A payout as it was asked for: all that `payee` (a handle, or `seller`) had available, in minor units."""

    id: str
    payee: str
    amount: int
    available_before: int


async def pay_out(url: str, shop: Shop) -> list[RequestedPayout]:
    """Every payee asks for what is available, with a key of their own; finance approves with another."""
    requested = []
    async with Api(url, shop.keys["finance"]) as finance:
        for payee, payee_id in shop.payees.items():
            async with Api(url, shop.keys[payee]) as own:
                available = await balance_of(own, f"payee:{payee_id}:available")
                if available <= 0:
                    continue
                payout = await own.post("/v1/payouts", {"payee_id": payee_id, "currency": CURRENCY})
            await finance.post(f"/v1/payouts/{payout['id']}/approve")
            requested.append(
                RequestedPayout(
                    id=payout["id"], payee=payee, amount=payout["amount"]["amount"], available_before=available
                )
            )
    return requested


async def balance_of(api: Api, account: str) -> int:
    balances = await api.get("/v1/balances", account=account)
    return sum(balance["amount"] for balance in balances["items"])


def _rule(rule: Rule, shop: Shop) -> Json:
    body: Json = {"scope": rule.scope}
    if rule.scope == "campaign":
        body["target_id"] = shop.campaign_id
    if rule.scope == "product" and rule.variant is not None:
        body["target_id"] = shop.products[rule.variant.product_id]
    if rule.scope == "sku" and rule.variant is not None:
        body["target_id"] = shop.skus[rule.variant.variant_id]
    if rule.creator is not None:
        body["creator_id"] = shop.creators[rule.creator.handle]
    return body | ({"rate_bps": rule.rate_bps} if rule.fixed is None else {"fixed": _sen(rule.fixed)})


def _sen(amount: int) -> Json:
    return {"amount": amount, "currency": CURRENCY}
