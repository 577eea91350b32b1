"""The raw log as NDJSON: every event as recorded, with the hashes it was sealed under."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from colink.application.representations import told_payload
from colink.projections.engine import Connection
from colink.projections.exports.journal import Extract, read_rows

_EVENTS_A_PIECE = 500


async def raw_events(conn: Connection, extract: Extract) -> AsyncIterator[bytes]:
    """`leaf` and `chain` (hex) are null for what is not sealed yet. As everywhere, the digest of an API key is left
    out of its event's payload."""
    encode = msgspec.json.Encoder().encode_lines
    rows = read_rows(
        conn,
        "SELECT e.position, e.stream_id, e.version, e.topic, e.schema_version, e.payload, e.organization_id,"
        " e.recorded_at, e.actor, e.correlation_id, e.causation_id, encode(s.leaf, 'hex'), encode(s.chain, 'hex')"
        " FROM colink.events e LEFT JOIN colink.seals s USING (position)"
        " WHERE e.position BETWEEN %s AND %s ORDER BY e.position",
        (extract.first, extract.last),
    )
    some: list[dict[str, object]] = []
    async for row in rows:
        event = dict(zip(_NAMES, row, strict=True))
        event["payload"] = msgspec.Raw(told_payload(event["topic"], event["payload"]).encode())
        some.append(event)
        if len(some) == _EVENTS_A_PIECE:
            yield encode(some)
            some = []
    yield encode(some)


_NAMES = (
    "position",
    "stream_id",
    "version",
    "topic",
    "schema_version",
    "payload",
    "organization_id",
    "recorded_at",
    "actor",
    "correlation_id",
    "causation_id",
    "leaf",
    "chain",
)
