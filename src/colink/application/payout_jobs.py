"""The worker's part in payouts: request what is due, submit what is approved, ask what became of it.

Every step may be run by several workers at once, killed anywhere and run again: each is a command that decides anew,
and the provider knows an attempt by one key. What the provider did not answer is not guessed: it is looked up by our
reference, and handed in again, under the same key, only where it never arrived. Nor is a failure believed for good:
before another attempt begins the provider is asked once more about those before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

import structlog

from colink.application.payout_attempts import (
    RecordPayoutResult,
    SubmitPayout,
    instruction_in,
    payout_of,
    to_ask_in,
)
from colink.application.payout_rails import PayoutInstruction, PayoutRail
from colink.application.payouts import ApprovePayout, RequestPayout
from colink.application.ports import Caller, Clock, CommandBus, IdFactory, Recorded
from colink.domain.errors import ColinkError, ConcurrentUpdate, InsufficientFunds, Unavailable
from colink.domain.payout_accounts import Rail
from colink.domain.payout_funds import BelowMinimum
from colink.domain.payouts import AT_PROVIDER, AUTOMATIC, PAYOUT_ID, PayoutStatus, ProviderOutcome, ProviderReport

T = TypeVar("T")

_log = structlog.get_logger(__name__)

_PAGE = 200
_AT_ONCE = 16  # conversations with a provider
_RECHECK_AFTER = timedelta(hours=1)
_RETURNS_WITHIN = timedelta(days=90)  # what was paid may come back; ACH and SEPA know returns after two months
_ON_THE_WAY = frozenset({PayoutStatus.APPROVED}) | AT_PROVIDER


@dataclass(frozen=True, kw_only=True)
class PayoutDue:
    """A payee with an account, and at least its minimum available."""

    payee_id: str
    currency: str


@dataclass(frozen=True, kw_only=True)
class PayoutRef:
    """A payout as the queue knows it; `position` of its request orders the queue."""

    payout_id: str
    payee_id: str
    currency: str
    status: PayoutStatus
    position: int


class PayoutQueue(Protocol):
    """What there is to do."""

    async def payable(self, *, after: PayoutDue | None, limit: int) -> Sequence[PayoutDue]:
        """Whom the schedule pays now, ordered by (payee_id, currency). Left out: a payee whose newest payout in the
        currency was not submitted yet (one waits at a time), and one whose newest was rejected, cancelled, failed or
        returned, until the account is changed after its request: what went wrong once is not tried again and again
        without a person."""

    async def in_status(
        self, statuses: Collection[PayoutStatus], *, after: int | None, limit: int
    ) -> Sequence[PayoutRef]:
        """Payouts in one of the statuses, by position, those after a position."""

    async def paid_since(self, moment: datetime, *, after: int | None, limit: int) -> Sequence[PayoutRef]:
        """Payouts that were paid since, and not returned, by position, those after a position."""


class AccountDetails(Protocol):
    """Opens the sealed details of a payout account (application.privacy.people)."""

    async def __call__(self, payee_id: str, *, account_id: str, text: str) -> Mapping[str, str | int] | None:
        """None where the payee was erased."""


@dataclass(frozen=True, kw_only=True)
class _Round:
    """One time asking about all that is paid: when it began, the position it has come to, whether it is over."""

    began: datetime
    after: int | None = None
    over: bool = False


class PayoutDesk:
    """The jobs of one worker. Methods that end in a count say how many things changed."""

    def __init__(
        self,
        *,
        bus: CommandBus,
        queue: PayoutQueue,
        rails: Mapping[Rail, PayoutRail],
        ids: IdFactory,
        clock: Clock,
        automatic_approval: bool,
        account_details: AccountDetails,
        actor: str = "worker",
        at_once: int = _AT_ONCE,
    ) -> None:
        self._bus = bus
        self._queue = queue
        self._rails = rails
        self._ids = ids
        self._clock = clock
        self._automatic_approval = automatic_approval
        self._account_details = account_details
        self._actor = actor
        self._round: _Round | None = None
        self._unsettled: dict[str, PayoutRef] = {}
        self._slots = asyncio.Semaphore(at_once)

    async def run(self) -> int:
        """All that is due now, what the schedule pays included. Raises the first Unavailable or ConcurrentUpdate
        after everything was tried."""
        return await self._all(self.request_due, *self._steps)

    async def advance(self) -> int:
        """All that is due now of payouts that somebody requested; requests none. Raises as `run` does."""
        return await self._all(*self._steps)

    @property
    def _steps(self) -> tuple[Callable[[], Awaitable[int]], ...]:
        return self.approve_requested, self.submit_approved, self.follow_up, self.recheck_paid

    async def _all(self, *steps: Callable[[], Awaitable[int]]) -> int:
        changed, errors = 0, []
        for step in steps:
            try:
                changed += await step()
            except (Unavailable, ConcurrentUpdate) as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return changed

    async def under_way(self) -> bool:
        """Whether a payout is on its way, or paid without the provider being through with it, or not every paid one
        was asked about again."""
        asking = self._round is not None and not self._round.over
        return asking or bool(self._unsettled) or bool(await self._queue.in_status(_ON_THE_WAY, after=None, limit=1))

    async def request_due(self) -> int:
        """Request a payout for everybody whom the schedule pays; with automatic approval, approve it."""
        changed, last = 0, None
        while due := await self._queue.payable(after=last, limit=_PAGE):
            changed += await self._each(due, self._request)
            last = due[-1]
        return changed

    async def approve_requested(self) -> int:
        """With automatic approval, approve what waits for it: requested while approval was still a person's."""
        if not self._automatic_approval:
            return 0
        return await self._each_in_status({PayoutStatus.REQUESTED}, self._approve)

    async def submit_approved(self) -> int:
        """Hand approved payouts to their providers."""
        return await self._each_in_status({PayoutStatus.APPROVED}, self._advance)

    async def follow_up(self) -> int:
        """Ask about what is at a provider, and about what was paid but is not settled there."""
        unsettled = list(self._unsettled.values())
        return await self._each_in_status(AT_PROVIDER, self._advance) + await self._each(unsettled, self._advance)

    async def recheck_paid(self) -> int:
        """Ask again about what was paid, as long as it may come back: `paid` is not final and callbacks get lost. All
        of it in one round, the oldest first and a page at a time, so that other steps need not wait; a round begins
        with the worker, which remembers nothing of the one before, and an hour after the last."""
        now = self._clock.now()
        asking = self._round
        if asking is None or (asking.over and now - asking.began >= _RECHECK_AFTER):
            asking = _Round(began=now)
        if asking.over:
            return 0
        page = await self._queue.paid_since(now - _RETURNS_WITHIN, after=asking.after, limit=_PAGE)
        after = page[-1].position if page else asking.after
        self._round = replace(asking, after=after, over=len(page) < _PAGE)
        return await self._each(page, self._advance)

    async def _each_in_status(
        self, statuses: Collection[PayoutStatus], step: Callable[[PayoutRef], Awaitable[bool]]
    ) -> int:
        changed, last = 0, None
        while payouts := await self._queue.in_status(statuses, after=last, limit=_PAGE):
            changed += await self._each(payouts, step)
            last = payouts[-1].position
        return changed

    async def _each(self, items: Sequence[T], step: Callable[[T], Awaitable[bool]]) -> int:
        """Take the step for each; a broken rule is logged and leaves the others alone. Raises the first Unavailable
        or ConcurrentUpdate after all have ended."""

        async def one(item: T) -> bool:
            async with self._slots:
                try:
                    return await step(item)
                except (Unavailable, ConcurrentUpdate):
                    raise
                except ColinkError as error:
                    _log.warning("payout step refused", item=item, problem=error.slug, detail=error.detail)
                    return False

        results = await asyncio.gather(*(one(item) for item in items), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return sum(1 for result in results if result is True)

    async def _request(self, due: PayoutDue) -> bool:
        command = RequestPayout(
            caller=self._caller(f"payout-schedule:{due.payee_id}"),
            payout_id=self._ids(PAYOUT_ID),
            payee_id=due.payee_id,
            currency=due.currency,
            automatic_approval=self._automatic_approval,
        )
        try:
            await self._bus.submit(command)
        except (InsufficientFunds, BelowMinimum):
            return False  # another worker, or the payee, was faster
        return True

    async def _approve(self, payout: PayoutRef) -> bool:
        await self._bus.submit(
            ApprovePayout(
                caller=Caller(actor=AUTOMATIC, correlation_id=payout.payout_id),
                payout_id=payout.payout_id,
                payee_id=payout.payee_id,
                currency=payout.currency,
            )
        )
        return True

    async def _advance(self, payout: PayoutRef) -> bool:
        """One conversation with the provider, and what it said recorded. Whether anything changed."""
        caller = self._caller(payout.payout_id)
        command = SubmitPayout(
            caller=caller, payout_id=payout.payout_id, payee_id=payout.payee_id, currency=payout.currency
        )
        recorded = await self._bus.submit(command)
        if to_ask := to_ask_in(recorded.answer):
            if not await self._none_goes_on(to_ask, caller=caller):
                return False
            recorded = await self._bus.submit(replace(command, asked=len(to_ask)))
        was_paid = bool(to_ask) and recorded.answer["status"] == PayoutStatus.PAID
        changed = recorded.position is not None or was_paid
        instruction = instruction_in(recorded.answer)
        if instruction is None:
            self._unsettled.pop(payout.payout_id, None)
            return changed
        report = await self._ask(instruction, began=recorded.answer["began"], status=recorded.answer["status"])
        if report is None:
            return changed
        if report.settled:
            self._unsettled.pop(payout.payout_id, None)
        else:
            self._unsettled[payout.payout_id] = payout
        answer = await record_report(self._bus, report, caller=caller)
        return changed or answer.position is not None

    async def _none_goes_on(self, attempts: Sequence[tuple[str, Rail]], *, caller: Caller) -> bool:
        """Ask about attempts that were called failed, and record what is said of them now. False while one of them
        may still be paid. Raises ProviderDisagrees where one was that is not the last."""
        for reference, name in attempts:
            rail = self._rails.get(name)
            if rail is None:
                _log.error("no such rail here", reference=reference, rail=name)
                return False
            found = await rail.find(reference)
            if found is None:
                continue  # it certainly never accepted it
            await record_report(self._bus, found, caller=caller)
            if found.outcome in {ProviderOutcome.PENDING, ProviderOutcome.UNKNOWN}:
                _log.warning("a failed attempt goes on", reference=reference, outcome=found.outcome)
                return False
        return True

    async def _ask(self, instruction: PayoutInstruction, *, began: bool, status: str) -> ProviderReport | None:
        rail = self._rails.get(instruction.rail)
        if rail is None:
            _log.error("no such rail here", payout_id=instruction.payout_id, rail=instruction.rail)
            return None
        if not began:
            found = await rail.find(instruction.reference)
            if found is not None:
                return found
            if status != PayoutStatus.SUBMITTED:
                # It was seen there once: handing it in again could pay twice, so a person has to look.
                _log.error("the provider lost a payout", reference=instruction.reference, status=status)
                return None
        opened = await self._opened(instruction)
        if opened is None:
            # Erased while the payout was on its way here, and the provider never heard of it: nothing was paid.
            return ProviderReport(
                reference=instruction.reference,
                outcome=ProviderOutcome.FAILED,
                amount=instruction.amount,
                currency=instruction.currency,
                failure_code="payee_erased",
            )
        report = await rail.submit(opened)
        if report.outcome is ProviderOutcome.UNKNOWN:
            _log.warning("payout outcome unknown", reference=report.reference, code=report.failure_code)
            return None
        return report

    async def _opened(self, instruction: PayoutInstruction) -> PayoutInstruction | None:
        """With the account's details in clear; None where nobody can read them any more."""
        account = instruction.account
        if account is None or account.private is None:
            return instruction
        details = await self._account_details(account.payee_id, account_id=account.id, text=account.private)
        return None if details is None else replace(instruction, details=details)

    def _caller(self, correlation_id: str) -> Caller:
        return Caller(actor=self._actor, correlation_id=correlation_id)


async def record_report(bus: CommandBus, report: ProviderReport, *, caller: Caller) -> Recorded:
    """Take over what a provider said of an attempt."""
    command = RecordPayoutResult(caller=caller, payout_id=payout_of(report.reference), report=report)
    return await bus.submit(command)


async def confirm_callback(bus: CommandBus, rail: PayoutRail, reference: str, *, caller: Caller) -> bool:
    """A callback is a hint: ask the provider and record its answer. False where it does not know the reference.

    Raises Unavailable, NotFound, ProviderDisagrees."""
    report = await rail.find(reference)
    if report is None:
        return False
    await record_report(bus, report, caller=caller)
    return True
