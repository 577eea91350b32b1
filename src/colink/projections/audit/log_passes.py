"""Passes over the log as such: positions, times, versions of streams; and over the rows that point into it."""

from __future__ import annotations

from colink.domain.audit.report import Kind, Pass
from colink.projections.audit.context import Verification


async def check_positions(v: Verification) -> None:
    """Gapless from 1 to the head, recorded times never going back."""
    result = v.results[Pass.POSITIONS]
    async with v.conn.cursor(name="audit_positions") as cursor:
        await cursor.execute(
            "SELECT position, before, recorded_at, recorded_before FROM ("
            "SELECT position, lag(position, 1, %s) OVER by_position AS before, recorded_at,"
            " lag(recorded_at, 1, recorded_at) OVER by_position AS recorded_before FROM colink.events"
            " WHERE position BETWEEN %s AND %s WINDOW by_position AS (ORDER BY position)) log"
            " WHERE position <> before + 1 OR recorded_at < recorded_before ORDER BY position",
            (v.first - 1, v.first, v.last),
        )
        async for position, before, recorded_at, recorded_before in cursor:
            if position != before + 1:
                missing = f"{before + 1}" if position == before + 2 else f"{before + 1} to {position - 1}"
                result.find(Kind.GAP, before + 1, f"{before + 1}", f"no event at {missing}")
            if recorded_at < recorded_before:
                result.find(
                    Kind.TIME_GOES_BACK,
                    position,
                    f"{position}",
                    f"event {position} was recorded before the one before it",
                    recorded=recorded_at,
                    derived=f"not before {recorded_before}",
                )
    cursor_ = await v.conn.execute(
        "SELECT count(*), coalesce(max(position), 0) FROM colink.events WHERE position BETWEEN %s AND %s",
        (v.first, v.last),
    )
    row = await cursor_.fetchone()
    result.checked, newest = row or (0, 0)
    if newest < v.last:
        result.find(Kind.GAP, newest + 1, f"{newest + 1}", f"no event from {newest + 1} to the head {v.last}")
    beyond = await v.conn.execute("SELECT min(position) FROM colink.events WHERE position > %s", (v.head,))
    found = await beyond.fetchone()
    if found and found[0] is not None:
        result.find(
            Kind.HEAD_DIFFERS,
            found[0],
            "log_head",
            f"there are events beyond the head {v.head}",
            recorded=v.head,
            derived=found[0],
        )


async def check_streams(v: Verification) -> None:
    """Versions of each stream count from 1 without a gap, in order of position."""
    result = v.results[Pass.STREAMS]
    async with v.conn.cursor(name="audit_streams") as cursor:
        await cursor.execute(
            "SELECT stream_id, version, expected, position, position_before FROM ("
            "SELECT stream_id, version, position, lag(version, 1, 0) OVER by_version + 1 AS expected,"
            " lag(position, 1, 0::bigint) OVER by_version AS position_before FROM colink.events"
            " WHERE position <= %s WINDOW by_version AS (PARTITION BY stream_id ORDER BY version)) streams"
            " WHERE (version <> expected OR position <= position_before) AND position >= %s ORDER BY position",
            (v.last, v.first),
        )
        async for stream_id, version, expected, position, position_before in cursor:
            if version != expected:
                result.find(
                    Kind.GAP,
                    position,
                    stream_id,
                    f"{stream_id} has version {version} where {expected} was expected",
                    recorded=version,
                    derived=expected,
                )
            if position <= position_before:
                result.find(
                    Kind.TIME_GOES_BACK, position, stream_id, f"version {version} of {stream_id} lies before its last"
                )
    counted = await v.conn.execute(
        "SELECT count(DISTINCT stream_id) FROM colink.events WHERE position BETWEEN %s AND %s", (v.first, v.last)
    )
    result.checked = (await counted.fetchone() or (0,))[0]


async def check_references(v: Verification) -> None:
    """Idempotency keys and deliveries name positions of the log."""
    result = v.results[Pass.REFERENCES]
    for table, subject in (
        ("colink.idempotency_keys", "t.scope || ' ' || t.key"),
        ("colink.inbox", "t.source || ' ' || t.delivery_id"),
    ):
        async with v.conn.cursor(name="audit_references") as cursor:
            await cursor.execute(
                f"SELECT t.position, {subject} FROM {table} t WHERE t.position BETWEEN %s AND %s"
                " AND NOT EXISTS (SELECT FROM colink.events e WHERE e.position = t.position)"
                f" UNION ALL SELECT t.position, {subject} FROM {table} t WHERE t.position > %s OR t.position < 1"
                " ORDER BY 1",
                (v.first, v.last, v.head),
            )
            async for position, name in cursor:
                result.find(
                    Kind.DANGLING, position, f"{table} {name}", f"{table} names position {position}: no event there"
                )
        counted = await v.conn.execute(
            f"SELECT count(*) FROM {table} WHERE position BETWEEN %s AND %s", (v.first, v.last)
        )
        result.checked += (await counted.fetchone() or (0,))[0]
