"""What a batch of commands reads before it decides: one snapshot, one round trip (two when terms moved).

Responsible for turning rows into aggregates, details, terms and funds. Not for deciding what is done with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar, cast

import msgspec
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import TupleRow

from colink.adapters.postgres.append import Log
from colink.adapters.postgres.mapper import EventMapper
from colink.adapters.postgres.prepared import Prepared
from colink.application.ports import Clock, Command, Facts, Needs, RepeatQuery
from colink.domain.aggregates import Aggregate, Event
from colink.domain.campaigns import CampaignDetails
from colink.domain.commission import KnownRule, RuleDetails
from colink.domain.errors import NotFound
from colink.domain.ledger import payee_available
from colink.domain.organizations import OrganizationDetails, StoreDetails
from colink.domain.payouts import Funds, Stretch
from colink.domain.terms import KnownCampaign, KnownCoupon, Terms
from colink.domain.tracking import CouponDetails, SeenTouch
from colink.projections.documents import kind_of
from colink.projections.payouts import HOLDING, decode_stretches
from colink.projections.touches import seen_touch

A = TypeVar("A", bound=Aggregate)
D = TypeVar("D")
Connection = AsyncConnection[TupleRow]

_BEGIN = "begin isolation level repeatable read read only"
_IDEMPOTENCY = """
    select k.scope, k.key, i.request_digest, i.answer, i.position
      from unnest(%b::text[], %b::text[]) as k (scope, key)
     cross join lateral (select request_digest, answer, position from colink.idempotency_keys
                          where scope = k.scope and key = k.key limit 1) i"""
_INBOX = """
    select k.source, k.delivery_id, i.answer, i.position
      from unnest(%b::text[], %b::text[]) as k (source, delivery_id)
     cross join lateral (select answer, position from colink.inbox
                          where source = k.source and delivery_id = k.delivery_id limit 1) i"""
_DOCUMENTS_BY_ID = """
    select k.kind, k.id, d.body
      from unnest(%b::text[], %b::text[]) as k (kind, id)
     cross join lateral (select body from colink.documents
                          where kind = k.kind and id = k.id and current limit 1) d"""
_DOCUMENTS_BY_KEY = """
    select k.kind, k.key, d.body
      from unnest(%b::text[], %b::text[]) as k (kind, key)
     cross join lateral (select body from colink.documents
                          where kind = k.kind and key = k.key and current limit 1) d"""
_TERMS_HEADS = "select organization_id, position from colink.terms_heads where organization_id = any(%b::text[])"
_TERMS = """
    select kind, position, body from colink.documents
     where organization_id = %b and part_of_terms and (current or kind = 'commission_rule')
     order by position, id"""
_TOUCHES = """
    with clicks as (
        select position, body, visitor_id from colink.touches where touch_id = any(%b::text[])
    ), visitors as (
        select unnest(%b::text[]) as visitor_id union select visitor_id from clicks where visitor_id is not null
    )
    select position, body from clicks
    union
    select t.position, t.body
      from visitors v
     cross join lateral (select position, body from colink.touches
                          where visitor_id = v.visitor_id and occurred_at <= coalesce(%b::timestamptz, 'infinity')
                          order by occurred_at desc, position desc limit 50) t
     order by position"""
_TRACKING_HEAD = "select position from colink.tracking_head"
_BALANCES = """
    select k.account, k.currency, b.amount, b.version, b.credited
      from unnest(%b::text[], %b::text[]) as k (account, currency)
     cross join lateral (select amount, version, credited from colink.balances
                          where account = k.account and currency = k.currency limit 1) b"""
_STRETCHES = """
    select p.payee_id, p.currency, p.stretches
      from unnest(%b::text[], %b::text[]) as k (payee_id, currency)
     cross join lateral (select payee_id, currency, stretches from colink.payouts
                          where payee_id = k.payee_id and currency = k.currency and status = any(%b::text[])) p"""
_REPEATS = """
    select distinct q.n
      from unnest(%b::integer[], %b::text[], %b::timestamptz[], %b::text[], %b::text[], %b::text[], %b::text[])
           as q (n, network_hash, since, kind, creator_id, link_id, campaign_id)
     cross join lateral (select from colink.touches t
                          where t.network_hash = q.network_hash and t.occurred_at >= q.since and t.kind = q.kind
                            and t.creator_id = q.creator_id and t.link_id is not distinct from q.link_id
                            and t.campaign_id is not distinct from q.campaign_id limit 1) found"""


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
    documents: dict[tuple[str, str], str] = field(default_factory=dict)
    keyed: dict[tuple[str, str], str] = field(default_factory=dict)
    terms: dict[str, Terms] = field(default_factory=dict)
    tracking_position: int = 0
    balances: dict[tuple[str, str], tuple[int, int, int]] = field(default_factory=dict)
    stretches: dict[tuple[str, str], list[Stretch]] = field(default_factory=dict)
    decoded: dict[str, list[Event]] = field(default_factory=dict)

    def events(self, stream_id: str) -> list[Event]:
        """Decoded when they are first asked for: an event that cannot be read fails the command that needs it."""
        events = self.decoded.get(stream_id)
        if events is None:
            rows = self.streams.get(stream_id, ())
            events = [self.mapper.event(stream_id, version, topic, payload) for version, topic, payload in rows]
            self.decoded[stream_id] = events
        return events


class LoadedFacts(Facts):
    """The facts of one command. Asking for what was not in its needs is a mistake of the command: LookupError."""

    def __init__(self, needs: Needs, read: _Read) -> None:
        self.now = read.now
        self.prior: Prior | None = None
        self.needs = needs
        self._read = read
        self.seen: Sequence[SeenTouch] = ()
        self.repeat = False

    def aggregate(self, type_: type[A], stream_id: str) -> A | None:
        _check_needed(stream_id, self.needs.streams)
        aggregate: Any = None
        for event in self._read.events(stream_id):
            aggregate = event.mutate(aggregate)
        if aggregate is not None and not isinstance(aggregate, type_):
            msg = f"stream {stream_id!r} holds a {type(aggregate).__name__}, not a {type_.__name__}"
            raise LookupError(msg)
        return aggregate

    def document(self, type_: type[D], id_: str) -> D | None:
        _check_needed((type_, id_), self.needs.documents)
        return _decoded(self._read.documents.get((kind_of(type_), id_)), type_)

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

    def is_repeat(self) -> bool:
        return self.repeat


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
        self._mapper = mapper or EventMapper()
        self._terms: dict[str, Terms] = {}
        self._streams = (
            f"select stream_id, version, topic, payload from {log.events_table} "
            "where stream_id = any(%b::text[]) order by stream_id, version"
        )
        self._stored = (
            f"select position, payload, correlation_id from {log.events_table} where stream_id = %b and version = %b"
        )

    async def load(self, connection: Connection, commands: Sequence[Command]) -> list[LoadedFacts]:
        """Read what all the commands need, as of one moment."""
        needs = [command.needs() for command in commands]
        read = _Read(self._clock.now(), self._mapper)
        facts = [LoadedFacts(need, read) for need in needs]
        try:
            await self._load(connection, commands, needs, read, facts)
        finally:
            if not connection.closed:
                await connection.rollback()
        return facts

    async def _load(
        self,
        connection: Connection,
        commands: Sequence[Command],
        needs: Sequence[Needs],
        read: _Read,
        facts: Sequence[LoadedFacts],
    ) -> None:
        asked = _Questions(commands, needs)
        async with connection.pipeline():
            await connection.execute(_BEGIN)
            keys = await _ask_pairs(connection, _IDEMPOTENCY, asked.idempotency)
            inbox = await _ask_pairs(connection, _INBOX, asked.deliveries)
            streams = await _ask(connection, self._streams, asked.streams)
            documents = await _ask_pairs(connection, _DOCUMENTS_BY_ID, asked.documents)
            keyed = await _ask_pairs(connection, _DOCUMENTS_BY_KEY, asked.keys)
            heads = await _ask(connection, _TERMS_HEADS, asked.organizations)
            tracking = await connection.execute(_TRACKING_HEAD) if asked.touches else None
            touches = {n: await _ask_touches(connection, need) for n, need in asked.touches.items()}
            repeats = await connection.execute(_REPEATS, asked.repeats) if asked.repeats else None
            balances = await _ask_pairs(connection, _BALANCES, asked.accounts)
            stretches = await _ask_pairs(connection, _STRETCHES, asked.funds, list(HOLDING))

        for stream_id, version, topic, payload in await _rows(streams):
            read.streams.setdefault(stream_id, []).append((version, topic, payload))
        read.documents = {(kind, id_): body for kind, id_, body in await _rows(documents)}
        read.keyed = {(kind, key): body for kind, key, body in await _rows(keyed)}
        read.balances = {(row[0], row[1]): (row[2], row[3], row[4]) for row in await _rows(balances)}
        for payee_id, currency, text in await _rows(stretches):
            read.stretches.setdefault((payee_id, currency), []).extend(decode_stretches(text))
        if tracking is not None:
            read.tracking_position = (await tracking.fetchall())[0][0]
        for n, cursor in touches.items():
            facts[n].seen = [seen_touch(position, body) for position, body in await cursor.fetchall()]
        for (n,) in await _rows(repeats):
            facts[n].repeat = True
        read.terms = await self._terms_at(connection, dict(cast("list[tuple[str, int]]", await _rows(heads))))

        by_key = {(row[0], row[1]): Prior(row[3], row[4], row[2]) for row in await _rows(keys)}
        by_delivery = {(row[0], row[1]): Prior(row[2], row[3]) for row in await _rows(inbox)}
        for fact, command in zip(facts, commands, strict=True):
            key = command.idempotency
            prior = by_key.get((key.scope, key.key)) if key else None
            if prior is None and command.delivery_key is not None:
                prior = by_delivery.get(command.delivery_key)
            fact.prior = prior

    async def _terms_at(self, connection: Connection, heads: Mapping[str, int]) -> dict[str, Terms]:
        """The terms of each organisation at its head, read in the open snapshot where they moved."""
        found = {}
        for organization_id, position in heads.items():
            terms = self._terms.get(organization_id)
            if terms is None or terms.position != position:
                cursor = await connection.execute(_TERMS, (organization_id,))
                terms = build_terms(position, cast("list[tuple[str, int, str]]", await cursor.fetchall()))
                if terms is None:
                    continue
                self._terms[organization_id] = terms
            found[organization_id] = terms
        return found

    async def recorded_at(self, connection: Connection, prepared: Prepared) -> int | None:
        """The position of the last event of an append whose outcome is unknown, if it was committed after all: its
        first event is then in the log, word for word. None where it has no events."""
        if not prepared.events:
            return None
        first = prepared.events[0].stored
        cursor = await connection.execute(self._stored, (str(first.originator_id), first.originator_version))
        row = await cursor.fetchone()
        if row is None or row[1] != first.state.decode() or row[2] != prepared.caller.correlation_id:
            return None
        return int(row[0]) + len(prepared.events) - 1


class _Questions:
    """What a batch asks for, each thing once."""

    def __init__(self, commands: Sequence[Command], needs: Sequence[Needs]) -> None:
        keys = [command.idempotency for command in commands]
        self.idempotency = list(dict.fromkeys((key.scope, key.key) for key in keys if key))
        self.deliveries = list(dict.fromkeys(c.delivery_key for c in commands if c.delivery_key is not None))
        self.streams = list(dict.fromkeys(stream for need in needs for stream in need.streams))
        self.documents = list(dict.fromkeys((kind_of(type_), id_) for n in needs for type_, id_ in n.documents))
        self.keys = list(dict.fromkeys((kind_of(type_), key) for n in needs for type_, key in n.keys))
        self.organizations = list(dict.fromkeys(need.terms_of for need in needs if need.terms_of is not None))
        self.touches = {n: need for n, need in enumerate(needs) if need.touches_for is not None}
        self.repeats = _repeat_columns([(n, need.repeats_of) for n, need in enumerate(needs) if need.repeats_of])
        self.funds = list(dict.fromkeys(pair for need in needs for pair in need.funds_of))
        self.accounts = [(payee_available(payee_id), currency) for payee_id, currency in self.funds]


async def _ask(connection: Connection, query: str, values: Sequence[str]) -> AsyncCursor[TupleRow] | None:
    return await connection.execute(query, (list(values),)) if values else None


async def _ask_pairs(
    connection: Connection, query: str, pairs: Sequence[tuple[str, str]], *more: object
) -> AsyncCursor[TupleRow] | None:
    if not pairs:
        return None
    return await connection.execute(query, ([first for first, _ in pairs], [second for _, second in pairs], *more))


async def _ask_touches(connection: Connection, needs: Needs) -> AsyncCursor[TupleRow]:
    keys = needs.touches_for
    clicks, visitors = (list(keys.click_ids), list(keys.visitor_ids)) if keys else ([], [])
    return await connection.execute(_TOUCHES, (clicks, visitors, needs.touches_before))


def _repeat_columns(queries: Sequence[tuple[int, RepeatQuery]]) -> list[list[object]]:
    """The parameters of _REPEATS, a row for each network hash; empty where nothing is asked."""
    rows = [
        (n, network_hash, query.since, query.kind, query.creator_id, query.link_id, query.campaign_id)
        for n, query in queries
        for network_hash in query.network_hashes
    ]
    return [list(column) for column in zip(*rows, strict=True)]


async def _rows(cursor: AsyncCursor[TupleRow] | None) -> list[TupleRow]:
    return await cursor.fetchall() if cursor else []


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
