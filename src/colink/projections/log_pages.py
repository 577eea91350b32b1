"""The commerce log as it stands, a page at a time. Positions are gapless and become visible in order (semantics
section 9), so a reader that goes on after the last position it saw misses nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row

from colink.application.representations import told_payload
from colink.projections.conditions import Where


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    """One row of the log. `payload` is the JSON text as recorded, in the shape of its `schema_version`, without the
    digests of API keys (`told_payload`)."""

    position: int
    stream_id: str
    version: int
    topic: str
    schema_version: int
    payload: str
    organization_id: str | None
    recorded_at: datetime
    actor: str
    correlation_id: str
    causation_id: str | None


async def list_events(
    connection: AsyncConnection[TupleRow],
    *,
    organization_id: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[LoggedEvent]:
    """The events after a position, in order; only those of an organisation where one is given."""
    where = Where()
    where.equals(organization_id=organization_id)
    where.add("position > %(after)s", after=after)
    async with connection.cursor(row_factory=class_row(LoggedEvent)) as cursor:
        await cursor.execute(
            "select position, stream_id, version, topic, schema_version, payload, organization_id, recorded_at, "
            f"actor, correlation_id, causation_id from colink.events{where} order by position limit %(limit)s",
            where.values | {"limit": limit},
        )
        events = await cursor.fetchall()
    return [replace(event, payload=told_payload(event.topic, event.payload)) for event in events]
