"""What a batch of commands reads before it decides: one snapshot, one round trip (questions.py).

Responsible for turning rows into aggregates, details, terms and funds. Not for deciding what is done with them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any, TypeVar

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from colink.adapters.postgres.append import Log
from colink.adapters.postgres.mapper import EventMapper
from colink.adapters.postgres.prepared import Prepared
from colink.adapters.postgres.questions import ask, place_of
from colink.application.ports import (
    AccountBalance,
    Clock,
    Command,
    Facts,
    Needs,
    PeriodQuery,
    RevenueQuery,
    SeenCharges,
    SeenPeriod,
    SeenRevenue,
)
from colink.domain.aggregates import Aggregate, Event
from colink.domain.campaigns import CampaignDetails
from colink.domain.commission import KnownRule, RuleDetails
from colink.domain.errors import NotFound
from colink.domain.ledger import payee_available
from colink.domain.orders import OrderSplit
from colink.domain.organizations import OrganizationDetails, StoreDetails
from colink.domain.payout_funds import Funds, Stretch
from colink.domain.terms import KnownCampaign, KnownCoupon, Terms
from colink.domain.tracking import CouponDetails, SeenTouch
from colink.domain.true_up_counts import PlacedSplit
from colink.projections.documents import kind_of
from colink.projections.payouts import decode_stretches
from colink.projections.touches import seen_touch

A = TypeVar("A", bound=Aggregate)
D = TypeVar("D")
Connection = AsyncConnection[TupleRow]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Prior:
    """The first answer of a command that had been recorded before. `request_digest` None: found by its delivery."""

    answer: str
    position: int | None
    request_digest: str | None = None


@dataclass(slots=True)
class _Read:
    """What was read for a whole batch, by the values it was asked with."""

    now: datetime
    mapper: EventMapper
    streams: dict[str, list[tuple[int, str, str]]] = field(default_factory=dict)
    documents: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    keyed: dict[tuple[str, str], str] = field(default_factory=dict)
    terms: dict[str, Terms] = field(default_factory=dict)
    tracking_position: int = 0
    open_from: datetime | None = None
    balances: dict[tuple[str, str], tuple[int, int, int]] = field(default_factory=dict)
    stretches: dict[tuple[str, str], list[Stretch]] = field(default_factory=dict)
    decoded: dict[str, list[Event]] = field(default_factory=dict)
    by_key: dict[tuple[str, str], Prior] = field(default_factory=dict)
    by_delivery: dict[tuple[str, str], Prior] = field(default_factory=dict)
    revenues: dict[str, SeenRevenue] = field(default_factory=dict)
    periods: dict[str, list[Any]] = field(default_factory=dict)
    seen_periods: dict[str, SeenPeriod] = field(default_factory=dict)
    charges: dict[tuple[str, str], SeenCharges] = field(default_factory=dict)
    terms_rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)

    def events(self, stream_id: str) -> list[Event]:
        """Decoded when they are first asked for: an event that cannot be read fails the command that needs it."""
        events = self.decoded.get(stream_id)
        if events is None:
            rows = sorted(self.streams.get(stream_id, ()))
            events = [self.mapper.event(stream_id, version, topic, payload) for version, topic, payload in rows]
            self.decoded[stream_id] = events
        return events

    def period(self, place: str) -> SeenPeriod:
        """Decoded once for the batch: all orders of a period that clear look at it."""
        seen = self.seen_periods.get(place)
        if seen is None:
            rows = self.periods[place]
            orders = [
                (order_id, self._placed_split(order_id, version, topic, payload, placed_at))
                for order_id, topic, payload, version, _, placed_at in rows
                if order_id is not None
            ]
            orders.sort(key=itemgetter(0))
            seen = SeenPeriod(orders=tuple([order for _, order in orders]), position=rows[0][4])
            self.seen_periods[place] = seen
        return seen

    def _placed_split(self, order_id: str, version: int, topic: str, payload: str, placed_at: int) -> PlacedSplit:
        """Of an order, from its last split; `placed_at` in microseconds since 1970."""
        event = self.mapper.event(order_id, version, topic, payload)
        if not isinstance(event, OrderSplit):
            msg = f"{topic} is no split of an order"
            raise LookupError(msg)
        at = _EPOCH + timedelta(microseconds=placed_at)
        return PlacedSplit(placed_at=at, terms=event.terms, split=event.split)


class LoadedFacts(Facts):
    """The facts of one command. Asking for what was not in its needs is a mistake of the command: LookupError."""

    def __init__(self, needs: Needs, read: _Read) -> None:
        self.now = read.now
        self.prior: Prior | None = None
        self.needs = needs
        self._read = read
        self.seen: list[SeenTouch] = []
        self.repeat = False

    @property
    def open_from(self) -> datetime | None:
        return self._read.open_from

    def aggregate(self, type_: type[A], stream_id: str) -> A | None:
        _check_needed(stream_id, (*self.needs.streams, *self.needs.reads))
        aggregate: Any = None
        for event in self._read.events(stream_id):
            aggregate = event.mutate(aggregate)
        if aggregate is not None and not isinstance(aggregate, type_):
            msg = f"stream {stream_id!r} holds a {type(aggregate).__name__}, not a {type_.__name__}"
            raise LookupError(msg)
        return aggregate

    def document(self, type_: type[D], id_: str) -> D | None:
        found = self.versioned(type_, id_)
        return found[0] if found else None

    def versioned(self, type_: type[D], id_: str) -> tuple[D, int] | None:
        _check_needed((type_, id_), self.needs.documents)
        found = self._read.documents.get((kind_of(type_), id_))
        return (msgspec.json.decode(found[0], type=type_), found[1]) if found else None

    def keyed(self, type_: type[D], key: str) -> D | None:
        _check_needed((type_, key), self.needs.keys)
        return _decoded(self._read.keyed.get((kind_of(type_), key)), type_)

    def terms(self) -> Terms:
        """Raises NotFound where there is no such organisation."""
        organization_id = self.needs.terms_of
        if organization_id is None:
            msg = "terms were not asked for: name the organisation in terms_of"
            raise LookupError(msg)
        terms = self._read.terms.get(organization_id)
        if terms is None:
            msg = f"there is no organization {organization_id!r}"
            raise NotFound(msg, field="organization_id")
        return terms

    def touches(self) -> Sequence[SeenTouch]:
        return self.seen

    def tracking_position(self) -> int:
        return self._read.tracking_position

    def funds(self, payee_id: str, currency: str) -> Funds:
        _check_needed((payee_id, currency), self.needs.funds_of)
        amount, version, credited = self._read.balances.get((payee_available(payee_id), currency), (0, 0, 0))
        taken = sorted(self._read.stretches.get((payee_id, currency), ()), key=lambda part: part.start)
        return Funds(
            payee_id=payee_id,
            currency=currency,
            balance=amount,
            version=version,
            credited=credited,
            taken=tuple(taken),
        )

    def balance(self, account: str, currency: str) -> AccountBalance:
        _check_needed((account, currency), self.needs.balances_of)
        amount, version, _ = self._read.balances.get((account, currency), (0, 0, 0))
        return AccountBalance(amount=amount, version=version)

    def is_repeat(self) -> bool:
        return self.repeat

    def period(self, query: PeriodQuery) -> SeenPeriod:
        _check_needed(query, self.needs.periods_of)
        return self._read.period(place_of(query))

    def revenue(self, query: RevenueQuery) -> SeenRevenue:
        _check_needed(query, self.needs.revenues_of)
        return self._read.revenues[query.key.id]

    def charges(self, organization_id: str, currency: str) -> SeenCharges:
        _check_needed((organization_id, currency), self.needs.charges_of)
        return self._read.charges[organization_id, currency]


def _check_needed(asked: object, needed: Iterable[object]) -> None:
    if asked not in needed:
        msg = f"{asked!r} is not among the command's needs"
        raise LookupError(msg)


def _decoded(body: str | None, type_: type[D]) -> D | None:
    return None if body is None else msgspec.json.decode(body, type=type_)


class FactsReader:
    """Loads the facts of batches of commands of one log. Terms are kept while their head does not move."""

    def __init__(self, log: Log, clock: Clock, mapper: EventMapper | None = None) -> None:
        self._clock = clock
        self._log = log
        self._mapper = mapper or EventMapper()
        self._terms: dict[str, Terms] = {}
        self._stored = (
            f"select position, payload, correlation_id from {log.events_table} where stream_id = %b and version = %b"
        )

    async def load(
        self, connection: Connection, commands: Sequence[Command], needs: Sequence[Needs]
    ) -> list[LoadedFacts]:
        """Read what all the commands need, as of one moment. `needs[i]` are those of `commands[i]`."""
        read = _Read(self._clock.now(), self._mapper)
        facts = [LoadedFacts(need, read) for need in needs]
        known = {need.terms_of: self._terms.get(need.terms_of) for need in needs if need.terms_of is not None}
        positions = {organization_id: terms.position for organization_id, terms in known.items() if terms}
        statement, values = ask(
            commands, needs, events_table=self._log.events_table, known_terms=positions, journals=self._log.journals
        )
        if statement:
            cursor = await connection.execute(statement, values, prepare=True)
            _take(await cursor.fetchall(), read, facts)
        for organization_id, rows in read.terms_rows.items():
            terms = known[organization_id] if rows[0][1] is None else _newer_terms(rows)
            if terms is not None:
                read.terms[organization_id] = self._terms[organization_id] = terms
        for fact, command in zip(facts, commands, strict=True):
            key = command.idempotency
            if key is not None:
                fact.prior = read.by_key.get((key.scope, key.key))
            if fact.prior is None and command.delivery_key is not None:
                fact.prior = read.by_delivery.get(command.delivery_key)
        return facts

    async def recorded_at(self, connection: Connection, prepared: Prepared) -> int | None:
        """The position of the last event of an append whose outcome is unknown, if it was committed after all: its
        first event is then in the log, word for word. None where it has no events."""
        if not prepared.events:
            return None
        first = prepared.events[0]
        cursor = await connection.execute(self._stored, (first.stream_id, first.version))
        row = await cursor.fetchone()
        if row is None or row[1] != first.payload or row[2] != prepared.caller.correlation_id:
            return None
        return int(row[0]) + len(prepared.events) - 1


def _take(rows: Iterable[TupleRow], read: _Read, facts: Sequence[LoadedFacts]) -> None:
    """Give each row its place; what its columns mean is said where it is asked for (questions.py)."""
    parts: dict[str, list[TupleRow]] = defaultdict(list)
    for part, *columns in rows:
        parts[part].append(tuple(columns))
    for stream_id, topic, _, payload, version, _, _ in parts["event"]:
        read.streams.setdefault(stream_id, []).append((version, topic, payload))
    for organization_id, kind, id_, body, position, head, _ in parts["terms"]:
        read.terms_rows.setdefault(organization_id, []).append((head, position, id_, kind, body))
    for scope, key, digest, answer, position, _, _ in parts["key"]:
        read.by_key[scope, key] = Prior(answer, position, digest)
    for source, delivery_id, _, answer, position, _, _ in parts["delivery"]:
        read.by_delivery[source, delivery_id] = Prior(answer, position)
    for kind, id_, _, body, version, _, _ in parts["document"]:
        read.documents[kind, id_] = (body, version)
    for kind, key, _, body, *_ in parts["keyed"]:
        read.keyed[kind, key] = body
    for *_, position, _, _ in parts["tracking"]:
        read.tracking_position = position
    touches = [(command, position, body) for _, _, _, body, position, command, _ in parts["touch"]]
    for command, position, body in sorted(touches):
        facts[command].seen.append(seen_touch(position, body))
    for *_, command, _ in parts["repeat"]:
        facts[command].repeat = True
    _take_ledger(parts, read)
    read.revenues.update({id_: SeenRevenue(revenue=row[4], position=row[3]) for id_, *row in parts["revenue"]})
    _take_periods(parts["period"], read)
    for payee_id, currency, _, stretches, *_ in parts["stretches"]:
        read.stretches.setdefault((payee_id, currency), []).extend(decode_stretches(stretches))


def _take_periods(rows: Iterable[TupleRow], read: _Read) -> None:
    for place, *row in rows:
        read.periods.setdefault(place, []).append(row)


def _take_ledger(parts: Mapping[str, Sequence[TupleRow]], read: _Read) -> None:
    for account, currency, amount, credited, version, _, _ in parts.get("balance", ()):
        read.balances[account, currency] = (int(amount), version, int(credited))
    for organization_id, currency, _, amount, entries, position, _ in parts.get("charges", ()):
        read.charges[organization_id, currency] = SeenCharges(entries=entries, amount=int(amount), position=position)
    for *_, microseconds, _, _ in parts.get("open_from", ()):
        read.open_from = _EPOCH + timedelta(microseconds=microseconds)


def _newer_terms(rows: Iterable[tuple[Any, ...]]) -> Terms | None:
    """Of rows of (position of the terms, position of the document, its id, kind and body)."""
    rows = sorted(rows)
    return build_terms(rows[0][0], [(kind, position, body) for _, position, _, kind, body in rows])


def build_terms(position: int, documents: Iterable[tuple[str, int, str]]) -> Terms | None:
    """Terms from (kind, position, body) of an organisation's documents, ordered by position. None without it."""
    organization: OrganizationDetails | None = None
    stores: dict[str, StoreDetails] = {}
    campaigns: dict[str, KnownCampaign] = {}
    rules: list[KnownRule] = []
    coupons: list[KnownCoupon] = []
    for kind, known_at, body in documents:
        match kind:
            case "organization":
                organization = msgspec.json.decode(body, type=OrganizationDetails)
            case "store":
                store = msgspec.json.decode(body, type=StoreDetails)
                stores[store.id] = store
            case "campaign":
                campaign = msgspec.json.decode(body, type=CampaignDetails)
                campaigns[campaign.id] = KnownCampaign(position=known_at, details=campaign)
            case "commission_rule":
                rule = msgspec.json.decode(body, type=RuleDetails)
                rules.append(KnownRule(position=known_at, details=rule))
            case "coupon":
                coupon = msgspec.json.decode(body, type=CouponDetails)
                coupons.append(KnownCoupon(position=known_at, details=coupon))
            case _:
                msg = f"documents of kind {kind!r} are part of no terms"
                raise ValueError(msg)
    if organization is None:
        return None
    return Terms(
        position=position,
        organization=organization,
        stores=stores,
        campaigns=campaigns,
        rules=tuple(rules),
        coupons=tuple(coupons),
    )
