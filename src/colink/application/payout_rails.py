"""The port to payment providers: what a payout needs of one, whatever its protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from colink.domain.payout_accounts import Rail
from colink.domain.payouts import ProviderReport


@dataclass(frozen=True, kw_only=True)
class SealedAccount:
    """Whose the account is, and where its details stand; `private` is their sealed text."""

    id: str
    payee_id: str
    private: str | None = None


@dataclass(frozen=True, kw_only=True)
class PayoutInstruction:
    """One attempt, the same in every retry. `reference` is our reference and the idempotency key; amount in minor
    units; `details` of the account as approved, in clear when a rail gets them: until then sealed in `account`."""

    payout_id: str
    reference: str
    rail: Rail
    amount: int
    currency: str
    details: Mapping[str, str | int]
    account: SealedAccount | None = None


class PayoutRail(Protocol):
    """A way money goes out. Safe to call again with the same instruction, at any time, by any number of workers."""

    async def submit(self, instruction: PayoutInstruction) -> ProviderReport:
        """Ask for the payment. A definite refusal is a report of outcome `failed`; whenever the provider may have
        accepted it, or nobody can tell (timeout, 5xx, a broken answer), the outcome is `unknown`. Raises Unavailable
        when the provider does not deal with us at all (wrong key)."""

    async def find(self, reference: str) -> ProviderReport | None:
        """What the provider knows of our reference now; None where it certainly never accepted it. Raises
        Unavailable when it cannot be asked."""

    def callback_reference(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Our reference in a callback, whose header names are lower case; None for a callback about something else.
        Raises Unauthorized for a wrong signature, InvalidInput for an unreadable body."""
