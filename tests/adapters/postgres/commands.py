"""Small commands and events that the store's tests submit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from colink.application.ports import (
    Caller,
    Decision,
    Delivery,
    DeliveryStatus,
    Facts,
    Guard,
    Idempotency,
    Needs,
    Request,
)
from colink.domain.aggregates import Aggregate, Event
from colink.domain.errors import Conflict
from colink.domain.ledger import Journal, JournalKind, JournalPosted, Posting, Purpose
from colink.domain.organizations import Organization, OrganizationDetails

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CALLER = Caller(actor="key:test", correlation_id="test")


class FixedClock:
    """Stands still until it is set."""

    def __init__(self, now: datetime = NOON) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time


def idempotency(key: str, digest: str = "digest") -> Idempotency:
    return Idempotency(scope="key_1", key=key, request_digest=digest)


def our_events(aggregate: Aggregate) -> tuple[Event, ...]:
    """What the aggregate has to record."""
    return tuple(event for event in aggregate.collect_events() if isinstance(event, Event))


def journal(
    journal_id: str,
    *legs: tuple[str, int],
    currency: str = "MYR",
    payout_id: str | None = None,
    effective_at: datetime = NOON,
) -> JournalPosted:
    """The event of a journal with (account, amount) legs."""
    posted = Journal.post(
        journal_id=journal_id,
        kind=JournalKind.SALE,
        effective_at=effective_at,
        postings=[
            Posting(account=account, amount=amount, currency=currency, purpose=Purpose.COMMISSION)
            for account, amount in legs
        ],
        at=effective_at,
        payout_id=payout_id,
    )
    (event,) = our_events(posted)
    assert isinstance(event, JournalPosted)
    return event


@dataclass(frozen=True, kw_only=True)
class Post(Request):
    """Posts one journal. `streams` are further conflict keys."""

    caller: Caller = CALLER
    journal_id: str
    legs: tuple[tuple[str, int], ...] = (("payee:cre_1:available", 5), ("platform:revenue", -5))
    guards: tuple[Guard, ...] = ()
    payout_id: str | None = None

    def needs(self) -> Needs:
        return Needs(streams=(self.journal_id,))

    def decide(self, facts: Facts) -> Decision:
        if facts.aggregate(Journal, self.journal_id) is not None:
            msg = f"{self.journal_id} is posted already"
            raise Conflict(msg)
        event = journal(self.journal_id, *self.legs, payout_id=self.payout_id)
        return Decision(answer={"journal_id": self.journal_id}, events=[event], guards=self.guards)


@dataclass(frozen=True, kw_only=True)
class Register(Request):
    """Registers an organisation."""

    caller: Caller = CALLER
    organization_id: str
    name: str = "Kedai"

    def needs(self) -> Needs:
        return Needs(streams=(self.organization_id,))

    def decide(self, facts: Facts) -> Decision:
        if facts.aggregate(Organization, self.organization_id) is not None:
            msg = "registered already"
            raise Conflict(msg)
        details = OrganizationDetails(id=self.organization_id, name=self.name, platform_fee_bps=500)
        events = our_events(Organization.register(details, at=facts.now))
        return Decision(
            answer={"id": self.organization_id},
            events=events,
            organization_id=self.organization_id,
        )


@dataclass(frozen=True, kw_only=True)
class Decide(Request):
    """Whatever a test wants: `make` decides, `seen` keeps the facts of every decision."""

    caller: Caller = CALLER
    make: Callable[[Facts], Decision]
    reads: Needs = field(default_factory=Needs)
    seen: list[Facts] = field(default_factory=list, compare=False)

    def needs(self) -> Needs:
        return self.reads

    def decide(self, facts: Facts) -> Decision:
        self.seen.append(facts)
        return self.make(facts)


def nothing(delivery: Delivery | None = None, events: Sequence[Event] = ()) -> Decision:
    return Decision(answer={"ok": True}, events=events, delivery=delivery)


def delivery(delivery_id: str, **changes: object) -> Delivery:
    told = Delivery(
        source="sto_1",
        delivery_id=delivery_id,
        topic="orders/create",
        headers={"x-topic": "orders/create"},
        body=b'{"id": 1, "text": "\xff\x00\x1f"}',
        received_at=NOON,
        status=DeliveryStatus.ACCEPTED,
    )
    return replace(told, **changes)
