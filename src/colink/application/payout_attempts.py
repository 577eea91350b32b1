"""Attempts at a provider: begin one, take over what the provider says of it. Semantics section 7.

An attempt is recorded before the provider hears of it. Whoever comes after a crash finds the attempt, asks the
provider by reference, and hands in the same instruction under the same key where it never arrived.

A provider may call an attempt failed and pay it all the same. So no attempt begins, and no approval is cancelled for
another account, before the provider was asked about every attempt that began: `SubmitPayout` names them, and whoever
has asked says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from colink.application.payout_rails import PayoutInstruction, SealedAccount
from colink.application.payouts import PayoutAccountCommand, PayoutCommand, decided
from colink.application.ports import Decision, Facts
from colink.domain.payout_accounts import Rail
from colink.domain.payouts import AT_PROVIDER, Payout, PayoutStatus, ProviderReport


@dataclass(frozen=True, kw_only=True)
class SubmitPayout(PayoutAccountCommand):
    """Begin an attempt of an approved payout, or cancel it where the account changed since. `asked`: how many
    attempts the provider was asked about, and what it said recorded.

    Answers, beside the payout, with `instruction` (None where there is nothing at the provider), `began`: whether
    this command began the attempt, and `to_ask`: the attempts that the provider has to be asked about before there is
    another. In any other state it changes nothing."""

    asked: int = 0

    def decide(self, facts: Facts) -> Decision:
        payout = self.payout(facts)
        approved = payout.status is PayoutStatus.APPROVED
        to_ask = payout.begun if approved and payout.attempt > self.asked else ()
        if approved and not to_ask:
            payout.submit(current_account=self.current_account(facts), at=facts.now)
        began = approved and payout.status is PayoutStatus.SUBMITTED
        return decided(
            payout,
            began=began,
            instruction=_instruction(payout),
            to_ask=[{"reference": reference, "rail": rail} for reference, rail in to_ask],
        )


def _instruction(payout: Payout) -> dict[str, Any] | None:
    if payout.account is None or payout.status not in AT_PROVIDER | {PayoutStatus.PAID}:
        return None
    return {
        "payout_id": payout.id,
        "reference": payout.reference,
        "rail": payout.account.rail,
        "amount": payout.net,
        "currency": payout.currency,
        "details": dict(payout.account.details),
        "account": {
            "id": payout.account.id,
            "payee_id": payout.account.payee_id,
            "private": payout.account.private.text if payout.account.private else None,
        },
    }


def instruction_in(answer: Mapping[str, Any]) -> PayoutInstruction | None:
    """The instruction in the recorded answer of SubmitPayout."""
    told = answer["instruction"]
    if told is None:
        return None
    return PayoutInstruction(
        payout_id=told["payout_id"],
        reference=told["reference"],
        rail=Rail(told["rail"]),
        amount=told["amount"],
        currency=told["currency"],
        details=told["details"],
        account=SealedAccount(**told["account"]),
    )


def to_ask_in(answer: Mapping[str, Any]) -> list[tuple[str, Rail]]:
    """The attempts to ask about in the recorded answer of SubmitPayout, the last one first: reference and rail."""
    return [(told["reference"], Rail(told["rail"])) for told in answer["to_ask"]]


def payout_of(reference: str) -> str:
    """The payout an attempt's reference belongs to."""
    return reference.rpartition(".")[0]


@dataclass(frozen=True, kw_only=True)
class RecordPayoutResult(PayoutCommand):
    """Take over what the provider says. Late, repeated and out-of-order reports change nothing.

    Raises ProviderDisagrees where the provider paid something else than we asked for, NotFound."""

    report: ProviderReport

    def decide(self, facts: Facts) -> Decision:
        payout = self.payout(facts)
        payout.record(self.report, at=facts.now)
        return decided(payout)
