"""The pass `commission`, as far as it looks at more than one order: revenues that tiers were decided by, true-ups,
and that what had to be counted was. (What one order earns is derived again with the order.)

    every count                  says what the orders, as of the position that it saw, come to
    every clearing of an order   comes after the first counts of its periods, once these have ended
    every split                  rests on revenues that were decided before it
    every change of a period     is counted again; where it is not an hour later, the worker may be behind: it is said

Whether a period has ended is judged by the times of the log, never by a clock. Only the orders of organisations that
count, by a rule or by an event, are read, in order, up to the end. Memory holds one split of each of their orders.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from colink.domain.aggregates import Event
from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.audit.terms import TermsBook
from colink.domain.audit.true_ups import (
    Counting,
    Sales,
    Share,
    TrueUpReplay,
    check_count,
    check_revenues,
    periods_of,
    shares_of,
)
from colink.domain.orders import OrderAttributed, OrderCleared, OrderSplit
from colink.domain.tiers import TierDecided
from colink.domain.true_up_counts import PeriodKey
from colink.domain.true_ups import TrueUpCleared, TrueUpCounted, TrueUpRecounted, TrueUpReleased
from colink.projections.audit.derivation import DerivationCheck
from colink.projections.audit.part import Part
from colink.projections.audit.reading import Window
from colink.projections.audit.rows import each_row
from colink.projections.engine import Connection, Decoder

LONG_AFTER = timedelta(hours=1)
"""The worker counts within seconds. What the log does not show after so much time has to be said."""
_COUNTS = (TierDecided.TOPIC, TrueUpCounted.TOPIC, TrueUpRecounted.TOPIC)
_ORDERS = (OrderAttributed.TOPIC, OrderSplit.TOPIC, OrderCleared.TOPIC)
_TRUE_UPS = frozenset({TrueUpCounted.TOPIC, TrueUpRecounted.TOPIC, TrueUpCleared.TOPIC, TrueUpReleased.TOPIC})
_NAMED = 3  # periods that a reason names


class TrueUpCheck:
    """True-ups inside a window: each event builds on the one before it; `derivation` is told the journals."""

    def __init__(self, part: Part, derivation: DerivationCheck | None) -> None:
        self._result = part.results.get(Pass.COMMISSION) or PassResult(audit_pass=Pass.COMMISSION)
        self._derivation = derivation

    def check(self, window: Window) -> None:
        for stream_id, rows in window.streams.items():
            if rows[0].topic not in _TRUE_UPS:
                continue
            replay = TrueUpReplay()
            for _, event in window.earlier_events(stream_id):
                replay.follow(event)
            for position, event in window.events(rows, _TRUE_UPS, self._result):
                journals = replay.feed(position, event, self._result)
                if self._derivation is not None:
                    self._derivation.expect(journals)


async def check_counts(
    conn: Connection, result: PassResult, decode: Decoder, book: TermsBook, *, first: int, last: int
) -> None:
    """Derive every count between the positions again, and find those that are missing. Raises what a database that
    cannot be read deserves."""
    counts: list[tuple[int, Event]] = []
    organizations = set(book.counting())
    rows = each_row(
        conn,
        "SELECT position, stream_id, version, topic, payload, organization_id FROM colink.events"
        " WHERE topic = ANY(%s) AND position <= %s ORDER BY position",
        (list(_COUNTS), last),
    )
    async for position, stream_id, version, topic, payload, organization_id in rows:
        try:
            counts.append((position, decode(stream_id, version, topic, payload)))
        except Exception as error:  # noqa: BLE001 - whatever a damaged event provokes is what there is to report
            result.find(Kind.UNREADABLE, position, stream_id, f"event {version} is unreadable: {error}")
        organizations.add(organization_id)
    if organizations:
        cursor = await conn.execute(
            "SELECT recorded_at FROM colink.events WHERE position <= %s ORDER BY position DESC LIMIT 1", (last,)
        )
        ends_at = [at for (at,) in await cursor.fetchall()]
        checked = _Counts(result, book, counts, first=first)
        await checked.check(conn, decode, organizations, last)
        checked.say_what_waits(until=max(ends_at, default=None))


@dataclass(slots=True, kw_only=True)
class _Changed:
    """When a period changed last, and when it ends."""

    position: int
    recorded_at: datetime
    ends_at: datetime


class _Counts:
    def __init__(self, result: PassResult, book: TermsBook, counts: list[tuple[int, Event]], *, first: int) -> None:
        self._result, self._book, self._first = result, book, first
        self._sales = Sales()
        self._keys: dict[str, PeriodKey] = {}
        self._made: dict[str, int] = {}
        self._decisions: dict[str, TierDecided] = {}
        self._recorded = [(position, event) for position, event in counts if isinstance(event, Counting)]
        # A count is compared with the sales as of the position that it saw, not of its own.
        self._by_seen = sorted(self._recorded, key=lambda each: (each[1].position, each[0]), reverse=True)
        self._splits: dict[str, OrderSplit] = {}
        self._shares: dict[str, dict[str, Share]] = {}
        self._changed: dict[str, _Changed] = {}
        self._counted: dict[str, int] = {}
        self._uncounted: set[tuple[str, str]] = set()
        for position, event in self._recorded:
            self._made.setdefault(event.originator_id, position)
            if isinstance(event, TierDecided):
                self._decisions.setdefault(event.originator_id, event)
                continue
            self._counted[event.originator_id] = max(self._counted.get(event.originator_id, 0), event.position)
            if isinstance(event, TrueUpCounted):
                self._keys[event.originator_id] = PeriodKey(
                    organization_id=event.organization_id,
                    rule_id=event.rule_id,
                    creator_id=event.creator_id,
                    currency=event.currency,
                    period=event.period,
                )

    async def check(self, conn: Connection, decode: Decoder, organizations: Iterable[str], last: int) -> None:
        rows = each_row(
            conn,
            "SELECT position, stream_id, version, topic, payload, organization_id, recorded_at FROM colink.events"
            " WHERE topic = ANY(%s) AND organization_id = ANY(%s) AND position <= %s ORDER BY position",
            (list(_ORDERS), sorted(organizations), last),
        )
        async for position, stream_id, version, topic, payload, organization_id, recorded_at in rows:
            self._compare_up_to(position)
            try:
                event = decode(stream_id, version, topic, payload)
            except Exception:  # noqa: BLE001, S112 - it is a finding of the pass over orders
                continue
            self._sales.follow(organization_id, event)
            if isinstance(event, OrderSplit):
                self._check_split(position, event)
                self._follow_split(position, organization_id, event, recorded_at)
            elif isinstance(event, OrderCleared) and stream_id in self._splits:
                self._check_cleared(position, organization_id, self._splits[stream_id], event)
        self._compare_up_to(None)

    def _compare_up_to(self, position: int | None) -> None:
        """Compare the counts that saw nothing from this position on."""
        while self._by_seen and (position is None or self._by_seen[-1][1].position < position):
            at, event = self._by_seen.pop()
            if at >= self._first:
                self._compare(at, event)

    def _compare(self, position: int, event: Counting) -> None:
        key = self._keys.get(event.originator_id)
        try:
            check_count(self._result, position, event, self._sales, self._book, key=key)
        except Exception as error:  # noqa: BLE001 - what a damaged event provokes is what there is to report
            message = f"{event.originator_id} cannot be counted again: {type(error).__name__}: {error}"
            self._result.find(Kind.UNREADABLE, position, event.originator_id, message)

    def _check_split(self, position: int, event: OrderSplit) -> None:
        if position >= self._first and event.split.revenues:
            ids = [each.decision_id for each in event.split.revenues]
            decided = {id_: self._decided_before(id_, position) for id_ in ids}
            check_revenues(self._result, position, event, decided)

    def _decided_before(self, decision_id: str, position: int) -> TierDecided | None:
        return self._decisions.get(decision_id) if self._made.get(decision_id, position) < position else None

    def _follow_split(self, position: int, organization_id: str, event: OrderSplit, recorded_at: datetime) -> None:
        """Which periods the order's part changed in."""
        order_id, before = event.originator_id, self._shares.get(event.originator_id, {})
        if not event.split.periods and not before:
            return
        after = shares_of(organization_id, event.split)
        ends = {key.id: ends_at for key, ends_at in periods_of(organization_id, event.split)}
        for id_ in before.keys() | after.keys():
            if before.get(id_) != after.get(id_):
                ends_at = ends[id_] if id_ in ends else self._changed[id_].ends_at
                self._changed[id_] = _Changed(position=position, recorded_at=recorded_at, ends_at=ends_at)
        self._shares[order_id], self._splits[order_id] = after, event

    def _check_cleared(self, position: int, organization_id: str, split: OrderSplit, event: OrderCleared) -> None:
        """Nothing of an order clears once a period of it has ended, by the clock of who cleared it, and before that
        was counted: what is counted together stands before any of it clears (semantics section 4)."""
        for key, ends_at in periods_of(organization_id, split.split):
            if position < self._first or ends_at > event.timestamp:
                continue
            self._result.checked += 1
            uncounted = self._made.get(key.id, position) >= position
            if uncounted and (event.originator_id, key.id) not in self._uncounted:
                self._uncounted.add((event.originator_id, key.id))  # where it begins is what there is to know
                self._result.find(
                    Kind.MISSING,
                    position,
                    event.originator_id,
                    f"{event.originator_id} cleared before {key.id} was counted",
                )

    def say_what_waits(self, *, until: datetime | None) -> None:
        """Changes that were not counted long after. `until`: where the log ends."""
        waiting = [
            (each.position, id_)
            for id_, each in self._changed.items()
            if each.position >= self._first
            and each.position > self._counted.get(id_, 0)
            and until is not None
            and max(each.recorded_at, each.ends_at) + LONG_AFTER < until
        ]
        if waiting:
            named = ", ".join([f"{id_} since position {position}" for position, id_ in sorted(waiting)[:_NAMED]])
            more = ", ..." if len(waiting) > _NAMED else ""
            self._result.leaves_out(
                f"{len(waiting):,} days or months that have ended changed and were not counted since, an hour later"
                f" or more: the worker may be behind ({named}{more})"
            )
