"""Which days and months are to be trued up: those that ended and were not counted since one of their orders changed.

Responsible for finding them, a moment after the log; the command that counts reads everything anew, so a row that is
late costs a later or an idle count, never money. Only orders that a rule counts by the day or month are kept.

    order.split    -->  what the order adds to each of its periods; where that changed, the period changed
    true_up.*      -->  up to where it was counted, when something of it clears, and what of it waits for the seller's
                        money, since when nothing but that keeps it
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import msgspec

from colink.application.true_up_job import ChangedPeriod, Covered
from colink.domain.orders import OrderSplit
from colink.domain.seller_account_events import SellerAccountDetails
from colink.domain.true_up_counts import PeriodKey
from colink.domain.true_ups import TrueUpCleared, TrueUpCounted, TrueUpRecounted, TrueUpReleased
from colink.projections.arrays import numbers, texts
from colink.projections.documents import kind_of
from colink.projections.logs import Connection, Log, LogEvent, Parts, Pool
from colink.projections.versions import find_live_version, table

NAME = "true_ups"


class _Rule(msgspec.Struct, gc=False):
    id: str
    version: int


class _Line(msgspec.Struct, gc=False):
    line_id: str | None
    base: int
    commission: int
    rule: _Rule | None
    reversed_base: int
    reversed_commission: int


class _Period(msgspec.Struct, gc=False):
    rule_id: str
    period: str
    ends_at: str


class _Split(msgspec.Struct, gc=False):
    currency: str
    creator_id: str | None
    lines: list[_Line]
    periods: list[_Period]
    waits_for_seller: bool | None = None
    held_lines: list[str] | None = None


class SplitPart(msgspec.Struct, gc=False):
    """Of `OrderSplit`."""

    split: _Split


class _Tranche(msgspec.Struct, gc=False):
    due_at: str
    amount: int


class _Claim(msgspec.Struct, gc=False):
    held: int
    maturing: list[_Tranche]

    def waits_since(self) -> str:
        """From when on some of what is held is due."""
        not_due = sum([tranche.amount for tranche in self.maturing])
        for tranche in self.maturing:
            not_due -= tranche.amount
            if self.held > not_due:
                return tranche.due_at
        return ""


class _Count(msgspec.Struct, gc=False):
    clears_at: str | None
    claims: list[_Claim]


class CountPart(msgspec.Struct, gc=False):
    """Of `TrueUpCounted` and `TrueUpRecounted`."""

    position: int
    count: _Count


class ClearedPart(msgspec.Struct, gc=False):
    """Of `TrueUpCleared` and `TrueUpReleased`."""

    count: _Count


@dataclass(slots=True)
class _PeriodState:
    """A row of `true_up_periods`, but for its id; times as RFC 3339, empty: none."""

    organization_id: str = ""
    rule_id: str = ""
    creator_id: str = ""
    currency: str = ""
    period: str = ""
    ends_at: str = ""
    changed_position: int = 0
    counted_position: int = 0
    clears_at: str = ""
    held: int = 0
    waits_since: str = ""


_Additions = dict[str, str]
"""What an order adds, by the id of the true-up: a text that is another one when it adds something else."""


class TrueUps:
    """The projection."""

    name: ClassVar[str] = NAME
    shape: ClassVar[int] = 2
    tables: ClassVar[Mapping[str, str]] = {
        "true_up_orders": """(
            order_id  text primary key,
            additions text not null
        ) WITH (fillfactor = 80)""",
        "true_up_periods": """(
            true_up_id       text        primary key,
            organization_id  text        not null,
            rule_id          text        not null,
            creator_id       text        not null,
            currency         text        not null,
            period           text        not null,
            ends_at          timestamptz,
            changed_position bigint      not null,
            counted_position bigint      not null,
            clears_at        timestamptz,
            held             bigint      not null,
            waits_since      timestamptz
        ) WITH (fillfactor = 80)""",
    }
    parts: ClassVar[Mapping[Log, Parts]] = {
        Log.COMMERCE: {
            OrderSplit: SplitPart,
            TrueUpCounted: CountPart,
            TrueUpRecounted: CountPart,
            TrueUpCleared: ClearedPart,
            TrueUpReleased: ClearedPart,
        }
    }

    async def apply(self, conn: Connection, version: int, log: Log, events: list[LogEvent]) -> None:  # noqa: ARG002 - one log only
        orders, periods = table("true_up_orders", version), table("true_up_periods", version)
        splits = {event.stream_id for event in events if isinstance(event.part, SplitPart)}
        known = await _load_orders(conn, orders, splits)
        if not known and all(isinstance(event.part, SplitPart) and not event.part.split.periods for event in events):
            return
        ids = {event.stream_id for event in events} - splits
        ids |= {id_ for additions in known.values() for id_ in additions}
        ids |= {id_ for event in events if isinstance(event.part, SplitPart) for id_ in _periods_of(event)}
        states = await _load_periods(conn, periods, ids)
        changed = fold(events, known, states)
        await _save_orders(conn, orders, {order_id: known[order_id] for order_id in changed})
        await _save_periods(conn, periods, states)


def fold(events: Iterable[LogEvent], orders: dict[str, _Additions], states: dict[str, _PeriodState]) -> set[str]:
    """Bring both forward in place; the orders that changed."""
    changed: set[str] = set()
    for event in events:
        part = event.part
        if not isinstance(part, SplitPart):
            state = states.setdefault(event.stream_id, _PeriodState())
            state.clears_at = part.count.clears_at or ""
            held = [claim for claim in part.count.claims if claim.held]  # the creator's, if any
            state.held = sum([claim.held for claim in held])
            state.waits_since = held[0].waits_since() if held else ""
            if isinstance(part, CountPart):
                state.counted_position = part.position
            continue
        before, after = orders.get(event.stream_id, {}), {}
        for id_, (key, ends_at) in _periods_of(event).items():
            after[id_] = _addition(part.split, key.rule_id)
            state = states.setdefault(id_, _PeriodState())
            state.organization_id, state.rule_id, state.creator_id = key.organization_id, key.rule_id, key.creator_id
            state.currency, state.period, state.ends_at = key.currency, key.period, ends_at
        for id_ in before.keys() | after.keys():
            if before.get(id_) != after.get(id_):
                states[id_].changed_position = event.position
        if before != after:
            orders[event.stream_id] = after
            changed.add(event.stream_id)
    return changed


def _periods_of(event: LogEvent) -> dict[str, tuple[PeriodKey, str]]:
    """The periods of an order's split by the id of their true-up, and when they end."""
    split: _Split = event.part.split
    keys = [
        (
            PeriodKey(
                organization_id=event.organization_id or "",
                rule_id=each.rule_id,
                creator_id=split.creator_id or "",
                currency=split.currency,
                period=each.period,
            ),
            each.ends_at,
        )
        for each in split.periods
    ]
    return {key.id: (key, ends_at) for key, ends_at in keys}


def _addition(split: _Split, rule_id: str) -> str:
    """What is held adds nothing, what waits for its seller's money takes nothing away: a hold, a payment and their
    ends are changes like any other."""
    held = set(split.held_lines or ())
    lines = [
        line for line in split.lines if line.rule is not None and line.rule.id == rule_id and line.line_id not in held
    ]
    versions = sorted({line.rule.version for line in lines if line.rule is not None})
    base = sum([line.base - line.reversed_base for line in lines])
    commission = sum([line.commission - line.reversed_commission for line in lines])
    return f"{versions} {base} {commission}" + (" waits" if split.waits_for_seller else "")


async def _load_orders(conn: Connection, name: str, ids: Iterable[str]) -> dict[str, _Additions]:
    cursor = await conn.execute(
        f"SELECT order_id, additions FROM {name} WHERE order_id = ANY(%s::text[])", (texts(sorted(ids)),)
    )
    return {order_id: msgspec.json.decode(text, type=_Additions) for order_id, text in await cursor.fetchall()}


async def _save_orders(conn: Connection, name: str, orders: Mapping[str, _Additions]) -> None:
    ids = sorted(orders)
    await conn.execute(
        f"INSERT INTO {name} (order_id, additions) SELECT * FROM unnest(%s::text[], %s::text[])"
        " ON CONFLICT (order_id) DO UPDATE SET additions = excluded.additions",
        (texts(ids), texts([msgspec.json.encode(orders[id_]).decode() for id_ in ids])),
    )


_COLUMNS = (
    "organization_id, rule_id, creator_id, currency, period, ends_at, changed_position, counted_position, clears_at,"
    " held, waits_since"
)


async def _load_periods(conn: Connection, name: str, ids: Iterable[str]) -> dict[str, _PeriodState]:
    cursor = await conn.execute(
        "SELECT true_up_id, organization_id, rule_id, creator_id, currency, period, coalesce(ends_at::text, ''),"
        " changed_position, counted_position, coalesce(clears_at::text, ''), held, coalesce(waits_since::text, '')"
        f" FROM {name}"
        " WHERE true_up_id = ANY(%s::text[])",
        (texts(sorted(ids)),),
    )
    return {id_: _PeriodState(*row) for id_, *row in await cursor.fetchall()}


async def _save_periods(conn: Connection, name: str, states: Mapping[str, _PeriodState]) -> None:
    ids = sorted(states)
    rows = [states[id_] for id_ in ids]
    await conn.execute(
        f"INSERT INTO {name} (true_up_id, {_COLUMNS}) SELECT id, organization_id, rule_id, creator_id, currency,"
        " period, nullif(ends_at, '')::timestamptz, changed, counted, nullif(clears_at, '')::timestamptz, held,"
        " nullif(waits_since, '')::timestamptz"
        " FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],"
        " %s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::text[]) AS row (id, organization_id, rule_id,"
        " creator_id, currency, period, ends_at, changed, counted, clears_at, held, waits_since)"
        " ON CONFLICT (true_up_id) DO UPDATE SET"
        " organization_id = excluded.organization_id, rule_id = excluded.rule_id,"
        " creator_id = excluded.creator_id, currency = excluded.currency, period = excluded.period,"
        " ends_at = excluded.ends_at, changed_position = excluded.changed_position,"
        " counted_position = excluded.counted_position, clears_at = excluded.clears_at, held = excluded.held,"
        " waits_since = excluded.waits_since",
        (
            texts(ids),
            texts([row.organization_id for row in rows]),
            texts([row.rule_id for row in rows]),
            texts([row.creator_id for row in rows]),
            texts([row.currency for row in rows]),
            texts([row.period for row in rows]),
            texts([row.ends_at for row in rows]),
            numbers([row.changed_position for row in rows]),
            numbers([row.counted_position for row in rows]),
            texts([row.clears_at for row in rows]),
            numbers([row.held for row in rows]),
            texts([row.waits_since for row in rows]),
        ),
    )


@dataclass(frozen=True)
class TrueUpTables:
    """A `TrueUpQueue` read from the projection; empty while that is being built."""

    pool: Pool

    async def to_count(self, now: datetime, limit: int) -> Sequence[ChangedPeriod]:
        rows = await self._rows(
            "SELECT organization_id, rule_id, creator_id, currency, period, changed_position FROM {periods}"
            " WHERE changed_position > counted_position AND ends_at <= %s ORDER BY ends_at, true_up_id LIMIT %s",
            (now, limit),
        )
        return [
            ChangedPeriod(
                key=PeriodKey(
                    organization_id=organization_id,
                    rule_id=rule_id,
                    creator_id=creator_id,
                    currency=currency,
                    period=period,
                ),
                position=position,
            )
            for organization_id, rule_id, creator_id, currency, period, position in rows
        ]

    async def to_clear(self, now: datetime, limit: int) -> Sequence[str]:
        rows = await self._rows(
            "SELECT true_up_id FROM {periods} WHERE clears_at <= %s ORDER BY clears_at, true_up_id LIMIT %s",
            (now, limit),
        )
        return [true_up_id for (true_up_id,) in rows]

    async def to_release(self, now: datetime, limit: int) -> Sequence[Covered]:
        """Where the seller's account covers some of what waits: what still waits would be more than what is owed."""
        values = (kind_of(SellerAccountDetails), now, limit)
        rows = await self._rows(
            "SELECT p.organization_id, p.currency,"
            " (array_agg(p.true_up_id ORDER BY p.waits_since, p.true_up_id))[1:64] FROM {periods} p"
            " JOIN colink.documents d ON d.kind = %s AND d.current AND d.organization_id = p.organization_id"
            " AND d.body::jsonb ->> 'currency' = p.currency"
            " WHERE p.waits_since <= %s"
            " AND least((d.body::jsonb ->> 'credit')::bigint, 0) + (d.body::jsonb ->> 'held')::bigint"
            " + CASE WHEN p.counted_position >= (d.body::jsonb ->> 'since')::bigint THEN 0 ELSE p.held END > 0"
            " GROUP BY p.organization_id, p.currency ORDER BY min(p.waits_since) LIMIT %s",
            values,
        )
        return [
            Covered(organization_id=organization_id, currency=currency, true_up_ids=tuple(true_up_ids))
            for organization_id, currency, true_up_ids in rows
        ]

    async def _rows(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        async with self.pool.connection() as conn:
            version = await find_live_version(conn, TrueUps)
            if version is None:
                return []
            cursor = await conn.execute(query.format(periods=table("true_up_periods", version)), values)
            return await cursor.fetchall()
