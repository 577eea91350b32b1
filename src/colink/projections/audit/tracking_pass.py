"""The pass over the tracking log: a log as sound as the other, and touches that are exactly what it recorded.

Its positions are its own, so it is verified as a whole or not at all.
"""

from __future__ import annotations

from dataclasses import asdict

from colink.domain.audit.report import Kind, Pass
from colink.projections import touches  # noqa: F401 - it registers the projector used below
from colink.projections.audit.context import Verification
from colink.projections.audit.log_passes import LogRange, check_sequence, check_versions
from colink.projections.inline import TouchRow, project

_ROWS_A_CHUNK = 500
_COLUMNS = (*TouchRow.__dataclass_fields__, "position")


async def check_tracking(v: Verification) -> None:
    """Positions, times and versions of the log; each touch's row, both ways. `checked` counts events."""
    result = v.results[Pass.TRACKING]
    if not v.whole_log:
        result.needs_whole_log()
        return
    cursor = await v.conn.execute("SELECT position FROM colink.tracking_head")
    head = (await cursor.fetchone() or (0,))[0]
    log = LogRange(table="colink.tracking_events", first=1, last=head, head=head, label="tracking ")
    result.checked = await check_sequence(v, result, log)
    await check_versions(v, result, log)
    chunk: dict[str, tuple[int, TouchRow]] = {}
    rows = v.rows(
        Pass.TRACKING,
        "SELECT position, stream_id, version, topic, payload FROM colink.tracking_events ORDER BY position",
        (),
        total=head,
    )
    async for position, *stored in rows:
        event = v.decoded(result, position, stored)
        for row in project(event) if event is not None else ():
            if isinstance(row, TouchRow):
                chunk[row.touch_id] = (position, row)
        if len(chunk) >= _ROWS_A_CHUNK:
            await _compare(v, chunk)
            chunk = {}
    await _compare(v, chunk)
    extra = v.rows(
        Pass.TRACKING,
        "SELECT t.position, t.touch_id FROM colink.touches t"
        " WHERE NOT EXISTS (SELECT FROM colink.tracking_events e WHERE e.stream_id = t.touch_id) ORDER BY 1",
        (),
        total=head,
    )
    async for position, touch_id in extra:
        result.find(Kind.EXTRA, position, touch_id, f"the touch {touch_id} was never recorded")


async def _compare(v: Verification, chunk: dict[str, tuple[int, TouchRow]]) -> None:
    result = v.results[Pass.TRACKING]
    cursor = await v.conn.execute(
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
