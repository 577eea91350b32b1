"""The pass `projections`: the tables of the attribution report and the leaderboard are what a fresh fold of the log
gives, as far as each projection has come.

Orders are folded in the windows their events lie in, from their own events and never from the tables; what the parts
of the log add to sums is carried out of them and added up. What touches add is folded from the tracking log, unless
months of it are archived: then it is left out, and the reason of the pass says so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString

import msgspec

from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.tracking import TouchRecorded
from colink.projections.attribution_report import AttributionReport, sum_changes, sum_touches
from colink.projections.audit.order_passes import ORDER_TOPICS
from colink.projections.audit.part import Part
from colink.projections.audit.reading import LogRow, Window
from colink.projections.audit.rows import each_row
from colink.projections.credited_orders import PARTS, Change, OrderState, fold
from colink.projections.engine import Connection, head
from colink.projections.leaderboard import Leaderboard, Metric, score_changes, score_clicks
from colink.projections.logs import Decoder, Log, LogEvent
from colink.projections.versions import Projection, find_live_version, table

_READ = {event.TOPIC: (event.class_version, msgspec.json.Decoder(part).decode, part) for event, part in PARTS.items()}
_TOUCHES_A_CHUNK = 2_000
_KINDS: tuple[tuple[type[Projection], str], ...] = (
    (AttributionReport, "attribution_orders"),
    (Leaderboard, "leaderboard_orders"),
)
"""The projections that are read, with their tables of contributions."""
_STATE = ", ".join(OrderState.__struct_fields__)
_QUARTER: LiteralString = (
    "CASE WHEN isfinite(quarter) THEN to_char(quarter AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"+00:00\"')"
    " ELSE quarter::text END"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """The live version of a projection, and how far it is in each log. `orders`: its table of contributions."""

    name: str
    version: int
    orders: str
    commerce: int
    tracking: int


async def followed_reports(conn: Connection) -> list[Followed]:
    """Those whose tables are read now; one that is being built shows nothing yet."""
    found = []
    for projection, orders in _KINDS:
        version = await find_live_version(conn, projection)
        if version is None:
            continue
        for name in projection.tables:  # a rebuild retires them meanwhile: nobody drops what is locked
            await conn.execute(f"LOCK TABLE {table(name, version)} IN ACCESS SHARE MODE")
        cursor = await conn.execute(
            "SELECT log, position FROM colink.projection_checkpoints WHERE projection = %s AND version = %s",
            (projection.name, version),
        )
        positions: dict[str, int] = dict(await cursor.fetchall())
        found.append(
            Followed(
                name=projection.name,
                version=version,
                orders=table(orders, version),
                commerce=positions.get(Log.COMMERCE, 0),
                tracking=positions.get(Log.TRACKING, 0),
            )
        )
    return found


class ReportCheck:
    """What the orders of a window add to the sums of one projection, and the rows of those that end in it."""

    def __init__(self, part: Part, followed: Followed) -> None:
        self._part = part
        self._result = part.results[Pass.PROJECTIONS]
        self._followed = followed

    def check(self, window: Window) -> None:
        end = self._followed.commerce
        streams = {
            stream_id: rows
            for stream_id, rows in window.streams.items()
            if rows[0].topic in ORDER_TOPICS and rows[0].position <= end
        }
        states: dict[str, OrderState] = {}
        for stream_id in streams:
            fold(states, _events(window, window.earlier.get(stream_id, ())))
        changes = fold(states, _events(window, [row for row in window.rows if row.position <= end]))
        self._add(changes)
        last = {
            stream_id: max(row.position for row in rows if row.position <= end)
            for stream_id, rows in streams.items()
            if stream_id in states and not window.later.get(stream_id, end + 1) <= end
        }
        if last:
            self._compare(window, states, last)

    def _add(self, changes: Sequence[Change]) -> None:
        if self._followed.name == Leaderboard.name:
            self._part.add_scores(score_changes(changes))
            return
        positions = {change.credit: change.position for change in changes}
        for credit, added in sum_changes(changes).items():
            sales = self._part.sales.setdefault(credit, [0, 0, 0, 0])
            sales[:] = [*(a + b for a, b in zip(sales, added, strict=False)), positions[credit]]

    def _compare(self, window: Window, states: Mapping[str, OrderState], last: Mapping[str, int]) -> None:
        name = self._followed.orders
        self._result.checked += len(last)
        rows = window.reader.rows(
            f"SELECT {_STATE} FROM {name} WHERE order_id = ANY(%s)",
            list(last),
        )
        recorded = {row[0]: OrderState(*row) for row in rows}
        for order_id, position in last.items():
            state = states[order_id]
            row = recorded.get(order_id)
            if row != state:
                self._result.find(
                    Kind.MISSING if row is None else Kind.CHANGED,
                    position,
                    order_id,
                    f"what {order_id} adds to {self._followed.name} is not what the log says",
                    recorded=row,
                    derived=state,
                )


def _events(window: Window, rows: Iterable[LogRow]) -> list[LogEvent]:
    """Those that decide what an order adds. One that cannot be read is a finding of the passes over orders."""
    events = []
    for row in rows:
        if row.topic not in _READ:
            continue
        newest, decode, part_type = _READ[row.topic]
        try:
            if row.schema_version == newest:
                part = decode(row.payload)
            else:
                event = window.reader.source.decode(row.stream_id, row.version, row.topic, row.payload)
                part = msgspec.convert(event, part_type, from_attributes=True)
        except Exception:  # noqa: BLE001, S112 - whatever a damaged payload provokes
            continue
        events.append(LogEvent(row.position, row.stream_id, row.organization_id, part))
    return events


async def check_sums(
    conn: Connection, result: PassResult, reports: Sequence[Followed], part: Part, decode: Decoder
) -> None:
    """The sums of each projection, both ways, and contributions of orders that the log knows nothing of."""
    archived = await _is_archived(conn)
    said = ["without what touches add: months of the tracking log are archived"] if archived and reports else []
    said += await _check_positions(conn, result, reports)
    for what in said:
        result.leaves_out(what)
    for followed in reports:
        await _find_extra_orders(conn, result, followed)
        touches = _nothing() if archived else _touches(conn, followed, decode)
        if followed.name == Leaderboard.name:
            async for chunk in touches:
                part.add_scores(score_clicks(chunk))
            await _compare_sums(
                conn,
                result,
                f"SELECT board, metric, currency, {_QUARTER}, creator_id, value, reached_at_position"
                f" FROM {table('leaderboard_scores', followed.version)}"
                + (f" WHERE metric <> '{Metric.CLICKS}'" if archived else ""),
                {key: (score, 0 if key[1] == Metric.CLICKS else score[1]) for key, score in part.scores.items()},
                key_columns=5,
            )
            continue
        await _compare_sums(
            conn,
            result,
            f"SELECT organization_id, {_QUARTER}, creator_id, campaign_id, link_id, currency, orders, revenue,"
            f" commission FROM {table('attribution_sales', followed.version)}",
            {msgspec.structs.astuple(credit): (tuple(sums[:3]), sums[3]) for credit, sums in part.sales.items()},
            key_columns=6,
        )
        if archived:
            continue
        visits: dict[tuple[object, ...], list[int]] = {}
        async for chunk in touches:
            for where, (clicks, views) in sum_touches(chunk).items():
                sums = visits.setdefault(msgspec.structs.astuple(where), [0, 0])
                sums[:] = sums[0] + clicks, sums[1] + views
        await _compare_sums(
            conn,
            result,
            f"SELECT organization_id, destination_host, {_QUARTER}, creator_id, campaign_id, link_id, clicks, views"
            f" FROM {table('attribution_touches', followed.version)}",
            {key: (tuple(sums), 0) for key, sums in visits.items()},
            key_columns=6,
        )


async def _check_positions(conn: Connection, result: PassResult, reports: Sequence[Followed]) -> list[str]:
    """Which reports are behind their logs, or not readable at all: what is verified of them is that much less. None
    can be ahead; one that says so would pass over events to come."""
    followed = {each.name for each in reports}
    said = [f"no version of {kind.name} is in use" for kind, _ in _KINDS if kind.name not in followed]
    commerce, tracking = await head(conn, Log.COMMERCE), await head(conn, Log.TRACKING)
    for each in reports:
        for log, position, end in ((Log.COMMERCE, each.commerce, commerce), (Log.TRACKING, each.tracking, tracking)):
            if position < end:
                said.append(f"{each.name} has come to {position} of {end} in the {log} log")
            elif position > end:
                result.find(
                    Kind.HEAD_DIFFERS,
                    end if log is Log.COMMERCE else 0,
                    each.name,
                    f"{each.name} says that it has come to {position} in the {log} log, which ends at {end}",
                    recorded=position,
                    derived=end,
                )
    return said


async def _compare_sums(
    conn: Connection,
    result: PassResult,
    query: str,
    derived: Mapping[tuple[object, ...], tuple[tuple[int, ...], int]],
    *,
    key_columns: int,
) -> None:
    """`derived`: by key the sums, and the position of the last event that added to them (0: of the other log)."""
    unseen = dict(derived)
    result.checked += len(unseen)
    async for row in each_row(conn, query):
        key, sums = row[:key_columns], row[key_columns:]
        subject = " ".join(map(str, key))
        expected = unseen.pop(key, None)
        if expected is None:
            result.find(Kind.EXTRA, 0, subject, f"nothing adds to the sums of {subject}", recorded=sums)
        elif expected[0] != sums:
            result.find(
                Kind.CHANGED,
                expected[1],
                subject,
                f"the sums of {subject} are not what the log gives",
                recorded=sums,
                derived=expected[0],
            )
    for key, (sums, position) in unseen.items():
        subject = " ".join(map(str, key))
        result.find(Kind.MISSING, position, subject, f"the sums of {subject} are missing", derived=sums)


async def _find_extra_orders(conn: Connection, result: PassResult, followed: Followed) -> None:
    rows = each_row(
        conn,
        f"SELECT t.order_id FROM {followed.orders} t"
        " WHERE NOT EXISTS (SELECT FROM colink.events e WHERE e.stream_id = t.order_id AND e.position <= %s)"
        " ORDER BY 1",
        (followed.commerce,),
    )
    async for (order_id,) in rows:
        result.find(Kind.EXTRA, 0, order_id, f"{order_id} adds to {followed.name} and has no events")


async def _is_archived(conn: Connection) -> bool:
    cursor = await conn.execute("SELECT EXISTS (SELECT FROM colink.tracking_archives)")
    return await cursor.fetchone() == (True,)


async def _nothing() -> AsyncIterator[list[LogEvent]]:
    no_chunks: tuple[list[LogEvent], ...] = ()
    for chunk in no_chunks:
        yield chunk


async def _touches(conn: Connection, followed: Followed, decode: Decoder) -> AsyncIterator[list[LogEvent]]:
    """The touches the projection has seen, in order. One that cannot be read is a finding of the pass `tracking`."""
    rows = each_row(
        conn,
        "SELECT position, stream_id, version, topic, payload, organization_id FROM colink.tracking_events"
        " WHERE position <= %s AND topic = %s ORDER BY position",
        (followed.tracking, TouchRecorded.TOPIC),
    )
    chunk: list[LogEvent] = []
    async for position, stream_id, version, topic, payload, organization_id in rows:
        try:
            event = decode(stream_id, version, topic, payload)
        except Exception:  # noqa: BLE001, S112 - whatever a damaged payload provokes
            continue
        chunk.append(LogEvent(position, stream_id, organization_id, event))
        if len(chunk) == _TOUCHES_A_CHUNK:
            yield chunk
            chunk = []
    yield chunk
