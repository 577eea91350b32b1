"""One seed, lived: the world and the service side by side, compared with the model after every batch.

    happenings -> batch (touches, then deliveries, then now and then jobs, people, crashes) -> service
                                            \\-> books (the model) -> watch compares

Everything follows from the seed and the number of steps: two runs write the same log, byte for byte. A step is one
delivery, touch, command or job that reached the service.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar

from colink.application.decide_orders import HoldOrder, ReattributeOrder, ReleaseOrder
from colink.application.payouts import (
    ApprovePayout,
    CancelPayout,
    HoldPayout,
    LiftPayoutHold,
    RejectPayout,
    RequestPayout,
)
from colink.application.ports import Caller, Command, Idempotency, Recorded
from colink.application.track import record_click, record_view
from colink.cli.shopify_traffic import signature
from colink.domain.audit.report import Report
from colink.domain.campaigns import CampaignDetails
from colink.domain.commission import Scope
from colink.domain.creators import CreatorDetails
from colink.domain.customers import customer_ref_of
from colink.domain.errors import ColinkError, InsufficientFunds, Unavailable
from colink.domain.ids import order_id
from colink.domain.money import Money
from colink.domain.order_decisions import HoldKind, OrderHasCleared
from colink.domain.payouts import BelowMinimum, NoPayoutAccount, ProviderOutcome, ProviderReport
from colink.domain.rule_checks import RulesConflict
from colink.domain.tracking import LinkDetails, SetAside
from colink.simulation.business import SECRET, Business, Change
from colink.simulation.checks import Differs, Step, Watch, compare_order, compare_payouts
from colink.simulation.faults import Fault, Killed
from colink.simulation.happenings import Arrivals, Happenings, VirtualClock
from colink.simulation.model.attribution import conflicting
from colink.simulation.model.books import FAR, Books, Order
from colink.simulation.model.books import Change as Moved
from colink.simulation.provider import SimulatedProvider
from colink.simulation.sales import Told
from colink.simulation.service import Service, World

T = TypeVar("T")
Facts = dict[str, Any]

_BATCH = 48  # steps that reach the service together
_FINANCE = Caller(actor="key:finance", correlation_id="simulation")
Progress = Callable[[int], None]


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


@dataclass
class Run:
    """A seed on a database of its own."""

    seed: int
    steps: int
    world: World
    clock: VirtualClock
    provider: SimulatedProvider
    random: Random
    progress: Progress = lambda _: None
    done: int = 0
    crashes: int = 0
    books: Books = field(default_factory=Books)
    watch: Watch = field(default_factory=Watch)
    _pending: list[Step] = field(default_factory=list)
    _told: int = 0
    _keys: int = 0

    async def live(self) -> Outcome:
        """All steps, and the end of all that was begun. Raises nothing that a seed can find: it is in the outcome."""
        self.provider.interrupt = self._interrupt
        self.business = Business(self.random, self.world.pepper)
        self.happenings = Happenings(self.random, self.business, self.clock)
        self.service = await Service.open(self.world)
        failure = None
        try:
            await self._begin()
            while self.done < self.steps:
                await self._batch()
                self.progress(self.done)
            await self._end()
        except Differs as difference:
            failure = str(difference)
        outcome = Outcome(
            seed=self.seed,
            steps=self.steps,
            failure=failure,
            failed_at=self.done if failure else None,
            events=self.watch.position,
            orders=len(self.books.orders),
            payouts=len(self.books.payouts),
            crashes=self.crashes,
            digest=await self._digest(),
        )
        await self.service.close()
        return outcome

    # The course of a seed -----------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        for change in self.business.begin():
            await self._configure(change)
        await self._compare()

    async def _batch(self) -> None:
        arrivals = self.happenings.advance(shoppers=self.random.randint(0, _BATCH // 2))
        await self._arrive(arrivals)
        if self.random.random() < 0.6:
            await self._clear()
        for _ in range(self.random.choice([0, 0, 1, 2, 4])):
            await self._somebody_decides()
        if self.random.random() < 0.5:
            await self._pay()
        if self.random.random() < 0.02:
            await self._crash()
        await self._compare()
        await self._look_at_orders(self.random.sample(sorted(self.books.orders), min(2, len(self.books.orders))))

    async def _end(self) -> None:
        """Everything arrives, clears and is paid; then the auditor comes."""
        await self._arrive(self.happenings.rest())
        for _ in range(4):
            self.clock.time += timedelta(days=15)
            await self._clear()
            await self._pay()
            await self._compare()
        await self._look_at_orders(sorted(self.books.orders))
        await self._audit()

    async def _arrive(self, arrivals: Arrivals) -> None:
        for at in range(0, len(arrivals.touches), _BATCH):
            await self._touch(arrivals.touches[at : at + _BATCH])
        for at in range(0, len(arrivals.deliveries), _BATCH):
            await self._deliver(arrivals.deliveries[at : at + _BATCH])

    # Steps --------------------------------------------------------------------------------------------------------

    async def _configure(self, change: Change) -> None:
        known = self.books.known
        conflict = change.kind == "rule" and conflicting(known.rules, change.facts)
        try:
            recorded = await self._command(change.command)
        except RulesConflict as refusal:
            if not conflict:
                msg = f"{change.facts['id']} was refused: {refusal.detail}"
                raise Differs(msg) from refusal
            self._step("rule refused", {}, None)
            return
        if conflict:
            msg = f"{change.facts['id']} was taken, beside another that cannot stand with it"
            raise Differs(msg)
        self.business.accepted(change)
        match change.kind:
            case "organization" | "store" | "campaign" | "creator":
                getattr(known, f"{change.kind}s")[change.facts["id"]] = change.facts
            case "rule":
                known.rules.append(change.facts)
            case "coupon":
                known.coupons.append(change.facts)
            case "payout_account":
                self.books.take_account(change.facts)
            case _:
                pass
        self._step(change.kind, {}, recorded.position)

    async def _touch(self, touches: Sequence[Facts]) -> None:
        commands = [self._touch_command(touch) for touch in touches]
        for outcome in await self.service.touch(commands):
            if isinstance(outcome, Exception):
                raise outcome
        for touch in touches:
            self.books.known.take_touch(dict(touch))
        self.done += len(touches)

    def _touch_command(self, touch: Facts) -> Command:
        at = datetime.fromtimestamp(touch["at"], UTC)
        email = self.books.known.creators[touch["creator"]]["email"]
        customer_ref = customer_ref_of(email, pepper=self.world.pepper)
        set_aside = SetAside.BOT if touch["set_aside"] else None
        campaign = self.books.known.campaigns.get(touch["campaign"] or "")
        if touch["kind"] == "view":
            return record_view(
                CampaignDetails(
                    id=touch["campaign"],
                    organization_id=self.books.known.campaigns[touch["campaign"]]["organization"],
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
        if self.random.random() < 0.06:
            self.world.faults.next = self.random.choice(list(Fault))
        at = self.clock.time

        async def all_of_them() -> list[Recorded]:
            return await asyncio.gather(*(self._delivery(each, at) for each in told))

        recorded = await self._surviving(all_of_them)
        self.world.faults.next = None
        for each, answer in zip(told, recorded, strict=True):
            if answer.answer["status"] == "rejected":
                msg = f"{each.topic} {each.webhook_id} was rejected: {answer.answer['problem']}"
                raise Differs(msg)
            change = self.books.deliver(each.store["id"], each.topic, each.body)
            self._step(f"{each.topic} {each.webhook_id}", change, answer.position)

    async def _delivery(self, told: Told, at: datetime) -> Recorded:
        headers = {
            "x-shopify-topic": told.topic,
            "x-shopify-webhook-id": told.webhook_id,
            "x-shopify-hmac-sha256": signature(told.body, SECRET),
        }
        return await self.service.deliver(told.store["details"], SECRET, headers, told.body, at=at)

    async def _clear(self) -> None:
        if self.random.random() < 0.03:
            self.world.faults.next = self.random.choice(list(Fault))
        await self._surviving(self._worker_clears)
        self.world.faults.next = None
        change = self.books.clear(int(self.clock.time.timestamp()))
        await self._job("clearing", change)

    async def _worker_clears(self) -> None:
        await self.service.clear()

    async def _pay(self) -> None:
        if self.random.random() < 0.05:
            self.world.faults.next = self.random.choice(list(Fault))
        if self.random.random() < 0.1:
            self._interrupt_at = self.random.choice(["submit", "accepted", "tell"])
        if self.random.random() < 0.05:
            self.provider.silent = self.random.randint(1, 3)
        await self._surviving(self._worker_pays)
        self.world.faults.next, self._interrupt_at, self.provider.silent = None, "", 0
        await self._surviving(self._worker_pays)
        told = self.provider.told[self._told :]
        self._told = len(self.provider.told)
        await self._job("payouts", self.books.worker_paid([_plain(report) for report in told]))
        await compare_payouts(
            self.service.pool, self.books, {id_: self.provider.paid(id_) for id_ in self.books.payouts}
        )

    async def _worker_pays(self) -> None:
        try:
            await self.service.pay()
        except Unavailable:
            return  # the provider was away: the worker comes again

    async def _somebody_decides(self) -> None:
        """Finance, a payee or an operator does something."""
        draw = self.random.random()
        if self.random.random() < 0.35:
            await self._decide_order()
        elif draw < 0.45:
            await self._request()
        elif draw < 0.85 and self.books.payouts:
            await self._decide_payout()
        elif draw < 0.9:
            await self._configure(self.business.payout_account(*self.random.choice(self.business.payees)))
        elif draw < 0.94:
            organization = self.random.choice(self.business.organizations)
            await self._configure(self.business.new_rule(organization, self.random.choice(list(Scope))))
        elif draw < 0.97:
            await self._configure(self.business.revised_rule())
        else:
            await self._configure(self.business.new_coupon())

    async def _request(self) -> None:
        rich = [each for each in self.business.payees if self.books.available(*each) > 0]
        payee, currency = self.random.choice(rich or self.business.payees)
        available = self.books.available(payee, currency)
        amount = None
        if available > 1 and self.random.random() < 0.4:
            amount = self.random.choice(
                [1, available - 1, available, available + 1, self.random.randint(1, available)]
            )
        payout_id = self.world.ids("pyt")
        expected = self.books.plan_payout(payee, currency, amount)
        command = RequestPayout(
            caller=Caller(actor=f"key:{payee}", correlation_id=payout_id),
            idempotency=self._idempotency(),
            payout_id=payout_id,
            payee_id=payee,
            currency=currency,
            amount=None if amount is None else Money(amount, currency),
        )
        what = f"payout of {amount or 'all'} {currency} to {payee}"
        try:
            recorded = await self._command(command)
        except (InsufficientFunds, BelowMinimum, NoPayoutAccount) as refusal:
            if expected != refusal.slug:
                msg = f"{what} was refused as {refusal.slug}, expected {expected}"
                raise Differs(msg) from refusal
            self._step(what, {}, None)
            return
        if not isinstance(expected, int):
            msg = f"{what} was made, expected {expected}"
            raise Differs(msg)
        self._step(what, self.books.request_payout(payout_id, payee, currency, expected), recorded.position)

    async def _decide_payout(self) -> None:
        open_ = [id_ for id_, payout in self.books.payouts.items() if payout["status"] in {"requested", "held"}]
        waiting = [id_ for id_, payout in self.books.payouts.items() if payout["status"] == "approved"]
        if not open_ and not waiting:
            return
        payout_id = self.random.choice(open_ or waiting)
        payout = self.books.payouts[payout_id]
        steps: list[tuple[str, Command]] = []
        shared: Facts = {"caller": _FINANCE, "idempotency": self._idempotency(), "payout_id": payout_id}
        if payout["status"] == "requested":
            account = {"payee_id": payout["payee"], "currency": payout["currency"]}
            steps += [("approved", ApprovePayout(**shared, **account))] * 6
            steps += [("held", HoldPayout(**shared, reason="a doubt")), ("rejected", RejectPayout(**shared))]
        if payout["status"] == "held":
            steps += [("requested", LiftPayoutHold(**shared)), ("rejected", RejectPayout(**shared))]
        if payout["status"] == "approved":
            steps += [("held", HoldPayout(**shared, reason="a doubt"))]
        steps += [("cancelled", CancelPayout(**shared))]
        status, command = self.random.choice(steps)
        recorded = await self._command(command)
        self._step(f"{payout_id} {status}", self.books.decide_payout(payout_id, status), recorded.position)

    async def _decide_order(self) -> None:
        """Finance looks into an order: holds and releases it, or credits somebody else."""
        keys = sorted(key for key, order in self.books.orders.items() if order.told.snapshots)
        if not keys:
            return
        key = self.random.choice(keys[-60:])
        order = self.books.orders[key]
        shared: Facts = {
            "caller": _FINANCE,
            "idempotency": self._idempotency(),
            "order_id": order_id(*key),
            "organization_id": order.store["organization"],
            "reason": "a doubt",
        }
        command: Command
        held, creator = sorted(order.reviews, key=str), order.credit["creator"]
        if held:
            payee = held[0][0]
            what, command = "release", ReleaseOrder(**shared, payee_id=payee)
        elif order.credit["own_link"] and order.own_link_of != creator:
            what, payee, command = "release own link", None, ReleaseOrder(**shared, kind=HoldKind.OWN_LINK)
        elif order.told.dispute_at(FAR)[0] != "holds" and self.books.owed_to_buyer(order) > 0:
            what, payee, command = "release owed", None, ReleaseOrder(**shared, kind=HoldKind.OWED_TO_BUYER)
        elif self.random.random() < 0.5 and order.money is not None:
            payee = self.random.choice([None, order.store["organization"]])
            what, command = "hold", HoldOrder(**shared, payee_id=payee)
        else:
            await self._credit_by_hand(order, shared)
            return
        recorded = await self._command(command)
        change = self.books.decide_order(order, what, payee=payee)
        self._step(f"{what} {shared['order_id']}", change, recorded.position)

    async def _credit_by_hand(self, order: Order, shared: Facts) -> None:
        emails = {snapshot["email"] for snapshot in order.told.snapshots.values()}
        creators = [each["id"] for each in self.business.creators if each["email"] not in emails]
        campaigns = [
            each["id"] for each in self.business.campaigns if each["organization"] == order.store["organization"]
        ]
        creator = self.random.choice([*creators, None])
        campaign = self.random.choice([*campaigns, None]) if creator else None
        what = f"credit {shared['order_id']} to {creator}"
        same = order.by_hand and (order.credit["creator"], order.credit["campaign"]) == (creator, campaign)
        try:
            recorded = await self._command(ReattributeOrder(**shared, creator_id=creator, campaign_id=campaign))
        except OrderHasCleared as refusal:
            if not order.has_cleared:
                msg = f"{what} was refused: {refusal.detail}"
                raise Differs(msg) from refusal
            self._step(what, {}, None)
            return
        if order.has_cleared and not same:
            msg = f"{what} was done, although something of it has cleared"
            raise Differs(msg)
        change = self.books.decide_order(order, "credit", payee=creator, campaign=campaign)
        self._step(what, change, recorded.position)

    async def _command(self, command: Command) -> Recorded:
        """Submitted by somebody who does not give up: cut off, they repeat it with the same key."""
        if command.idempotency is not None and self.random.random() < 0.05:
            self.world.faults.next = self.random.choice(list(Fault))
        outcome = await self._surviving(lambda: self._submitted(command))
        self.world.faults.next = None
        if isinstance(outcome, Exception):
            raise outcome
        if command.idempotency is not None and self.random.random() < 0.1:
            again = await self._submitted(command)
            if not isinstance(again, Recorded) or not again.replayed or again.answer != outcome.answer:
                msg = f"{type(command).__name__} repeated with its key was answered {again}, at first {outcome}"
                raise Differs(msg)
        return outcome

    async def _submitted(self, command: Command) -> Recorded | Exception:
        (outcome,) = await self.service.submit([command])
        if isinstance(outcome, Exception) and not isinstance(outcome, ColinkError):
            raise outcome
        return outcome

    def _idempotency(self) -> Idempotency:
        self._keys += 1
        return Idempotency(scope="simulation", key=str(self._keys), request_digest=str(self._keys))

    # Crashes ------------------------------------------------------------------------------------------------------

    _interrupt_at: str = ""

    def _interrupt(self, where: str) -> None:
        """Called in conversations with the provider: the process may end here."""
        if self.world.faults.happened.is_set():
            raise Killed
        if where == self._interrupt_at:
            self._interrupt_at = ""
            self.world.faults.happened.set()
            raise Killed

    async def _surviving(self, work: Callable[[], Coroutine[Any, Any, T] | Awaitable[T]]) -> T:
        """Do it; where the service is killed meanwhile, start a new one and do it again."""
        while True:
            working = asyncio.ensure_future(work())
            killed = asyncio.ensure_future(self.world.faults.happened.wait())
            await asyncio.wait({working, killed}, return_when=asyncio.FIRST_COMPLETED)
            if not self.world.faults.happened.is_set():
                killed.cancel()
                return await working
            working.cancel()
            await asyncio.wait({working})
            if not working.cancelled():
                working.exception()
            await self._crash()

    async def _crash(self) -> None:
        """The service is thrown away as it stands, and a new one started on the same database."""
        await self.service.crash()
        self.world.faults.happened.clear()
        self.crashes += 1
        self.service = await Service.open(self.world)

    # Comparing ----------------------------------------------------------------------------------------------------

    def _step(self, what: str, expected: Moved, position: int | None) -> None:
        self.done += 1
        self._pending.append(Step(number=self.done, what=what, expected=expected, position=position))

    async def _job(self, what: str, expected: Moved) -> None:
        """A worker's job answers no position: all that it wrote is its step."""
        async with self.service.pool.connection() as connection:
            row = await (await connection.execute("select position from colink.log_head")).fetchone()
        self._step(what, expected, row[0] if row else 0)
        await self._compare()

    async def _compare(self) -> None:
        steps, self._pending = self._pending, []
        await self.watch.compare(self.service.pool, steps, self.books)

    async def _look_at_orders(self, keys: Sequence[tuple[str, str]]) -> None:
        ids = {key: order_id(*key) for key in keys}
        for at in range(0, len(keys), 200):
            page = keys[at : at + 200]
            orders = await self.service.orders([ids[key] for key in page])
            for key in page:
                compare_order(orders.get(ids[key]), self.books.orders[key].money, ids[key])

    async def _audit(self) -> None:
        report: Report = await self.service.verify()
        if not report.clean:
            found = "; ".join(str(finding) for finding in list(report.findings)[:3])
            msg = f"audit verify: {found or [result for result in report.passes if result.status != 'passed']}"
            raise Differs(msg)

    async def _digest(self) -> str:
        """Of both logs: every event, in order."""
        digest = hashlib.sha256()
        columns = "position, stream_id, version, topic, payload, recorded_at, actor, correlation_id"
        async with self.service.pool.connection() as connection:
            for table in ("events", "tracking_events"):
                async for row in await connection.execute(f"select {columns} from colink.{table} order by position"):
                    digest.update(repr(row).encode())
        return digest.hexdigest()


def _plain(report: ProviderReport) -> Facts:
    return {
        "payout": report.reference.rpartition(".")[0],
        "attempt": int(report.reference.rpartition(".")[2]),
        "outcome": {ProviderOutcome.FAILED: "failed"}.get(report.outcome, report.outcome.value),
        "passing": report.passing,
        "fee": report.fee,
    }
