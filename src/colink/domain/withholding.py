"""Tax withheld from payouts, where a seller's authority asks for it. Semantics sections 6 and 7.

A switch per seller and currency: rate, threshold and authority. What stands when a payout is approved is copied into
it, like the account it goes to, and serves that payout for ever. This module says how much; `payout_journals` what is
posted when.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar

from colink.domain.aggregates import Aggregate, Created, Event
from colink.domain.errors import InvalidInput
from colink.domain.ids import natural_id
from colink.domain.money import MAX_AMOUNT, currency_exponent, share_of

MAX_RATE_BPS = 5_000  # beyond half of it, rounding could leave a payee nothing
_AUTHORITY = re.compile(r"[a-z0-9_-]{1,40}").fullmatch


@dataclass(frozen=True, kw_only=True)
class WithholdingDetails:
    """`rate_bps` 0: switched off. `threshold`: payouts below it, in minor units of `currency`, are not taxed.
    `version` counts from 1."""

    id: str
    organization_id: str
    currency: str
    authority: str
    rate_bps: int
    threshold: int = 0
    version: int = 1


@dataclass(frozen=True, kw_only=True)
class WithheldTax:
    """The tax of one payout: `amount` is withheld of it, by the settings of `version` as they stood at its approval.
    `withheld`: whether that is posted, which happens when it is first handed to a provider."""

    authority: str
    rate_bps: int
    amount: int
    version: int
    withheld: bool = False


def withholding_id(organization_id: str, currency: str) -> str:
    return natural_id("wht", organization_id, currency)


def tax_of(amount: int, settings: WithholdingDetails | None) -> WithheldTax | None:
    """The tax of a payout, rounded once, half-to-even; None where none is due."""
    if settings is None or amount < settings.threshold:
        return None
    tax = share_of(amount, rate_bps=settings.rate_bps)
    if tax == 0:
        return None
    return WithheldTax(authority=settings.authority, rate_bps=settings.rate_bps, amount=tax, version=settings.version)


def check_withholding(settings: WithholdingDetails) -> None:
    """Raises InvalidInput naming the field."""
    currency_exponent(settings.currency)
    if not _AUTHORITY(settings.authority):
        msg = "an authority is named by up to 40 small letters, digits, - and _"
        raise InvalidInput(msg, field="authority")
    if not 0 <= settings.rate_bps <= MAX_RATE_BPS:
        msg = f"a rate lies between 0 (switched off) and {MAX_RATE_BPS} basis points"
        raise InvalidInput(msg, field="rate_bps")
    if not 0 <= settings.threshold <= MAX_AMOUNT:
        msg = f"a threshold lies between 0 and {MAX_AMOUNT} minor units"
        raise InvalidInput(msg, field="threshold.amount")


@dataclass(frozen=True, kw_only=True)
class WithholdingSet(Created):
    """The first setting, and each later one."""

    TOPIC: ClassVar[str] = "withholding.set"
    details: WithholdingDetails

    def mutate(self, aggregate: Any) -> Any:
        return super().mutate(None) if aggregate is None else Event.mutate(self, aggregate)

    def apply(self, aggregate: Withholding) -> None:
        aggregate.details = self.details


class Withholding(Aggregate):
    """What is withheld from a seller's payouts in one currency."""

    TOPIC: ClassVar[str] = "withholding"
    details: WithholdingDetails

    @classmethod
    def begin(cls, details: WithholdingDetails, *, at: datetime) -> Withholding:
        check_withholding(details)
        return cls._create(WithholdingSet, id=details.id, timestamp=at, details=details)

    def change(self, details: WithholdingDetails, *, at: datetime) -> None:
        """Nothing happens when the settings are those already known."""
        check_withholding(details)
        newer = replace(details, version=self.details.version + 1)
        if replace(newer, version=self.details.version) != self.details:
            self.trigger_event(WithholdingSet, timestamp=at, originator_topic=Withholding.TOPIC, details=newer)
