"""Plays the story: one day of trade, fifteen days of waiting, and the day of the payouts. Prints nothing itself."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from colink.cli.amounts import money_text
from colink.cli.demo.checks import Check, Ending, check_story
from colink.cli.demo.deliveries import PlannedDelivery, deliveries_of, late_deliveries_of
from colink.cli.demo.expectations import expectations_of
from colink.cli.demo.processes import DemoFailed, Stage, run_command, serving
from colink.cli.demo.scenario import AINA, CURRENCY, PlannedOrder, Scenario
from colink.cli.demo.shop import Api, Json, RequestedPayout, Shop, pay_out, set_up
from colink.cli.demo.shoppers import Crowd, Traffic, deliver, deliver_badly, next_whole_second, shuffled

LATER = "+15d"
_LATER = timedelta(days=15)
_SPREAD = 4  # seconds over which orders are placed

Chapter = Callable[[str], AbstractContextManager[Callable[[str], None]]]
"""Opens a chapter with a title; what it gives back says how the chapter ended."""


@dataclass(frozen=True, kw_only=True)
class Played:
    """Everything there is to tell afterwards. Amounts are minor units, documents as the API gave them."""

    scenario: Scenario
    shop: Shop
    traffic: Traffic
    requested: Sequence[RequestedPayout]
    orders: Sequence[Json]
    balances: Sequence[Json]
    payouts: Sequence[Json]
    order: Json
    order_entries: Sequence[Json]
    order_deliveries: Sequence[Json]
    order_payouts: Sequence[Json]
    statement_orders: Sequence[Json]
    statement_entries: Sequence[Json]
    statement_balances: Sequence[Json]
    leaderboard: Sequence[Json]
    report: Sequence[Json]
    verified: bool
    verification: Json
    checks: Sequence[Check]
    seconds: float

    @property
    def is_good(self) -> bool:
        return self.verified and all(check.holds for check in self.checks)


class _Times:
    """When each order of the story is placed."""

    def __init__(self, first: datetime) -> None:
        self._first = first

    def of(self, order: PlannedOrder) -> datetime:
        return self._first + timedelta(seconds=(order.number - 1001) % _SPREAD)


async def play(stage: Stage, scenario: Scenario, chapter: Chapter) -> Played:
    """The whole story. Raises DemoFailed where it cannot go on."""
    started = time.perf_counter()
    async with AsyncExitStack() as stack:
        with chapter("A server and a database of their own") as ended:
            first_day = AsyncExitStack()
            stack.push_async_exit(first_day)
            url = (await first_day.enter_async_context(serving(stage))).url
            ended(url)
        async with Api(url, stage.admin_key) as operator:
            with chapter("The operator sets up a shop, a campaign, rules, creators") as ended:
                shop = await set_up(operator)
                ended(f"{shop.things} things created")
        traffic, crowd = Traffic(), Crowd(url)
        with chapter("Shoppers follow links and see pages") as ended:
            await crowd.browse(scenario.orders, traffic)
            times = _Times(next_whole_second())
            ended(f"{traffic.clicks} clicks, {traffic.views} views, {traffic.set_aside} by programs, set aside")
        with chapter("They buy; Shopify delivers, twice, late and out of order") as ended:
            streams = [
                deliveries_of(order, crowd.evidence[order.number], placed_at=times.of(order), seed=scenario.seed)
                for order in scenario.orders
            ]
            await deliver(shop, shuffled(scenario.seed, streams), traffic, webhook_url=shop.webhook_url)
            paid = next(delivery for delivery in streams[0] if delivery.topic == "orders/paid")
            await deliver_badly(shop, traffic, webhook_url=shop.webhook_url, good=paid)
            ended(f"{traffic.deliveries} deliveries, one of them badly signed, {traffic.per_second:.0f} a second")

        with chapter(f"Fifteen days pass ({LATER}): the worker clears what is due") as ended:
            worked, server = await asyncio.gather(
                run_command(stage, "worker", "--once", clock_offset=LATER, with_parent=True),
                stack.enter_async_context(serving(stage, clock_offset=LATER)),
            )
            await first_day.aclose()
            url = server.url
            ended(f"{_work_done(worked)['clearing']} orders cleared")
        with chapter("Creators and seller ask for their money; finance approves") as ended:
            requested = await pay_out(url, shop)
            ended(f"{len(requested)} payouts, together {money_text(sum(p.amount for p in requested), CURRENCY)}")
        with chapter("Some buyers return things after all") as ended:
            late, before = _late_returns(scenario, crowd, times), traffic.deliveries
            await deliver(shop, late, traffic, webhook_url=f"{url}/webhooks/shopify/{shop.store_id}")
            streams += late
            ended(
                f"{len(late)} orders, told by {traffic.deliveries - before} more deliveries: "
                "their money is owed back, from the next payouts"
            )
        with chapter("The worker sends the payouts through the sandbox") as ended:
            worked = await run_command(stage, "worker", "--once", clock_offset=LATER, with_parent=True)
            _work_done(worked)
            async with Api(url, shop.keys["auditor"]) as auditor:
                paid_out = [each for each in await auditor.every("/v1/payouts") if each["status"] == "paid"]
            ended(f"{len(paid_out)} payouts sent and confirmed")
        with chapter("An auditor verifies the log, and everything is read once more") as ended:
            (code, verification), read = await asyncio.gather(
                run_command(stage, "audit", "verify", clock_offset=LATER),
                _read(url, shop, scenario),
            )
            ended("nothing found" if code == 0 else "something was found")
    checks = check_story(
        expected=expectations_of(scenario),
        planned_answers=_planned_answers(streams),
        traffic=traffic,
        shop=shop,
        requested=requested,
        ending=Ending(
            orders=read["orders"],
            balances=read["balances"],
            payouts=read["payouts"],
            own_purchase_statuses=read.pop("own_purchase_statuses"),
        ),
    )
    return Played(
        scenario=scenario,
        shop=shop,
        traffic=traffic,
        requested=requested,
        verified=code == 0,
        verification=verification,
        checks=checks,
        seconds=time.perf_counter() - started,
        **read,
    )


def _late_returns(scenario: Scenario, crowd: Crowd, times: _Times) -> list[list[PlannedDelivery]]:
    returned_at = (datetime.now(UTC) + _LATER).replace(microsecond=0)
    return [
        late_deliveries_of(
            order,
            crowd.evidence[order.number],
            placed_at=times.of(order),
            returned_at=returned_at,
            seed=scenario.seed,
        )
        for order in scenario.orders
        if order.returned_late
    ]


async def _read(url: str, shop: Shop, scenario: Scenario) -> dict[str, Any]:
    """What the auditor sees, and what Aina sees with her own key."""
    async with Api(url, shop.keys["auditor"]) as auditor, Api(url, shop.keys[AINA.handle]) as aina:
        orders = await auditor.every("/v1/orders", store_id=shop.store_id)
        by_number = {order["external_id"]: order for order in orders}
        order = by_number[str(scenario.showpiece.order_id)]
        own = by_number[str(scenario.orders[1].order_id)]
        entries = await auditor.every("/v1/ledger/entries", order_id=order["id"])
        payouts = await auditor.every("/v1/payouts")
        own_entries = await auditor.every("/v1/ledger/entries", order_id=own["id"])
        return {
            "orders": orders,
            "balances": (await auditor.get("/v1/balances"))["items"],
            "payouts": payouts,
            "order": order,
            "order_entries": entries,
            "order_deliveries": await auditor.every("/v1/inbox", order_id=order["id"]),
            "order_payouts": [payout for payout in payouts if await _pays(auditor, payout, order["id"])],
            "statement_orders": await aina.every("/v1/orders"),
            "statement_entries": await aina.every("/v1/ledger/entries"),
            "statement_balances": (await aina.get("/v1/balances"))["items"],
            "leaderboard": await auditor.every("/v1/leaderboards", organization_id=shop.organization_id),
            "report": await auditor.every("/v1/reports/attribution", organization_id=shop.organization_id),
            "own_purchase_statuses": [
                entry["status"]
                for entry in own_entries
                if entry["account"].startswith(f"payee:{shop.creators['ben']}:")
            ],
        }


async def _pays(auditor: Api, payout: Json, order_id: str) -> bool:
    entries = await auditor.every(f"/v1/payouts/{payout['id']}/entries")
    return any(entry["order_id"] == order_id for entry in entries)


def _planned_answers(streams: Sequence[Sequence[PlannedDelivery]]) -> dict[str, int]:
    """What must become of the deliveries: edits are kept unread, copies are duplicates, and the two bad ones."""
    answers: Counter[str] = Counter()
    for delivery in (delivery for stream in streams for delivery in stream):
        edited = delivery.topic == "orders/edited"
        answers["ignored" if edited else "accepted"] += 1
        answers["ignored" if edited else "duplicate"] += delivery.copies - 1
    return {answer: count for answer, count in answers.items() if count} | {"rejected": 1, "bad signature": 1}


def _work_done(worked: tuple[int, Json]) -> dict[str, int]:
    """How much each job did. Raises DemoFailed where a job failed or payouts are not final."""
    code, document = worked
    if code or document["unfinished"]:
        msg = f"colink worker --once: {document}"
        raise DemoFailed(msg)
    done: dict[str, int] = document["done"]
    return done
