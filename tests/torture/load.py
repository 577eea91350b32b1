"""Load on a shop, and a record of what was answered: the model that a machine is judged by afterwards.

Every answer is either a success, a refusal by a rule, or 503 with Retry-After: anything else is a finding. What was
not answered is sometimes repeated with its identity until it is, and sometimes given up, as clients do.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx
from tests.torture.shop import Shop

CALLERS = 16
_RULES = {"insufficient-funds", "payout-state", "concurrent-update"}  # what a payout request may break


@dataclass(kw_only=True)
class Answers:
    """What clients were told. `links` and `payouts`: ids by idempotency key."""

    deliveries: set[str] = field(default_factory=set)
    clicks: set[str] = field(default_factory=set)
    links: dict[str, str] = field(default_factory=dict)
    payouts: dict[str, str] = field(default_factory=dict)
    payouts_refused: set[str] = field(default_factory=set)
    tried: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)


class Load:
    """`run` until `stop`."""

    def __init__(self, shop: Shop, chance: random.Random) -> None:
        self.shop = shop
        self.answers = Answers()
        self._chance = chance
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CALLERS):
                tasks.create_task(self._caller())

    async def _caller(self) -> None:
        while not self._stopping.is_set():
            number = next(self.shop.numbers)
            match self._chance.randrange(20):
                case 0:
                    await self._payout(number)
                case 1 | 2:
                    await self._link(number)
                case 3 | 4 | 5:
                    await self._click()
                case _:
                    await self._order(number)

    async def _order(self, number: int) -> None:
        deliveries = [self.shop.order(number)]
        if self._chance.random() < 0.1:
            deliveries.append(self.shop.refund(number))  # at once with the order, and as often before it
        if self._chance.random() < 0.1:
            deliveries.append(deliveries[0])  # the platform's own repeat
        self._chance.shuffle(deliveries)
        await asyncio.gather(*(self._deliver(delivery) for delivery in deliveries))

    async def _deliver(self, delivery: object) -> None:
        told = await self._asked("delivery", lambda: self.shop.deliver(delivery), {200})
        if told is not None:
            self.answers.deliveries.add(delivery.headers["X-Shopify-Webhook-Id"])
            if told.json()["status"] not in {"accepted", "duplicate"}:
                self.answers.findings.append(f"a delivery was answered with {told.text}")

    async def _click(self) -> None:
        told = await self._asked("click", self.shop.click, {302}, repeatable=False)
        if told is None:
            return
        click_id = httpx.URL(told.headers["location"]).params.get("colink_ref")
        if click_id is None:  # the shopper is let through, and told by this that the click was not recorded
            self.answers.unanswered["click"] += 1
        else:
            self.answers.clicks.add(click_id)

    async def _link(self, number: int) -> None:
        told = await self._asked("link", lambda: self.shop.make_link(number), {201})
        if told is not None:
            self.answers.links[f"link-{number}"] = told.json()["id"]

    async def _payout(self, number: int) -> None:
        payee_id = self._chance.choice((self.shop.creator_id, self.shop.organization_id))
        key = f"payout-{number}"
        told = await self._asked("payout", lambda: self.shop.request_payout(payee_id, key=key), {201, 409})
        if told is None:
            return
        if told.status_code == 201:
            self.answers.payouts[key] = told.json()["id"]
            return
        self.answers.payouts_refused.add(key)
        if told.json()["type"].rpartition(":")[2] not in _RULES:
            self.answers.findings.append(f"a payout was refused with {told.text}")

    async def _asked(
        self,
        what: str,
        ask: Callable[[], Awaitable[httpx.Response]],
        expected: set[int],
        *,
        repeatable: bool = True,
    ) -> httpx.Response | None:
        """The answer, after as many tries as this client makes; None where it gave up."""
        while True:
            self.answers.tried[what] += 1
            try:
                told = await ask()
            except httpx.TransportError:
                pass  # the connection broke: nobody knows what became of it
            else:
                if told.status_code in expected:
                    return told
                if told.status_code != 503 or "Retry-After" not in told.headers:
                    self.answers.findings.append(f"{what}: {told.status_code} {dict(told.headers)} {told.text}")
                    return None
            if not repeatable or self._stopping.is_set() or self._chance.random() < 0.2:
                self.answers.unanswered[what] += 1
                return None
            await asyncio.sleep(0.2)
