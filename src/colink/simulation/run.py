"""One seed, lived: the world and the service side by side, compared with the model after every batch.

    happenings -> batch (touches, then deliveries, then now and then jobs, people, crashes) -> service
                                            \\-> books (the model) -> watch compares

Everything follows from the seed and the number of steps: two runs write the same log, byte for byte. A step is one
delivery, touch, command or job that reached the service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from colink.application.ports import Command, Recorded
from colink.application.track import record_click, record_view
from colink.cli.shopify_traffic import signature
from colink.domain.campaigns import CampaignDetails
from colink.domain.creators import CreatorDetails
from colink.domain.customers import customer_ref_of
from colink.domain.errors import Unavailable
from colink.domain.payouts import ProviderOutcome, ProviderReport
from colink.domain.tracking import LinkDetails, SetAside
from colink.simulation.business import SECRET, Business
from colink.simulation.checks import Differs, compare_payouts
from colink.simulation.happenings import Arrivals, Happenings
from colink.simulation.keys import sealing
from colink.simulation.people import People
from colink.simulation.privacy import compare_personal
from colink.simulation.sales import Told
from colink.simulation.sellers import compare_sellers
from colink.simulation.stage import Stage

T = TypeVar("T")
Facts = dict[str, Any]

_BATCH = 48  # steps that reach the service together
_AUDIT_EVERY = 1_500  # steps, on average
Progress = Callable[[int], None]
Visit = Callable[[str, Mapping[tuple[str, str], int]], Awaitable[None]]
"""Looks at a business that ended as predicted: is given its database and the model's balances, by account and
currency, some of them zero."""


async def nobody_visits(_dsn: str, _balances: Mapping[tuple[str, str], int]) -> None:
    """Nobody looks at it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a seed. `failure`: what differed, at step `failed_at`; None: nothing. `digest`: of the whole
    log."""

    seed: int
    steps: int
    failure: str | None = None
    failed_at: int | None = None
    events: int = 0
    orders: int = 0
    payouts: int = 0
    crashes: int = 0
    digest: str = ""


class Run:
    """A seed on a database of its own."""

    def __init__(self, stage: Stage, *, seed: int, steps: int, progress: Progress, visit: Visit) -> None:
        self.stage = stage
        self.seed = seed
        self.steps = steps
        self.progress = progress
        self.visit = visit
        self.business = Business(stage.random, stage.world.pepper, sealing(), stage.clock)
        self.happenings = Happenings(stage.random, self.business, stage.clock)
        self.people = People(stage, self.business)
        self._told = 0
        self._audit_at = 0
        self._crashes = 0

    async def live(self) -> Outcome:
        """All steps, and the end of all that was begun. Raises nothing that a seed can find: it is in the outcome."""
        failure = None
        try:
            await self._begin()
            while self.stage.done < self.steps:
                await self._batch()
                self.progress(self.stage.done)
            await self._end()
            await self.visit(self.stage.world.dsn, self.stage.books.balances.amounts)
        except Differs as difference:
            failure = str(difference)
        except Exception as error:  # noqa: BLE001 - whatever a seed runs into, a refusal that nobody expected, too
            failure = f"{type(error).__name__}: {error}"
        outcome = Outcome(
            seed=self.seed,
            steps=self.steps,
            failure=failure,
            failed_at=self.stage.done if failure else None,
            events=self.stage.watch.position,
            orders=len(self.stage.books.orders),
            payouts=len(self.stage.books.payouts.by_id),
            crashes=self.stage.crashes,
            digest=await self.stage.digest(),
        )
        await self.stage.service.close()
        return outcome

    # The course of a seed -----------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        for change in self.business.begin():
            await self.people.configure(change)
        for _ in range(self.stage.random.randint(1, 6)):
            await self.people.payees.switch_tax()
        await self.stage.compare()

    async def _batch(self) -> None:
        arrivals = self.happenings.advance(shoppers=self.stage.random.randint(0, _BATCH // 2))
        if self.stage.random.random() < 0.4:
            await self.stage.counts.decide_tiers()
        await self._arrive(arrivals)
        for work in self.stage.random.sample([self._settle, self._clear, self.stage.counts.true_up], 3):
            if self.stage.random.random() < 0.5:
                await work()
        for _ in range(self.stage.random.choice([1, 4, 8, 12, 24])):
            await self.people.somebody_decides()
        if self.stage.random.random() < 0.2:
            await self._bill()
        if self.stage.random.random() < 0.5:
            await self._pay()
        if self.stage.random.random() < 0.02:
            await self.stage.crash()
        await self.stage.compare()
        await self.stage.look_at_orders(
            self.stage.random.sample(sorted(self.stage.books.orders), min(2, len(self.stage.books.orders)))
        )
        await self._audit_now_and_then()

    async def _audit_now_and_then(self) -> None:
        """Every 1,500 steps or so, and after some crashes: what verifies in the end has to verify at any moment."""
        random, crashed = self.stage.random, self.stage.crashes > self._crashes
        self._crashes = self.stage.crashes
        self._audit_at = self._audit_at or random.randint(200, _AUDIT_EVERY)
        if self.stage.done >= self._audit_at or (crashed and random.random() < 0.05):
            self._audit_at = self.stage.done + random.randint(_AUDIT_EVERY // 2, _AUDIT_EVERY * 3 // 2)
            await self._count()  # days and months that wait for it for long make a verification incomplete
            await self._audit()

    async def _audit(self) -> None:
        await compare_personal(self.stage.service, self.stage.books.privacy.readable)
        await self.stage.audit()

    async def _end(self) -> None:
        """Everything happens to its end, arrives, clears and is paid where somebody asks; then the auditor comes."""
        for _ in range(4):
            await self._arrive(self.happenings.go_on(days=10))
            await self._go_on_working()
        await self._arrive(self.happenings.rest())
        for _ in range(4):
            self.stage.clock.time += timedelta(days=15)
            await self._something_late()
            for _ in range(3):
                await self.people.sellers.pay()
            await self._bill()
            await self._settle()
            await self.people.sellers.bounce()
            await self._clear()
            await self._count()
            for _ in range(6):
                await self.people.payees.request()
                await self.people.payees.decide()
            await self.people.privacy.act()
            await self._pay()
            await self.stage.compare()
        await self.stage.look_at_orders(sorted(self.stage.books.orders))
        await self._audit()

    async def _go_on_working(self) -> None:
        """Sellers pay, something happens late, and the worker comes to its jobs in some order."""
        random = self.stage.random
        for _ in range(random.choice([0, 1, 3])):
            await self.people.sellers.pay()
            await self._settle()
        await self._something_late()
        for work in random.sample([self._settle, self._clear, self._count], 3):
            await work()
        await self.stage.compare()

    async def _something_late(self) -> None:
        """To orders whose months were counted."""
        await self._arrive(self.happenings.something_late(self.people.late_orders(self.stage.random.randint(2, 12))))
        await self.people.credit_late()

    async def _count(self) -> None:
        await self.stage.counts.decide_tiers()
        await self.stage.counts.true_up()

    async def _arrive(self, arrivals: Arrivals) -> None:
        for at in range(0, len(arrivals.touches), _BATCH):
            await self._touch(arrivals.touches[at : at + _BATCH])
        for at in range(0, len(arrivals.deliveries), _BATCH):
            await self._deliver(arrivals.deliveries[at : at + _BATCH])

    async def _touch(self, touches: Sequence[Facts]) -> None:
        commands = [self._touch_command(touch) for touch in touches]
        for outcome in await self.stage.service.touch(commands):
            if isinstance(outcome, Exception):
                raise outcome
        for touch in touches:
            self.stage.books.known.take_touch(dict(touch))
        self.stage.done += len(touches)

    def _touch_command(self, touch: Facts) -> Command:
        at = datetime.fromtimestamp(touch["at"], UTC)
        email = self.stage.books.known.creators[touch["creator"]]["email"]
        customer_ref = customer_ref_of(email, pepper=self.stage.world.pepper)
        set_aside = SetAside.BOT if touch["set_aside"] else None
        campaign = self.stage.books.known.campaigns.get(touch["campaign"] or "")
        if touch["kind"] == "view":
            return record_view(
                CampaignDetails(
                    id=touch["campaign"],
                    organization_id=self.stage.books.known.campaigns[touch["campaign"]]["organization"],
                    name="-",
                    slug="-",
                ),
                CreatorDetails(id=touch["creator"], handle="-", display_name="-", customer_ref=customer_ref),
                view_id=touch["id"],
                at=at,
                visitor_id=touch["visitor"],
                set_aside=set_aside,
                network_hashes=(),
            )
        link = LinkDetails(
            id=touch["link"],
            code="-",
            creator_id=touch["creator"],
            destination=f"https://{touch['host'] or 'shop.example'}/",
            campaign_id=touch["campaign"],
            organization_id=campaign["organization"] if campaign else None,
            creator_customer_ref=customer_ref,
        )
        return record_click(
            link, click_id=touch["id"], at=at, visitor_id=touch["visitor"], set_aside=set_aside, network_hashes=()
        )

    async def _deliver(self, told: Sequence[Told]) -> None:
        self.stage.break_now_and_then(0.06)
        at = self.stage.clock.time

        async def all_of_them() -> list[Recorded]:
            return await asyncio.gather(*(self._delivery(each, at) for each in told))

        recorded = await self.stage.surviving(all_of_them)
        self.stage.world.faults.next = None
        for each, answer in zip(told, recorded, strict=True):
            if answer.answer["status"] == "rejected":
                msg = f"{each.topic} {each.webhook_id} was rejected: {answer.answer['problem']}"
                raise Differs(msg)
        await self.stage.counts.tell_in_order(told, recorded)

    async def _delivery(self, told: Told, at: datetime) -> Recorded:
        headers = {
            "x-shopify-topic": told.topic,
            "x-shopify-webhook-id": told.webhook_id,
            "x-shopify-hmac-sha256": signature(told.body, SECRET),
        }
        return await self.stage.service.deliver(told.store["details"], SECRET, headers, told.body, at=at)

    async def _clear(self) -> None:
        self.stage.break_now_and_then(0.03)
        await self.stage.surviving(self._worker_clears)
        self.stage.world.faults.next = None
        change = self.stage.books.clear(int(self.stage.clock.time.timestamp()))
        await self.stage.job("clearing", change)

    async def _worker_clears(self) -> None:
        await self.stage.service.clear()

    async def _pay(self) -> None:
        self.stage.break_now_and_then(0.05)
        if self.stage.random.random() < 0.1:
            self.stage.interrupt_at = self.stage.random.choice(["submit", "accepted", "tell"])
        if self.stage.random.random() < 0.05:
            self.stage.provider.silent = self.stage.random.randint(1, 3)
        await self.stage.surviving(self._worker_pays)
        self.stage.world.faults.next, self.stage.interrupt_at, self.stage.provider.silent = None, "", 0
        await self.stage.surviving(self._worker_pays)
        told = self.stage.provider.told[self._told :]
        self._told = len(self.stage.provider.told)
        await self.stage.job(
            "payouts",
            self.stage.books.payouts.worker_paid([_plain(report) for report in told]),
        )
        await compare_payouts(
            self.stage.service.pool,
            self.stage.books,
            {id_: self.stage.provider.paid(id_) for id_ in self.stage.books.payouts.by_id},
        )

    async def _settle(self) -> None:
        """The worker settles orders of sellers who collect the money themselves."""
        self.stage.break_now_and_then(0.03)
        await self.stage.surviving(self._worker_settles)
        self.stage.world.faults.next = None
        change = self.stage.books.settle_sellers(int(self.stage.clock.time.timestamp()))
        await self.stage.job("settling", change)
        await compare_sellers(self.stage.service.pool, self.stage.books)

    async def _bill(self) -> None:
        """The worker bills them for months that are over."""
        self.stage.break_now_and_then(0.03)
        await self.stage.surviving(self._worker_bills)
        self.stage.world.faults.next = None
        self.stage.books.bill_sellers()
        await self.stage.job("billing", {})
        await compare_sellers(self.stage.service.pool, self.stage.books)

    async def _worker_bills(self) -> None:
        await self.stage.service.bill()

    async def _worker_settles(self) -> None:
        await self.stage.service.settle()

    async def _worker_pays(self) -> None:
        """Until nothing is left to do. A provider that is away ends it: the worker comes again."""
        with suppress(Unavailable):
            while await self.stage.service.pay():
                pass


def _plain(report: ProviderReport) -> Facts:
    return {
        "payout": report.reference.rpartition(".")[0],
        "attempt": int(report.reference.rpartition(".")[2]),
        "outcome": {ProviderOutcome.FAILED: "failed"}.get(report.outcome, report.outcome.value),
        "passing": report.passing,
        "fee": report.fee,
    }
