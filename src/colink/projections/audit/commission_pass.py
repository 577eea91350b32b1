"""The pass `commission`, as far as it looks at more than one order: revenues that tiers were decided by, true-ups,
and that nothing cleared before its period was counted. (What one order earns is derived again with the order.)

Only where something was counted, the splits of those organisations are read, in order, up to where the counts looked.
Memory holds one split of each of their orders.
"""

from __future__ import annotations

from colink.domain.aggregates import Event
from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.audit.terms import TermsBook
from colink.domain.audit.true_ups import Counting, Sales, TrueUpReplay, check_count, check_revenues
from colink.domain.orders import OrderAttributed, OrderCleared, OrderSplit
from colink.domain.tiers import TierDecided
from colink.domain.true_ups import PeriodKey, TrueUpCleared, TrueUpCounted, TrueUpRecounted, TrueUpReleased
from colink.projections.audit.derivation import DerivationCheck
from colink.projections.audit.part import Part
from colink.projections.audit.reading import Window
from colink.projections.audit.rows import each_row
from colink.projections.engine import Connection, Decoder

_COUNTS = (TierDecided.TOPIC, TrueUpCounted.TOPIC, TrueUpRecounted.TOPIC)
_ORDERS = (OrderAttributed.TOPIC, OrderSplit.TOPIC, OrderCleared.TOPIC)
_TRUE_UPS = frozenset({TrueUpCounted.TOPIC, TrueUpRecounted.TOPIC, TrueUpCleared.TOPIC, TrueUpReleased.TOPIC})


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
    """Derive every count between the positions again. Raises what a database that cannot be read deserves."""
    counts: list[tuple[int, Event]] = []
    organizations: set[str] = set()
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
    if counts:
        await _Counts(result, book, counts, first=first).check(conn, decode, organizations, last)


class _Counts:
    def __init__(self, result: PassResult, book: TermsBook, counts: list[tuple[int, Event]], *, first: int) -> None:
        self._result, self._book, self._first = result, book, first
        self._sales = Sales()
        self._keys: dict[str, PeriodKey] = {}
        self._made: dict[str, int] = {}
        self._decisions: dict[str, TierDecided] = {}
        self._recorded = [(position, event) for position, event in counts if isinstance(event, Counting)]
        # A count is compared with the sales as of the position that it saw, not of its own.
        self._by_seen = sorted(self._recorded, key=lambda each: (each[1].position, each[0]))
        for position, event in self._recorded:
            self._made.setdefault(event.originator_id, position)
            if isinstance(event, TrueUpCounted):
                self._keys[event.originator_id] = PeriodKey(
                    organization_id=event.organization_id,
                    rule_id=event.rule_id,
                    creator_id=event.creator_id,
                    currency=event.currency,
                    period=event.period,
                )
            elif isinstance(event, TierDecided):
                self._decisions.setdefault(event.originator_id, event)

    async def check(self, conn: Connection, decode: Decoder, organizations: set[str], last: int) -> None:
        rows = each_row(
            conn,
            "SELECT position, stream_id, version, topic, payload, organization_id FROM colink.events"
            " WHERE topic = ANY(%s) AND organization_id = ANY(%s) AND position <= %s ORDER BY position",
            (list(_ORDERS), list(organizations), last),
        )
        splits: dict[str, OrderSplit] = {}
        async for position, stream_id, version, topic, payload, organization_id in rows:
            self._compare_up_to(position)
            try:
                event = decode(stream_id, version, topic, payload)
            except Exception:  # noqa: BLE001, S112 - it is a finding of the pass over orders
                continue
            self._sales.follow(organization_id, event)
            if isinstance(event, OrderSplit):
                self._check_split(position, event)
                if event.split.periods:
                    splits[stream_id] = event
            elif isinstance(event, OrderCleared) and stream_id in splits:
                self._check_cleared(position, organization_id, splits[stream_id], event)
        self._compare_up_to(None)

    def _compare_up_to(self, position: int | None) -> None:
        """Compare the counts that saw nothing from this position on."""
        while self._by_seen and (position is None or self._by_seen[0][1].position < position):
            at, event = self._by_seen.pop(0)
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
            known = {id_: each for id_, each in self._decisions.items() if self._made[id_] < position}
            check_revenues(self._result, position, event, known)

    def _check_cleared(self, position: int, organization_id: str, split: OrderSplit, event: OrderCleared) -> None:
        """What a rule counts by the period clears after the period was counted."""
        for period in split.split.periods:
            key = PeriodKey(
                organization_id=organization_id,
                rule_id=period.rule_id,
                creator_id=split.split.creator_id or "",
                currency=split.split.currency,
                period=period.period,
            )
            due = position >= self._first and period.ends_at <= event.due_at
            if due and self._made.get(key.id, position) >= position:
                self._result.find(
                    Kind.MISSING,
                    position,
                    event.originator_id,
                    f"{event.originator_id} cleared before {key.id} was counted",
                )
