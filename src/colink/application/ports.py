"""What the outside gives to commands, and what a command gives back. The data flow of every write:

    Command --needs()--> Facts --decide()--> Decision --append--> Recorded

The committer gathers concurrent commands, reads what all of them need in one go, lets each decide in pure code, and
appends all decisions in one transaction. A caller gets its `Recorded` only after the commit. A command may be decided
more than once (when what it read moved before the append), so `decide` has no effects.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypeVar, runtime_checkable

from colink.domain.aggregates import Aggregate, Event
from colink.domain.attribution import OrderKeys
from colink.domain.payout_funds import Funds
from colink.domain.terms import Terms
from colink.domain.tiers import RevenueKey
from colink.domain.tracking import SeenTouch
from colink.domain.true_up_counts import PlacedSplit

A = TypeVar("A", bound=Aggregate)
D = TypeVar("D")
T = TypeVar("T")
JsonObject = Mapping[str, Any]  # what msgspec can encode: dataclasses, Money and datetimes included


class Clock(Protocol):
    def now(self) -> datetime:
        """The current time, UTC, with time zone."""


class IdFactory(Protocol):
    def __call__(self, prefix: str) -> str:
        """A new id: `prefix_` and a UUIDv7."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who is behind a command. `actor` is like `key:key_0198...`, `webhook:sto_0198...` or `worker`."""

    actor: str
    correlation_id: str
    causation_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Idempotency:
    """`scope` is the API key's id. The same key with another request digest is a conflict."""

    scope: str
    key: str
    request_digest: str


class DeliveryStatus(StrEnum):
    """What became of a platform delivery (contract: the answer of /webhooks)."""

    ACCEPTED = "accepted"
    IGNORED = "ignored"
    REJECTED = "rejected"


KEYED = "idk_"
"""What the causation id of events of a command with an idempotency key begins with."""


def cause_of_key(scope: str, key: str) -> str:
    """The causation id of the events of the command that was given this key, and no other cause. A digest: the log is
    shown to more people than its keys, and keys may be made of secrets."""
    return KEYED + hashlib.sha256(f"{scope}\x1f{key}".encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class PrivateValue:
    """A secret or personal value, kept outside the log where it can be changed and erased."""

    owner_id: str
    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One raw delivery, byte for byte. Unique per (source, delivery_id); `source` is the store id. What is to be kept
    has its body sealed, and `key` is what it is sealed with, wrapped (application.privacy).

    `problem` is an RFC 9457 object where it was rejected. `replay`: an operator had the kept delivery read again, so
    its row exists and takes over status, problem, order and answer; first reading and bytes stay as they were.
    """

    source: str
    delivery_id: str
    topic: str
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
    status: DeliveryStatus
    problem: JsonObject | None = None
    order_id: str | None = None
    replay: bool = False
    key: PrivateValue | None = None


@dataclass(frozen=True, kw_only=True)
class TermsUnchanged:
    """Guard: the terms of the organisation are still those at `position`."""

    organization_id: str
    position: int


@dataclass(frozen=True, kw_only=True)
class BalanceUnchanged:
    """Guard: nothing was posted to the account since its balance row had `version` (0: no row yet)."""

    account: str
    currency: str
    version: int


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a command reads. `streams` are the aggregates it may write: they are also its conflict keys, as are the
    idempotency key, the delivery and the funds. `begins` are streams it writes and does not read: it begins them, or
    goes on where their document stands; `reads` are those it reads and never writes. `documents` are read by id,
    `keys` by unique key, both with the details class they hold. `revenues_of`: what is counted for tiers;
    `periods_of`: the orders that are trued up together; `charges_of`: (organisation, currency) pairs, what was posted
    to the seller's receivable beside orders and payments. `balances_of`: (account, currency) pairs, which are no
    conflict keys: guard what must not move (BalanceUnchanged)."""

    streams: tuple[str, ...] = ()
    begins: tuple[str, ...] = ()
    terms_of: str | None = None
    documents: tuple[tuple[type[Any], str], ...] = ()
    keys: tuple[tuple[type[Any], str], ...] = ()
    touches_for: OrderKeys | None = None
    touches_before: datetime | None = None
    funds_of: tuple[tuple[str, str], ...] = ()
    balances_of: tuple[tuple[str, str], ...] = ()
    repeats_of: RepeatQuery | None = None
    reads: tuple[str, ...] = ()
    revenues_of: tuple[RevenueQuery, ...] = ()
    periods_of: tuple[PeriodQuery, ...] = ()
    charges_of: tuple[tuple[str, str], ...] = ()

    def joined(self, more: Needs) -> Needs:
        """These and the streams, documents, readings and counts of `more`."""
        return replace(
            self,
            streams=_once(self.streams, more.streams),
            begins=_once(self.begins, more.begins),
            documents=_once(self.documents, more.documents),
            terms_of=self.terms_of or more.terms_of,
            reads=_once(self.reads, more.reads),
            revenues_of=_once(self.revenues_of, more.revenues_of),
            periods_of=_once(self.periods_of, more.periods_of),
            charges_of=_once(self.charges_of, more.charges_of),
        )


def _once(first: tuple[T, ...], more: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(dict.fromkeys((*first, *more)))


class MoreNeeded(Exception):
    """Raised by `decide` where what was read shows that more must be known: the command is decided again with that,
    as soon as none of its new conflict keys is taken. `for_all`: it would do something that is done once for all that
    ask for it. Who had to wait for its turn is decided from the beginning, as it is most likely done."""

    def __init__(self, needs: Needs, *, for_all: bool = False) -> None:
        super().__init__("more has to be read before this can be decided")
        self.needs = needs
        self.for_all = for_all


@dataclass(frozen=True, kw_only=True)
class RevenueQuery:
    """What do the orders come to, net of refunds, that were placed from `since` (None: ever) until `until`?"""

    key: RevenueKey
    since: datetime | None
    until: datetime


@dataclass(frozen=True, kw_only=True)
class PeriodQuery:
    """Which orders of a creator at an organisation were placed from `since` to `until` (excluded)?"""

    organization_id: str
    creator_id: str
    since: datetime
    until: datetime


@dataclass(frozen=True, kw_only=True)
class RepeatQuery:
    """Was the same link or campaign touched from the same place since `since`?"""

    kind: str
    link_id: str | None
    campaign_id: str | None
    creator_id: str
    network_hashes: tuple[str, ...]
    since: datetime


@dataclass(frozen=True, kw_only=True)
class SeenRevenue:
    """A revenue in minor units, and the position of the log that was seen when it was counted."""

    revenue: int
    position: int


@dataclass(frozen=True, kw_only=True)
class SeenPeriod:
    """The orders of a period: when each was placed and how it is split, in order of their ids; and the position of
    the log that was seen. All commands of a batch see the same one: `stands` keeps what one of them found out, by
    the id and version of the true-up."""

    orders: Sequence[PlacedSplit]
    position: int
    stands: dict[tuple[str, int], bool] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenCharges:
    """What was posted to a receivable beside orders and payments: how many entries, what they come to in minor units
    (credit > 0), and the position of the log that was seen."""

    entries: int
    amount: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountBalance:
    """Of one account in one currency, signed (credit > 0); `version` as BalanceUnchanged takes it."""

    amount: int
    version: int

    def unchanged(self, account: str, currency: str) -> BalanceUnchanged:
        return BalanceUnchanged(account=account, currency=currency, version=self.version)


class Facts(Protocol):
    """What was read for one command, as of one moment before its append. `needs`: what was asked for."""

    now: datetime
    needs: Needs

    @property
    def open_from(self) -> datetime | None:
        """Journals take effect no earlier: the periods before are closed. None where none ever was. Journals of
        orders and payouts are moved when they are recorded; who books for a person refuses (domain.periods)."""

    def aggregate(self, type_: type[A], stream_id: str) -> A | None:
        """The aggregate of a needed stream, a fresh copy, or None where the stream is empty."""

    def document(self, type_: type[D], id_: str) -> D | None:
        """The details with that id."""

    def versioned(self, type_: type[D], id_: str) -> tuple[D, int] | None:
        """The details with that id, and the version at which their stream stands."""

    def keyed(self, type_: type[D], key: str) -> D | None:
        """The details with that unique key: a link's code, a creator's handle, a campaign's slug, an API key's
        digest, a coupon's `{store_id}:{code in lower case}`."""

    def terms(self) -> Terms:
        """The terms of the organisation in `terms_of`."""

    def touches(self) -> Sequence[SeenTouch]:
        """Touches found by `touches_for`: the clicks named, and the newest 50 touches of each visitor (named, or of
        those clicks) that occurred no later than `touches_before`. Ordered by position."""

    def tracking_position(self) -> int:
        """The last position of the tracking log that was visible to `touches`."""

    def funds(self, payee_id: str, currency: str) -> Funds: ...

    def balance(self, account: str, currency: str) -> AccountBalance:
        """Of one of `balances_of`; zero where nothing was posted."""

    def is_repeat(self) -> bool: ...

    def revenue(self, query: RevenueQuery) -> SeenRevenue:
        """One of `revenues_of`."""

    def period(self, query: PeriodQuery) -> SeenPeriod:
        """One of `periods_of`."""

    def charges(self, organization_id: str, currency: str) -> SeenCharges:
        """Of one of `charges_of`."""


@dataclass(frozen=True, kw_only=True)
class FirstOfItsPlace:
    """Guard: still no touch that the query would find."""

    query: RepeatQuery


Guard = TermsUnchanged | BalanceUnchanged | FirstOfItsPlace


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a command wants recorded, all or nothing, and the answer to give after the commit.

    `events` in order; the expected version of each stream follows from its first event. A decision without events
    still records its idempotency key and delivery.
    """

    answer: JsonObject
    events: Sequence[Event] = ()
    organization_id: str | None = None
    guards: Sequence[Guard] = ()
    private: Sequence[PrivateValue] = ()
    delivery: Delivery | None = None


@runtime_checkable
class Command(Protocol):
    """Read-only attributes `caller`, `idempotency` (or None) and `delivery_key` ((source, delivery_id) or None)."""

    @property
    def caller(self) -> Caller: ...

    @property
    def idempotency(self) -> Idempotency | None: ...

    @property
    def delivery_key(self) -> tuple[str, str] | None: ...

    def needs(self) -> Needs: ...

    def decide(self, facts: Facts) -> Decision:
        """Pure. Raises a ColinkError for a broken rule: that fails this command alone and records nothing."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The answer as stored: JSON-decoded data. `replayed`: the command had been recorded before (same idempotency key
    or delivery) and this is the first answer. `position`: of the last event written, None if none was."""

    answer: JsonObject
    replayed: bool = False
    position: int | None = None


class CommandBus(Protocol):
    async def submit(self, command: Command) -> Recorded:
        """Record the command durably. Raises its ColinkError, IdempotencyConflict, ConcurrentUpdate when it kept
        losing races, Unavailable when the queue is full or the database is away."""


class CommandQueue(CommandBus, Protocol):
    """A bus that takes many commands at once."""

    async def submit_many(self, commands: Sequence[Command]) -> list[Recorded | Exception]:
        """Record each command for itself, as `submit` does; what became of each, in their order: its answer, or the
        error that `submit` would have raised. Raises Unavailable, and takes none, where not all of them fit in."""


class CommitObserver(Protocol):
    """Is told of a committer's work, so that it can be measured. `log` is "commerce" or "tracking". Called on the
    event loop, between two batches: it must neither wait nor raise."""

    def batch_committed(self, log: str, commands: int, events: int, seconds: float) -> None:
        """One append was committed. `seconds`: of the call that appended it, its commit included."""

    def queue_depth(self, log: str, depth: int) -> None:
        """So many commands wait for a batch to take them."""

    def retried(self, log: str, commands: int) -> None:
        """So many commands of a batch are decided again: they lost a race, or the database broke off."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """The parts every command shares."""

    caller: Caller
    idempotency: Idempotency | None = None
    delivery_key: tuple[str, str] | None = field(default=None)
