"""Payout accounts: where a payee's money goes, one current account per payee and currency. Semantics section 7."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from colink.domain.aggregates import Aggregate, Created, Event
from colink.domain.errors import Forbidden, InvalidInput
from colink.domain.ids import natural_id
from colink.domain.money import MAX_AMOUNT, Money, currency_exponent
from colink.domain.people import PrivateDetails

MAX_DELAY_MS = 3_600_000
MAX_ACCOUNT_TEXT = 140  # characters: the longest name ISO 20022 takes


class OwnAccount(Forbidden):
    slug, title = "own-account", "Who set the account that a payout goes to may not approve it"


class Rail(StrEnum):
    """The ways out (contract, HTTP). Only rails in `OFFERED_RAILS` can be chosen so far."""

    SANDBOX = "sandbox"
    STRIPE = "stripe"
    XENDIT = "xendit"
    BANK_FILE = "bank_file"


OFFERED_RAILS = frozenset({Rail.SANDBOX})


class SandboxOutcome(StrEnum):
    """How the sandbox ends a payout; `returned` is paid first and comes back after as long again."""

    PAID = "paid"
    FAILED = "failed"
    RETURNED = "returned"


class SandboxFault(StrEnum):
    """How the sandbox misbehaves, once, on the way to its outcome.

    timeout: accepted, never answered; error_before: 503 and nothing accepted; error_after: accepted, answered 503;
    channel_down: the first attempt fails for a passing reason; paid_after_all: that is said of it for `delay_ms`, and
    then it is paid; refuse: 422, nothing accepted, every time.
    """

    TIMEOUT = "timeout"
    ERROR_BEFORE = "error_before"
    ERROR_AFTER = "error_after"
    CHANNEL_DOWN = "channel_down"
    PAID_AFTER_ALL = "paid_after_all"
    REFUSE = "refuse"


DetailPairs = tuple[tuple[str, str | int], ...]


def detail_pairs(details: Mapping[str, str | int]) -> DetailPairs:
    """What an API caller gave, in a fixed order, so that equal details compare equal."""
    return tuple(sorted(details.items()))


@dataclass(frozen=True, kw_only=True)
class PayoutAccountDetails:
    """`private` is what the rail needs to reach the payee, sealed: a JSON object. `details` is the same in clear, as
    sorted (name, value) pairs, where recorded before it was sealed; else empty. `minimum`: the smallest
    payout, None for any above zero. `organization_id`: the payee, where it is an organisation. `version` counts from
    1, so that an account changed and changed back is not mistaken for the one approved."""

    id: str
    payee_id: str
    organization_id: str | None
    rail: Rail
    currency: str
    details: DetailPairs
    minimum: Money | None = None
    version: int = 1
    private: PrivateDetails | None = None

    @property
    def minimum_amount(self) -> int:
        """Minor units; at least 1."""
        return self.minimum.amount if self.minimum else 1


def payout_account_id(payee_id: str, currency: str) -> str:
    return natural_id("pac", payee_id, currency)


def check_account_can_be_used(account: PayoutAccountDetails) -> None:
    """Raises InvalidInput naming the field."""
    if account.rail not in OFFERED_RAILS:
        msg = f"the rail {account.rail} is not offered yet: choose one of {', '.join(sorted(OFFERED_RAILS))}"
        raise InvalidInput(msg, field="rail")
    currency_exponent(account.currency)
    _check_minimum(account)
    check_details(account.rail, dict(account.details))


def check_details(rail: Rail, details: Mapping[str, str | int]) -> None:
    """What the rail is to be told, before it is sealed. Raises InvalidInput naming the field."""
    if rail is Rail.SANDBOX:
        _check_sandbox_details(details)


def _check_minimum(account: PayoutAccountDetails) -> None:
    if account.minimum is None:
        return
    if account.minimum.currency != account.currency:
        msg = f"the minimum is in {account.minimum.currency}, the account in {account.currency}"
        raise InvalidInput(msg, field="minimum.currency")
    if not 0 < account.minimum.amount <= MAX_AMOUNT:
        msg = f"the minimum lies between 1 and {MAX_AMOUNT} minor units"
        raise InvalidInput(msg, field="minimum.amount")


def _check_sandbox_details(details: Mapping[str, str | int]) -> None:
    for name, value in details.items():
        field = f"details.{name}"
        match name:
            case "outcome" | "fault":
                allowed = [str(word) for word in (SandboxOutcome if name == "outcome" else SandboxFault)]
                if value not in allowed:
                    msg = f"{name} is one of {', '.join(allowed)}"
                    raise InvalidInput(msg, field=field)
            case "delay_ms":
                if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_DELAY_MS:
                    msg = f"delay_ms is a whole number from 0 to {MAX_DELAY_MS}"
                    raise InvalidInput(msg, field=field)
            case "account_holder" | "account_number":
                if not isinstance(value, str) or not 0 < len(value) <= MAX_ACCOUNT_TEXT:
                    msg = f"{name} is a text of at most {MAX_ACCOUNT_TEXT} characters"
                    raise InvalidInput(msg, field=field)
            case _:
                msg = "a sandbox account takes outcome, delay_ms, fault, account_holder and account_number"
                raise InvalidInput(msg, field=field)


def without_private(account: dict[str, Any]) -> None:
    """For upcasts: an account as it was recorded before details were sealed."""
    account["private"] = None


@dataclass(frozen=True, kw_only=True)
class PayoutAccountRegistered(Created):
    """`set_by`: the actor, None where recorded before that was kept."""

    TOPIC: ClassVar[str] = "payout_account.registered"
    class_version: ClassVar[int] = 3
    details: PayoutAccountDetails
    set_by: str | None

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        without_private(state["details"])

    @staticmethod
    def upcast_v2_v3(state: dict[str, Any]) -> None:
        state["set_by"] = None


@dataclass(frozen=True, kw_only=True)
class PayoutAccountReplaced(Event):
    """Payouts approved for the account before this one are cancelled when they come to be submitted."""

    TOPIC: ClassVar[str] = "payout_account.replaced"
    class_version: ClassVar[int] = 3
    details: PayoutAccountDetails
    set_by: str | None

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        without_private(state["details"])

    @staticmethod
    def upcast_v2_v3(state: dict[str, Any]) -> None:
        state["set_by"] = None

    def apply(self, aggregate: PayoutAccount) -> None:
        aggregate.details, aggregate.set_by = self.details, self.set_by


class PayoutAccount(Aggregate):
    """The current account of one payee in one currency. `set_by`: who said where the money goes."""

    TOPIC: ClassVar[str] = "payout_account"
    details: PayoutAccountDetails
    set_by: str | None

    @classmethod
    def register(cls, details: PayoutAccountDetails, *, by: str, at: datetime) -> PayoutAccount:
        check_account_can_be_used(details)
        return cls._create(PayoutAccountRegistered, id=details.id, timestamp=at, details=details, set_by=by)

    def replace_with(self, details: PayoutAccountDetails, *, by: str, at: datetime) -> None:
        """Nothing happens when the details are those already known: approved payouts then stay good, and who set the
        account stays who did."""
        check_account_can_be_used(details)
        if replace(details, version=self.details.version) != self.details:
            newer = replace(details, version=self.details.version + 1)
            self.trigger_event(PayoutAccountReplaced, details=newer, set_by=by, timestamp=at)

    def check_approver(self, by: str) -> None:
        """Who says where the money goes does not also send it there: one person alone could send it to themselves.
        Raises OwnAccount."""
        if by == self.set_by:
            msg = f"{by} set {self.id}, where the payout goes: somebody else has to approve it"
            raise OwnAccount(msg)
