"""The demo's crowd: shoppers' browsers that follow links and see pages, and a shop that delivers its webhooks."""

from __future__ import annotations

import asyncio
import random
import re
import secrets
import ssl
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import httpx

from colink.cli.demo.deliveries import Evidence, PlannedDelivery
from colink.cli.demo.processes import DemoFailed
from colink.cli.demo.scenario import CAMPAIGN_SLUG, LINKS, SHOP_DOMAIN, PlannedOrder, Step
from colink.cli.demo.shop import Shop
from colink.cli.shopify_traffic import signed_delivery

BROWSERS = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0",
)
PROGRAMS = ("Googlebot/2.1 (+http://www.google.com/bot.html)", "WhatsApp/2.24.20.89 A")
_AT_ONCE = 16
_TRIES = 5
_COOKIE = re.compile(r"colink_vid=([^;]+)")


@dataclass(kw_only=True)
class Traffic:
    """What went over the wire. `answers` counts deliveries by what CoLink said of them."""

    clicks: int = 0
    views: int = 0
    set_aside: int = 0
    deliveries: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        return self.deliveries / self.seconds if self.seconds else 0.0


class Shopper:
    """One person's browser, with an address and a cookie of its own: all of 127.0.0.0/8 is this machine."""

    def __init__(self, url: str, number: int, *, tls: ssl.SSLContext) -> None:
        self._url = url
        self._agent = BROWSERS[number % len(BROWSERS)]
        address = f"127.{1 + number // 62_500 % 254}.{1 + number // 250 % 250}.{1 + number % 250}"
        self._transport = httpx.AsyncHTTPTransport(local_address=address, verify=tls)
        self._click_id: str | None = None
        self._visitor_id: str | None = None

    @property
    def evidence(self) -> Evidence:
        return Evidence(click_id=self._click_id, visitor_id=self._visitor_id)

    async def __aenter__(self) -> Shopper:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.aclose()

    async def take(self, steps: Iterable[Step], traffic: Traffic) -> None:
        for step in steps:
            if step.link is not None and step.prefetched:
                await self._get(f"/l/{step.link.code}", {"Sec-Purpose": "prefetch"})
                traffic.set_aside += 1
            elif step.link is not None:
                await self._follow(step.link.code)
                traffic.clicks += 1
            elif step.view_of is not None:
                await self._see(step.view_of.handle)
                traffic.views += 1

    async def _follow(self, code: str) -> None:
        answer = await self._get(f"/l/{code}")
        target = urlsplit(answer.headers.get("location", ""))
        references = parse_qs(target.query).get("colink_ref", [])
        if answer.status_code != 302 or target.hostname != SHOP_DOMAIN or not references:
            msg = f"link {code} answered {answer.status_code} and led to {target.geturl()!r}"
            raise DemoFailed(msg)
        self._click_id = references[0]

    async def _see(self, handle: str) -> None:
        answer = await self._get(f"/v1/views/{CAMPAIGN_SLUG}.gif?creator={handle}")
        if answer.status_code != 200 or answer.headers.get("content-type") != "image/gif":
            msg = f"the view image answered {answer.status_code}"
            raise DemoFailed(msg)

    async def _get(self, path: str, more: Mapping[str, str] | None = None) -> httpx.Response:
        headers = {"User-Agent": self._agent, **(more or {})}
        if self._visitor_id is not None:
            headers["Cookie"] = f"colink_vid={self._visitor_id}"
        answer = await self._transport.handle_async_request(httpx.Request("GET", self._url + path, headers=headers))
        await answer.aread()
        await answer.aclose()
        cookie = _COOKIE.search(answer.headers.get("set-cookie", ""))
        self._visitor_id = cookie[1] if cookie else self._visitor_id
        return answer


class Crowd:
    """All shoppers of the story."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._tls = ssl.create_default_context()  # costly to make, and never used on loopback: one for all
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self.evidence: dict[int, Evidence] = {}

    async def browse(self, orders: Sequence[PlannedOrder], traffic: Traffic) -> None:
        """Everybody's way to the shop; what their browsers then hold is in `evidence`, by order number."""
        async with asyncio.TaskGroup() as tasks:
            for order in orders:
                tasks.create_task(self._way(order.number, order.steps, traffic))
            tasks.create_task(self._programs(traffic))

    async def _way(self, number: int, steps: Sequence[Step], traffic: Traffic) -> None:
        async with self._slots, Shopper(self._url, number, tls=self._tls) as shopper:
            await shopper.take(steps, traffic)
            self.evidence[number] = shopper.evidence

    async def _programs(self, traffic: Traffic) -> None:
        """A crawler and a link preview follow every link, and a checker asks for its headers only: recorded, never
        counted, never credited."""
        async with httpx.AsyncClient(base_url=self._url, trust_env=False) as client:
            for link in LINKS:
                for program in PROGRAMS:
                    await client.get(f"/l/{link.code}", headers={"User-Agent": program})
                await client.head(f"/l/{link.code}", headers={"User-Agent": BROWSERS[0]})
                traffic.set_aside += len(PROGRAMS) + 1


async def deliver(
    shop: Shop, streams: Sequence[Sequence[PlannedDelivery]], traffic: Traffic, *, webhook_url: str
) -> None:
    """Send all deliveries, streams side by side, each stream in its order, copies at once."""
    started = time.perf_counter()
    slots = asyncio.Semaphore(_AT_ONCE)
    async with httpx.AsyncClient(timeout=30.0, trust_env=False) as client:

        async def stream(deliveries: Sequence[PlannedDelivery]) -> None:
            async with slots:
                for delivery in deliveries:
                    sending = [_send(client, webhook_url, shop, delivery) for _ in range(delivery.copies)]
                    for answer in await asyncio.gather(*sending):
                        traffic.answers[answer] += 1
                        traffic.deliveries += 1

        async with asyncio.TaskGroup() as tasks:
            for deliveries in streams:
                tasks.create_task(stream(deliveries))
    traffic.seconds += time.perf_counter() - started


async def deliver_badly(shop: Shop, traffic: Traffic, *, webhook_url: str, good: PlannedDelivery) -> None:
    """One delivery that Shopify did not sign, and one that it did but that makes no sense."""
    nonsense = {**good.body, "line_items": [{**good.body["line_items"][0], "quantity": -1}], "id": 1}
    async with httpx.AsyncClient(timeout=30.0, trust_env=False) as client:
        forged = signed_delivery(
            good.topic,
            good.body,
            secret=secrets.token_hex(16),
            webhook_id="forged",
            shop_domain=SHOP_DOMAIN,
            triggered_at=good.at,
        )
        answer = await client.post(webhook_url, content=forged.body, headers=dict(forged.headers))
        traffic.answers["bad signature" if answer.status_code == 401 else f"forged: {answer.status_code}"] += 1
        bad = PlannedDelivery(topic=good.topic, body=nonsense, at=good.at, webhook_id="nonsense")
        traffic.answers[await _send(client, webhook_url, shop, bad)] += 1
    traffic.deliveries += 2


async def _send(client: httpx.AsyncClient, url: str, shop: Shop, delivery: PlannedDelivery) -> str:
    """What CoLink made of it. Tries again where it was asked to come back, as Shopify does."""
    signed = signed_delivery(
        delivery.topic,
        delivery.body,
        secret=shop.webhook_secret,
        webhook_id=delivery.webhook_id,
        shop_domain=SHOP_DOMAIN,
        triggered_at=delivery.at,
    )
    for _ in range(_TRIES):
        answer = await client.post(url, content=signed.body, headers=dict(signed.headers))
        if answer.status_code != 503:
            break
        await asyncio.sleep(0.2)
    return str(answer.json()["status"]) if answer.is_success else f"status {answer.status_code}"


def next_whole_second() -> datetime:
    """Shopify tells times in whole seconds: an order placed then is later than every click so far."""
    return datetime.fromtimestamp(int(time.time()) + 1, UTC)


def shuffled(seed: int, streams: Sequence[Sequence[PlannedDelivery]]) -> list[Sequence[PlannedDelivery]]:
    mixed = list(streams)
    random.Random(seed).shuffle(mixed)  # noqa: S311 - a story, no secret
    return mixed
