"""Payees with cleared money, the commands and jobs that pay them, and where a test looks; rails that die or lie."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any

import httpx
from tests.person_keys import keys

from colink.adapters.payments.sandbox import SandboxRail
from colink.adapters.payments.sandbox_credentials import SandboxCredentials
from colink.adapters.payments.sandbox_process import SandboxProcess
from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.people import PostgresKeyBook
from colink.adapters.postgres.pool import AsyncPool
from colink.application.book import ApproveBooking, ProposeJournal
from colink.application.payout_attempts import SubmitPayout
from colink.application.payout_jobs import PayoutDesk
from colink.application.payout_rails import PayoutInstruction
from colink.application.payouts import (
    ApprovePayout,
    RegisterPayoutAccount,
    RequestPayout,
)
from colink.application.ports import Caller, Decision, Facts, Needs, Recorded, Request
from colink.application.privacy.people import People
from colink.domain.bookings import BookedPosting
from colink.domain.creators import Creator, CreatorDetails
from colink.domain.ledger import payee_available
from colink.domain.money import Money
from colink.domain.organizations import Organization, OrganizationDetails
from colink.domain.payout_accounts import Rail
from colink.domain.payouts import ProviderOutcome, ProviderReport
from colink.projections.bookings import booking_by_id
from colink.projections.payout_queue import PayoutTables

CREATOR, SELLER = "cre_1", "org_1"
NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
CREDENTIALS = SandboxCredentials(api_key="sbx_test_key", callback_secret="a secret of this test")
_numbers = count(1)


def by(actor: str) -> Caller:
    return Caller(actor=actor, correlation_id="test")


CREATOR_KEY, FINANCE_KEY = by("key:creator"), by("key:finance")


@dataclass
class MovingClock:
    time: datetime = NOW

    def now(self) -> datetime:
        return self.time


@dataclass(frozen=True, kw_only=True)
class Known(Request):
    """A creator and a seller."""

    def needs(self) -> Needs:
        return Needs(streams=(CREATOR, SELLER))

    def decide(self, facts: Facts) -> Decision:
        creator = Creator.register(CreatorDetails(id=CREATOR, handle="aina", display_name="Aina"), at=facts.now)
        seller = Organization.register(
            OrganizationDetails(id=SELLER, name="Kedai", platform_fee_bps=500), at=facts.now
        )
        return Decision(answer={}, events=[*creator.new_events(), *seller.new_events()])


class Killed(BaseException):
    """The worker was killed here."""


class DeadlyRail:
    """A real rail with a worker that dies on one side of a conversation."""

    def __init__(self, rail: SandboxRail, *, when: str) -> None:
        self._rail = rail
        self._when = when

    async def submit(self, instruction: PayoutInstruction) -> ProviderReport:
        if self._when == "before submitting":
            raise Killed
        report = await self._rail.submit(instruction)
        if self._when == "after submitting":
            raise Killed
        return report

    async def find(self, reference: str) -> ProviderReport | None:
        found = await self._rail.find(reference)
        if self._when == "after finding":
            raise Killed
        return found

    def callback_reference(self, headers: Any, body: bytes) -> str | None:
        return self._rail.callback_reference(headers, body)


class Treasury:
    """What a test does, and where it looks."""

    def __init__(self, pool: AsyncPool, bus: Committer, rail: SandboxRail, provider: SandboxProcess) -> None:
        self.pool, self.bus, self.rail, self.provider = pool, bus, rail, provider
        self.clock = MovingClock()

    async def move(self, amount: int, *, payee_id: str = CREATOR) -> None:
        """Cleared money of a payee, booked by two people: a credit, or a debit below zero."""
        booking_id = f"bkg_test_{next(_numbers)}"
        legs = ((payee_available(payee_id), amount), ("platform:loss", -amount))
        proposal = ProposeJournal(
            caller=by("maker"),
            booking_id=booking_id,
            reason="a story",
            postings=[BookedPosting(account=account, amount=each, currency="MYR") for account, each in legs],
        )
        await self.bus.submit(proposal)
        async with self.pool.connection() as connection:
            known = await booking_by_id(connection, booking_id)
        assert known is not None
        await self.bus.submit(ApproveBooking(caller=by("checker"), known=known))

    async def account(self, *, payee_id: str = CREATOR, minimum: Money | None = None, **details: str | int) -> None:
        await self.bus.submit(
            RegisterPayoutAccount(
                caller=CREATOR_KEY,
                payee_id=payee_id,
                rail=Rail.SANDBOX,
                currency="MYR",
                details=details,
                minimum=minimum,
            )
        )

    async def request(self, amount: int | None = None, **options: Any) -> str:
        command = RequestPayout(
            caller=CREATOR_KEY,
            payout_id=f"pay_test{next(_numbers)}",
            payee_id=CREATOR,
            currency="MYR",
            amount=None if amount is None else Money(amount, "MYR"),
            **options,
        )
        recorded = await self.bus.submit(command)
        return str(recorded.answer["id"])

    async def approve(self, payout_id: str, *, caller: Caller = FINANCE_KEY) -> Recorded:
        return await self.bus.submit(
            ApprovePayout(caller=caller, payout_id=payout_id, payee_id=CREATOR, currency="MYR")
        )

    async def submit(self, payout_id: str) -> Recorded:
        return await self.bus.submit(
            SubmitPayout(caller=by("worker"), payout_id=payout_id, payee_id=CREATOR, currency="MYR")
        )

    def desk(self, *, automatic: bool = True, rail: Any = None) -> PayoutDesk:
        return PayoutDesk(
            bus=self.bus,
            queue=PayoutTables(self.pool),
            rails={Rail.SANDBOX: rail or self.rail},
            ids=lambda prefix: f"{prefix}_test{next(_numbers)}",
            clock=self.clock,
            automatic_approval=automatic,
            account_details=People(keys, PostgresKeyBook(self.pool)).account_details,
        )

    async def finish(self, desk: PayoutDesk) -> None:
        """Run the jobs until nothing is under way, as `colink worker --once` does."""
        async with asyncio.timeout(20):
            while True:
                if await desk.run():
                    continue
                if not await desk.under_way():
                    return
                await asyncio.sleep(0.02)

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        async with self.pool.connection() as connection:
            return await (await connection.execute(query)).fetchall()  # type: ignore[call-overload]  # test SQL

    async def balances(self) -> dict[str, int]:
        """Of accounts that are not zero, but for where the payees' money comes from."""
        rows = await self.rows("select account, amount from colink.balances where account <> 'platform:loss'")
        return {account: amount for account, amount in rows if amount}

    async def statuses(self) -> list[str]:
        return [
            status for (status,) in await self.rows("select status from colink.payouts order by created_position")
        ]

    async def held(self) -> list[tuple[int, int]]:
        """The stretches of payouts that are not released."""
        rows = await self.rows(
            "select stretches from colink.payouts where status not in"
            " ('rejected', 'cancelled', 'failed', 'returned') order by created_position"
        )
        return sorted((part["start"], part["end"]) for (text,) in rows for part in json.loads(text))

    async def journals(self) -> list[str]:
        rows = await self.rows("select distinct kind from colink.entries where kind like 'payout%' order by kind")
        assert (
            await self.rows("select journal_id from colink.entries group by journal_id having sum(amount) <> 0") == []
        )
        return [kind for (kind,) in rows]

    def at_provider(self, payout_id: str) -> list[tuple[str, int, str]]:
        """Every payout the provider ever took for this one, oldest first."""
        answer = httpx.get(
            f"{self.provider.url}/v1/payouts",
            params={"limit": 100},
            headers={"Authorization": f"Bearer {CREDENTIALS.api_key}"},
        )
        return [
            (item["reference"], item["amount"], item["status"])
            for item in reversed(answer.json()["items"])
            if item["reference"].startswith(f"{payout_id}.")
        ]


class ToldRail:
    """A provider that says what it is told to, of all attempts or `of` a reference, and calls nobody back. Its
    failures are passing. `submitted` and `asked` are references, in order."""

    outcome = ProviderOutcome.PAID

    def __init__(self) -> None:
        self.of: dict[str, ProviderOutcome] = {}
        self.submitted: list[str] = []
        self.asked: list[str] = []

    async def submit(self, instruction: PayoutInstruction) -> ProviderReport:
        self.submitted.append(instruction.reference)
        return self._said(instruction.reference, instruction.amount)

    async def find(self, reference: str) -> ProviderReport | None:
        self.asked.append(reference)
        return self._said(reference, 500)

    def _said(self, reference: str, amount: int) -> ProviderReport:
        outcome = self.of.get(reference, self.outcome)
        return ProviderReport(
            reference=reference,
            outcome=outcome,
            amount=amount,
            currency="MYR",
            passing=outcome is ProviderOutcome.FAILED,
        )

    def callback_reference(self, headers: Any, body: bytes) -> str | None:
        return None
