"""A payout provider in this process that pays nobody: the sandbox's rules on the virtual clock, without HTTP.

It speaks the port that payout rails implement and refuses what the real sandbox refuses. What it accepted is kept by
idempotency key and by our reference; a status is a function of time. It outlives crashes of the service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from colink.application.payout_rails import PayoutInstruction
from colink.application.ports import Clock
from colink.domain.errors import Unavailable
from colink.domain.payouts import ProviderOutcome, ProviderReport

_KEY_LIFETIME = timedelta(hours=24)


@dataclass(kw_only=True)
class Accepted:
    """A payout that the provider took on. `outcome`: paid, failed or returned, `delay` after it was accepted."""

    id: str
    instruction: PayoutInstruction
    at: datetime
    outcome: str
    failure_code: str | None
    delay: timedelta

    def status(self, now: datetime) -> str:
        """`returned` is paid first, and comes back after as long again."""
        if now < self.at + self.delay:
            return "pending"
        if self.outcome == "returned" and now < self.at + 2 * self.delay:
            return "paid"
        return self.outcome


@dataclass(kw_only=True)
class SimulatedProvider:
    """A `PayoutRail`. `fee`: charged for each payout that is paid. `told` takes each report that reaches the service.
    `interrupt` is called where the conversation may break: it may raise."""

    clock: Clock
    fee: int = 0
    interrupt: Callable[[str], None] = lambda _: None
    accepted: list[Accepted] = field(default_factory=list)
    told: list[ProviderReport] = field(default_factory=list)
    silent: int = 0
    _shown: set[str] = field(default_factory=set)

    async def submit(self, instruction: PayoutInstruction) -> ProviderReport:
        self.interrupt("submit")
        fault = instruction.details.get("fault")
        if fault == "refuse":
            return self._tell(_report(instruction, ProviderOutcome.FAILED, failure_code="destination_refused"))
        shows = fault not in {None, "channel_down"} and instruction.reference not in self._shown
        if shows:
            self._shown.add(instruction.reference)
            if fault == "error_before":
                return _report(instruction, ProviderOutcome.UNKNOWN, failure_code="http_503")
        accepted = self._accept(instruction, channel_down=fault == "channel_down")
        self.interrupt("accepted")
        if shows:
            return _report(instruction, ProviderOutcome.UNKNOWN, failure_code="ReadTimeout")
        return self._tell(self._state(accepted))

    async def find(self, reference: str) -> ProviderReport | None:
        if self.silent:
            self.silent -= 1
            msg = "the provider does not answer"
            raise Unavailable(msg)
        found = [each for each in self.accepted if each.instruction.reference == reference]
        return self._tell(self._state(found[0])) if found else None

    def callback_reference(self, headers: Mapping[str, str], body: bytes) -> str | None:  # noqa: ARG002 - the port
        return None

    def paid(self, payout_id: str) -> list[int]:
        """What left for a payout, each time."""
        return [
            each.instruction.amount
            for each in self.accepted
            if each.instruction.payout_id == payout_id and each.outcome in {"paid", "returned"}
        ]

    def _accept(self, instruction: PayoutInstruction, *, channel_down: bool) -> Accepted:
        """Once per key, while keys are remembered."""
        now = self.clock.now()
        for each in self.accepted:
            if each.instruction.reference == instruction.reference and now < each.at + _KEY_LIFETIME:
                if each.instruction != instruction:
                    msg = f"the key {instruction.reference} was used with another request"
                    raise Unavailable(msg)
                return each
        outcome, failure_code = str(instruction.details.get("outcome", "paid")), None
        first = all(each.instruction.payout_id != instruction.payout_id for each in self.accepted)
        if channel_down and first:
            outcome, failure_code = "failed", "channel_unavailable"
        elif outcome == "failed":
            failure_code = "account_invalid"
        elif outcome == "returned":
            failure_code = "account_closed"
        accepted = Accepted(
            id=f"sim_{len(self.accepted) + 1:06}",
            instruction=instruction,
            at=now,
            outcome=outcome,
            failure_code=failure_code,
            delay=timedelta(milliseconds=int(instruction.details.get("delay_ms", 0))),
        )
        self.accepted.append(accepted)
        return accepted

    def _state(self, accepted: Accepted) -> ProviderReport:
        status = accepted.status(self.clock.now())
        return _report(
            accepted.instruction,
            ProviderOutcome(status),
            provider_id=accepted.id,
            failure_code=accepted.failure_code if status in {"failed", "returned"} else None,
            passing=accepted.failure_code == "channel_unavailable" and status == "failed",
            fee=self.fee if status in {"paid", "returned"} else 0,
            settled=status == accepted.outcome,
        )

    def _tell(self, report: ProviderReport) -> ProviderReport:
        self.interrupt("tell")
        self.told.append(report)
        return report


def _report(
    instruction: PayoutInstruction,
    outcome: ProviderOutcome,
    *,
    provider_id: str | None = None,
    failure_code: str | None = None,
    passing: bool = False,
    fee: int = 0,
    settled: bool = True,
) -> ProviderReport:
    known = outcome is not ProviderOutcome.UNKNOWN
    return ProviderReport(
        reference=instruction.reference,
        outcome=outcome,
        amount=instruction.amount if known else None,
        currency=instruction.currency if known else None,
        provider_id=provider_id,
        failure_code=failure_code,
        passing=passing,
        fee=fee,
        settled=settled,
    )
