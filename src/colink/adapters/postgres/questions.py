"""What a batch of commands asks of the database, as one statement: one round trip, and one snapshot of everything.

The statement is the union of the parts that the batch needs. Every part has the columns (part, first, second, third,
body, position, number, other), so that their rows go together; what they mean is said above each part. Commands are
known by their ordinal in the batch, counted from 0. Not responsible for what is made of the rows (facts.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

from colink.application.ports import Command, Needs, PeriodQuery, RevenueQuery
from colink.domain.ledger import payee_available
from colink.projections.documents import kind_of
from colink.projections.payouts import HOLDING
from colink.projections.seller_billing import CHARGES

T = TypeVar("T")

# How much older a touch may be than what is looked for says, by when it was recorded.
_LONGEST_WINDOW = timedelta(days=366)  # of a campaign: a year, and the day by which clocks may differ
_CLOCKS_DIFFER = timedelta(days=1)

# scope, key, request digest; answer, position.
_IDEMPOTENCY = """
    select 'key', k.scope, k.key, i.request_digest, i.answer, i.position, null::bigint, null::bigint
      from unnest(%b::text[], %b::text[]) as k (scope, key)
     cross join lateral (select request_digest, answer, position from colink.idempotency_keys
                          where scope = k.scope and key = k.key limit 1) i"""
# source, delivery id; answer, position.
_INBOX = """
    select 'delivery', k.source, k.delivery_id, null, i.answer, i.position, null::bigint, null::bigint
      from unnest(%b::text[], %b::text[]) as k (source, delivery_id)
     cross join lateral (select answer, position from colink.inbox
                          where source = k.source and delivery_id = k.delivery_id limit 1) i"""
# stream, topic; payload, version.
_STREAMS = """
    select 'event', e.stream_id, e.topic, null, e.payload, e.version::bigint, null::bigint, null::bigint
      from {events} e where e.stream_id = any(%b::text[])"""
# kind, id; body, version.
_DOCUMENTS_BY_ID = """
    select 'document', k.kind, k.id, null, d.body, d.version::bigint, null::bigint, null::bigint
      from unnest(%b::text[], %b::text[]) as k (kind, id)
     cross join lateral (select body, version from colink.documents
                          where kind = k.kind and id = k.id and current limit 1) d"""
# kind, key; body.
_DOCUMENTS_BY_KEY = """
    select 'keyed', k.kind, k.key, null, d.body, null::bigint, null::bigint, null::bigint
      from unnest(%b::text[], %b::text[]) as k (kind, key)
     cross join lateral (select body from colink.documents
                          where kind = k.kind and key = k.key and current limit 1) d"""
# organisation, kind, id of a document of its terms; body, position of the document, position of the terms. One row
# without a document where the terms are known at that position already.
_TERMS = """
    select 'terms', k.organization_id, d.kind, d.id, d.body, d.position, h.position, null::bigint
      from unnest(%b::text[], %b::bigint[]) as k (organization_id, known)
     cross join lateral (select position from colink.terms_heads
                          where organization_id = k.organization_id limit 1) h
      left join lateral (select kind, id, body, position from colink.documents
                          where organization_id = k.organization_id and part_of_terms
                            and (current or kind = 'commission_rule') and h.position <> k.known) d on true"""
_TRACKING_HEAD = """
    select 'tracking', null, null, null, null, position, null::bigint, null::bigint from colink.tracking_head"""
# body, position, command. The clicks a command names, and the newest 50 touches of each visitor, named or of a click,
# that occurred no later than the command's moment. Both keep out of months in which nothing can be found: before the
# clicks' ids were made, and more than the longest window before the moments. One value each for the whole statement:
# only then are older months left out before they are opened.
_TOUCHES = """
    select 'touch', null, null, null, t.body, t.position, t.command, null::bigint
      from (
        with clicks as (
            select k.command, k.moment, t.position, t.body, t.visitor_id
              from unnest(%b::bigint[], %b::timestamptz[], %b::text[]) as k (command, moment, touch_id)
             cross join lateral (select position, body, visitor_id from colink.touches
                                  where touch_id = k.touch_id
                                    and recorded_at >= colink.earliest_id_time(%b::text[])) t
        ), visitors as (
            select k.command, k.moment, k.visitor_id
              from unnest(%b::bigint[], %b::timestamptz[], %b::text[]) as k (command, moment, visitor_id)
            union
            select command, moment, visitor_id from clicks where visitor_id is not null
        )
        select command, position, body from clicks
        union
        select v.command, t.position, t.body
          from visitors v
         cross join lateral (select position, body from colink.touches
                              where visitor_id = v.visitor_id
                                and occurred_at <= coalesce(v.moment, 'infinity'::timestamptz)
                                and recorded_at >= coalesce(%b::timestamptz, '-infinity')
                              order by occurred_at desc, position desc limit 50) t
      ) t"""
# command. One row for each network from which the same was touched. The newest first: an ordered scan of the index
# stops at the first match, where a bitmap would gather all touches of the hour.
_REPEATS = """
    select 'repeat', null, null, null, null, null::bigint, k.command, null::bigint
      from unnest(%b::bigint[], %b::text[], %b::timestamptz[], %b::text[], %b::text[], %b::text[], %b::text[])
           as k (command, network_hash, since, kind, creator_id, link_id, campaign_id)
     cross join lateral (select from colink.touches t
                          where t.network_hash = k.network_hash and t.occurred_at >= k.since
                            and t.recorded_at >= %b::timestamptz and t.kind = k.kind
                            and t.creator_id = k.creator_id and t.link_id is not distinct from k.link_id
                            and t.campaign_id is not distinct from k.campaign_id
                          order by t.occurred_at desc limit 1) found"""
# account, currency, amount, length of the line of credits (as texts, which every sum fits); version.
_BALANCES = """
    select 'balance', k.account, k.currency, b.amount::text, b.credited::text, b.version, null::bigint, null::bigint
      from unnest(%b::text[], %b::text[]) as k (account, currency)
     cross join lateral (select amount, version, credited from colink.balances
                          where account = k.account and currency = k.currency limit 1) b"""
# the moment from which the ledger is open, in microseconds since 1970; no row where no period was closed.
_OPEN_FROM = """
    select 'open_from', null, null, null, null, (extract(epoch from open_from) * 1000000)::bigint, null::bigint,
           null::bigint
      from colink.log_head where id = 1 and open_from is not null"""
# payee, currency; stretches.
_STRETCHES = """
    select 'stretches', k.payee_id, k.currency, null, p.stretches, null::bigint, null::bigint, null::bigint
      from unnest(%b::text[], %b::text[]) as k (payee_id, currency)
     cross join lateral (select stretches from colink.payouts
                          where payee_id = k.payee_id and currency = k.currency and status = any(%b::text[])) p"""

# decision; position of the log, revenue. Opens the orders of one creator, and of those the ones placed in the time
# asked for. A split in another currency or of another creator counts nothing, nor a line that is held (audited by
# domain/audit/true_ups.py in Python: `Split.counting_lines`).
_REVENUES = """
    select 'revenue', k.id, null, null, null, (select position from colink.log_head), r.revenue, null::bigint
      from unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::timestamptz[], %b::timestamptz[])
           as k (id, organization_id, creator_id, currency, since, until)
     cross join lateral (
        select coalesce(sum((line ->> 'base')::bigint - (line ->> 'reversed_base')::bigint), 0)::bigint as revenue
          from colink.orders o
         cross join lateral (select payload::jsonb -> 'split' as split from {events}
                              where stream_id = o.order_id and topic = 'order.split'
                              order by version desc limit 1) e
         cross join lateral jsonb_array_elements(e.split -> 'lines') line
         where o.creator_id = k.creator_id and o.organization_id = k.organization_id
           and o.placed_at >= coalesce(k.since, '-infinity') and o.placed_at < k.until
           and e.split ->> 'currency' = k.currency and e.split ->> 'creator_id' = k.creator_id
           and not coalesce(e.split -> 'held_lines' ? (line ->> 'line_id'), false)) r"""

# place of the question, order, topic; payload, version, position of the log, microseconds since 1970 at which the
# order was placed. At least one row, without an order, for each question.
_PERIODS = """
    select 'period', k.place, o.order_id, o.topic, o.payload, o.version::bigint,
           (select position from colink.log_head), o.placed
      from unnest(%b::text[], %b::text[], %b::text[], %b::timestamptz[], %b::timestamptz[])
           as k (place, organization_id, creator_id, since, until)
      left join lateral (
        select o.order_id, e.topic, e.payload, e.version,
               (extract(epoch from o.placed_at) * 1000000)::bigint as placed
          from colink.orders o
         cross join lateral (select topic, payload, version from {events}
                              where stream_id = o.order_id and topic = 'order.split'
                              order by version desc limit 1) e
         where o.creator_id = k.creator_id and o.organization_id = k.organization_id
           and o.placed_at >= k.since and o.placed_at < k.until) o on true"""

# organisation, currency, what the entries come to (as text, which every sum fits); how many they are, position of the
# log.
_CHARGES = f"""
    select 'charges', k.organization_id, k.currency, null, c.amount, c.entries,
           (select position from colink.log_head), null::bigint
      from unnest(%b::text[], %b::text[]) as k (organization_id, currency)
     cross join lateral (
        select coalesce(sum(amount), 0)::text as amount, count(*) as entries
          from colink.entries e
         where account = 'seller:' || k.organization_id || ':receivable' and currency = k.currency
           and {CHARGES}) c"""


def ask(
    commands: Sequence[Command],
    needs: Sequence[Needs],
    *,
    events_table: str,
    known_terms: Mapping[str, int],
    journals: bool,
) -> tuple[str, list[object]]:
    """The statement and its parameters; an empty statement where nothing has to be read. `known_terms`: positions of
    the terms that need not be read again, by organisation. `journals`: whether the log has any."""
    asked = _Asked()
    keys = [command.idempotency for command in commands]
    asked.rows(_IDEMPOTENCY, _once((key.scope, key.key) for key in keys if key))
    asked.rows(_INBOX, _once(command.delivery_key for command in commands if command.delivery_key is not None))
    asked.rows(
        _STREAMS.format(events=events_table),
        _once((stream,) for need in needs for stream in (*need.streams, *need.reads)),
    )
    asked.rows(_DOCUMENTS_BY_ID, _once((kind_of(type_), id_) for need in needs for type_, id_ in need.documents))
    asked.rows(_DOCUMENTS_BY_KEY, _once((kind_of(type_), key) for need in needs for type_, key in need.keys))
    organizations = _once(need.terms_of for need in needs if need.terms_of is not None)
    asked.rows(_TERMS, [(organization, known_terms.get(organization, -1)) for organization in organizations])
    _ask_touches(asked, needs)
    queries = [(command, need.repeats_of) for command, need in enumerate(needs) if need.repeats_of is not None]
    if queries:
        rows = [
            (command, network, query.since, query.kind, query.creator_id, query.link_id, query.campaign_id)
            for command, query in queries
            for network in query.network_hashes
        ]
        asked.rows(_REPEATS, rows, min(query.since for _, query in queries) - _CLOCKS_DIFFER)
    funds = _once(pair for need in needs for pair in need.funds_of)
    balances = [(payee_available(payee_id), currency) for payee_id, currency in funds]
    asked.rows(_BALANCES, _once([*balances, *(pair for need in needs for pair in need.balances_of)]))
    asked.rows(_STRETCHES, funds, list(HOLDING))
    revenues = _once(query for need in needs for query in need.revenues_of)
    asked.rows(_REVENUES.format(events=events_table), [_revenue_row(query) for query in revenues])
    periods = _once(query for need in needs for query in need.periods_of)
    asked.rows(_PERIODS.format(events=events_table), [_period_row(query) for query in periods])
    asked.rows(_CHARGES, _once(pair for need in needs for pair in need.charges_of))
    if journals:
        asked.parts.append(_OPEN_FROM)
    return " union all ".join(asked.parts), asked.values


def place_of(query: PeriodQuery) -> str:
    """How the rows of a question name it."""
    return f"{query.creator_id} {query.organization_id} {query.since.isoformat()} {query.until.isoformat()}"


def _period_row(query: PeriodQuery) -> tuple[object, ...]:
    return (place_of(query), query.organization_id, query.creator_id, query.since, query.until)


def _revenue_row(query: RevenueQuery) -> tuple[object, ...]:
    key = query.key
    return (key.id, key.organization_id, key.creator_id, key.currency, query.since, query.until)


class _Asked:
    """The parts of a statement and their parameters, as they are put together."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.values: list[object] = []

    def rows(self, sql: str, rows: Sequence[tuple[object, ...]], *more: object) -> None:
        """A part that takes one array for each column of `rows`, and `more`; left out where there are no rows."""
        if rows:
            self.parts.append(sql)
            self.values += map(list, zip(*rows, strict=True))
            self.values += more


def _ask_touches(asked: _Asked, needs: Sequence[Needs]) -> None:
    clicks: list[tuple[object, ...]] = []
    visitors: list[tuple[object, ...]] = []
    concerned = False
    for command, need in enumerate(needs):
        keys = need.touches_for
        if keys is not None:
            concerned = True
            clicks += [(command, need.touches_before, click) for click in keys.click_ids]
            visitors += [(command, need.touches_before, visitor) for visitor in keys.visitor_ids]
    if concerned:
        asked.parts.append(_TRACKING_HEAD)
    if clicks or visitors:
        asked.parts.append(_TOUCHES)
        moments = [need.touches_before for need in needs if need.touches_for is not None]
        known = [moment for moment in moments if moment is not None]
        asked.values += map(list, zip(*clicks, strict=True)) if clicks else ([], [], [])
        asked.values.append([click for _, _, click in clicks])
        asked.values += map(list, zip(*visitors, strict=True)) if visitors else ([], [], [])
        asked.values.append(min(known) - _LONGEST_WINDOW if len(known) == len(moments) else None)


def _once(values: Iterable[T]) -> list[T]:
    """Each value once, in the order in which they came."""
    return list(dict.fromkeys(values))
