"""The pass over the tracking log: a log as sound as the other, and touches that are exactly what it recorded.

Archived months (decision 14) are its beginning: nothing may be missing between them and the rest. What their files
hold is checked by `colink tracking check`. Its positions are its own, so it is verified as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from colink.domain.aggregates import Event
from colink.domain.audit.report import Kind, PassResult
from colink.domain.tracking import TouchRecorded
from colink.projections import touches  # noqa: F401 - it registers the projector used below
from colink.projections.audit.log_passes import LogRange, check_sequence, find_irregular
from colink.projections.audit.rows import each_row
from colink.projections.engine import Connection, Decoder
from colink.projections.inline import TouchRow, project

_ROWS_A_CHUNK = 500
_COLUMNS = (*TouchRow.__dataclass_fields__, "position")


async def check_tracking(conn: Connection, result: PassResult, decode: Decoder) -> None:
    """Positions, times and versions of the log; each touch's row, both ways. `checked` counts events."""
    cursor = await conn.execute("SELECT position FROM colink.tracking_head")
    head = (await cursor.fetchone() or (0,))[0]
    first = await _check_archives(conn, result) + 1
    log = LogRange(
        table="colink.tracking_events",
        head_table="colink.tracking_head",
        first=first,
        last=head,
        head=head,
        label="tracking ",
    )
    result.checked = await check_sequence(conn, result, log)
    await _check_month(conn, result, head)
    await find_irregular(conn, result, log)
    chunk: dict[str, tuple[int, TouchRow]] = {}
    rows = each_row(
        conn,
        "SELECT position, organization_id, schema_version, stream_id, version, topic, payload"
        " FROM colink.tracking_events ORDER BY position",
    )
    async for position, organization_id, schema_version, *stored in rows:
        event = _decoded(decode, result, position, stored)
        if isinstance(event, TouchRecorded):
            _compare_stamp(result, position, event, (organization_id, schema_version))
        for row in project(event) if event is not None else ():
            if isinstance(row, TouchRow):
                chunk[row.touch_id] = (position, row)
        if len(chunk) >= _ROWS_A_CHUNK:
            await _compare(conn, result, chunk)
            chunk = {}
    await _compare(conn, result, chunk)
    extra = each_row(
        conn,
        "SELECT t.position, t.touch_id FROM colink.touches t"
        " WHERE NOT EXISTS (SELECT FROM colink.tracking_events e WHERE e.stream_id = t.touch_id"
        " AND e.recorded_at = t.recorded_at) ORDER BY 1",
    )
    async for position, touch_id in extra:
        result.find(Kind.EXTRA, position, touch_id, f"the touch {touch_id} was never recorded at that time")


def _compare_stamp(result: PassResult, position: int, event: TouchRecorded, recorded: tuple[str | None, int]) -> None:
    """What stands beside the payload of a touch: whose business it is, and the version of its shape."""
    derived = (event.details.organization_id, event.class_version)
    if recorded[0] != derived[0] or not 1 <= recorded[1] <= derived[1]:
        result.find(
            Kind.CHANGED,
            position,
            event.originator_id,
            f"tracking event {position} is stamped otherwise than its touch says",
            recorded=recorded,
            derived=derived,
        )


async def _check_month(conn: Connection, result: PassResult, head: int) -> None:
    """The month that the next touch is appended to is a whole one."""
    cursor = await conn.execute(
        "SELECT month_from::text, month_until::text FROM colink.tracking_head WHERE isfinite(month_from)"
        " AND (month_from <> date_trunc('month', month_from, 'UTC')"
        " OR month_until <> (month_from AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC')"
    )
    for starts, ends in await cursor.fetchall():
        result.find(
            Kind.HEAD_DIFFERS, head, "tracking log_head", "the tracking head is in no month", recorded=(starts, ends)
        )


async def _check_archives(conn: Connection, result: PassResult) -> int:
    """The position up to which the log is archived, without a gap and without an event that is still in the log."""
    archived = 0
    cursor = await conn.execute(
        "SELECT first_position, last_position FROM colink.tracking_archives ORDER BY first_position"
    )
    for first, last in await cursor.fetchall():
        if first != archived + 1:
            missing = archived + 1
            result.find(Kind.GAP, missing, f"tracking {missing}", f"no archive holds the events before {first}")
        archived = last
    rows = each_row(
        conn,
        "SELECT position, stream_id FROM colink.tracking_events WHERE position <= %s ORDER BY position",
        (archived,),
    )
    async for position, stream_id in rows:
        result.find(Kind.EXTRA, position, stream_id, f"the tracking event {position} is archived and in the log too")
    return archived


def _decoded(decode: Decoder, result: PassResult, position: int, stored: Sequence[Any]) -> Event | None:
    """The event of a row (stream id, version, topic, payload); None, and a finding, where it cannot be read."""
    stream_id, version, topic, payload = stored
    try:
        return decode(stream_id, version, topic, payload)
    except Exception as error:  # noqa: BLE001 - whatever a damaged payload provokes is what there is to report
        result.find(Kind.UNREADABLE, position, stream_id, f"event {version} of {stream_id} is unreadable: {error}")
        return None


async def _compare(conn: Connection, result: PassResult, chunk: dict[str, tuple[int, TouchRow]]) -> None:
    cursor = await conn.execute(
        f"SELECT {', '.join(_COLUMNS)} FROM colink.touches WHERE touch_id = ANY(%s)", (list(chunk),)
    )
    recorded = {row[0]: dict(zip(_COLUMNS, row, strict=True)) for row in await cursor.fetchall()}
    for touch_id, (position, touch) in chunk.items():
        derived = asdict(touch) | {"position": position}
        row = recorded.get(touch_id)
        if row is None:
            result.find(Kind.MISSING, position, touch_id, f"the touch {touch_id} has no row")
            continue
        for name in _COLUMNS:
            if row[name] != derived[name]:
                result.find(
                    Kind.CHANGED,
                    position,
                    touch_id,
                    f"{name} of the touch {touch_id} is not what was recorded",
                    recorded=row[name],
                    derived=derived[name],
                )
