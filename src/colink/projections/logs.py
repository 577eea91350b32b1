"""The two logs as readers see them: where they are, how far they go, and their events in the parts a reader asks for.

Responsible for reading events in order of position, archived ones too. Not responsible for what is made of them. An
event comes as a `LogEvent`: what the log says of it, and the part of its payload that the reader declared, which
msgspec decodes without building the rest. A payload of an older shape is first brought to the newest, as the mapper
does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import Any, Protocol

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from colink.domain.aggregates import Event
from colink.domain.errors import Unavailable

Connection = AsyncConnection[TupleRow]
Pool = AsyncConnectionPool[Connection]


class Log(StrEnum):
    """The two logs (architecture section 3)."""

    COMMERCE = "commerce"
    TRACKING = "tracking"


TABLES: Mapping[Log, str] = {Log.COMMERCE: "colink.events", Log.TRACKING: "colink.tracking_events"}
HEADS: Mapping[Log, str] = {Log.COMMERCE: "colink.log_head", Log.TRACKING: "colink.tracking_head"}


class Decoder(Protocol):
    def __call__(self, stream_id: str, version: int, topic: str, payload: str) -> Event:
        """The event of one row of a log, in its newest shape. Raises whatever the payload deserves."""


class Upcaster(Protocol):
    def __call__(self, topic: str, payload: str) -> str:
        """A payload of an older shape in the newest one. Raises whatever the payload deserves."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A whole event with its position in the log it was read from."""

    position: int
    event: Event


class LogEvent(msgspec.Struct, frozen=True, gc=False):
    """An event of `stream_id` at `position`, and the declared part of it."""

    position: int
    stream_id: str
    organization_id: str | None
    part: Any


Parts = Mapping[type[Event], type[msgspec.Struct]]
"""For each type of event a reader wants, the part of its payload it needs: a struct with fields of the same names."""


class ArchivedRow(Protocol):
    """A row of the tracking log that left it (decision 14)."""

    @property
    def position(self) -> int: ...

    @property
    def stream_id(self) -> str: ...

    @property
    def organization_id(self) -> str | None: ...

    @property
    def topic(self) -> str: ...

    @property
    def payload(self) -> str: ...


class ArchiveReader(Protocol):
    def read(self, file: str, after: int, to: int) -> Sequence[ArchivedRow]:
        """The events of a file behind `after`, up to `to`. Blocks. Raises Unavailable where it cannot be read."""


OpenArchive = Callable[[], ArchiveReader | None]
"""A reader for each log that is read: it keeps its place."""


def no_archive() -> ArchiveReader | None:
    """For those who read what is in the log only: archived events are an error to them, never skipped."""
    return None


_POSITIONS_A_ROW = 500  # a text of megabytes costs the server three times as much as some shorter ones


class LogReader:
    """Reads the events of one log that have a part in `parts`; archived ones by `archive`.

    Hundreds of payloads of a topic and shape come as one text and are decoded at once, which takes a fraction of the
    time of as many rows.
    """

    def __init__(self, log: Log, parts: Parts, upcast: Upcaster, archive: ArchiveReader | None = None) -> None:
        self.log = log
        self._archive = archive
        self._upcast = upcast
        self._newest = {event.TOPIC: event.class_version for event in parts}
        self._decode = {event.TOPIC: msgspec.json.Decoder(part).decode for event, part in parts.items()}
        self._decode_all = {event.TOPIC: msgspec.json.Decoder(list[part]).decode for event, part in parts.items()}  # type: ignore[valid-type]  # a type that is a value
        self._query = (
            "SELECT topic, schema_version, array_agg(position), array_agg(stream_id), array_agg(organization_id),"
            f" string_agg(payload, ',') FROM {TABLES[log]} WHERE position > %s AND position <= %s"
            f" AND topic = ANY(%s) GROUP BY topic, schema_version, position / {_POSITIONS_A_ROW}"
        )

    async def read(self, conn: Connection, after: int, to: int) -> list[LogEvent]:
        """In order of position, from the one behind `after` up to `to`. Raises what a payload that does not fit
        deserves."""
        events: list[LogEvent] = []
        cursor = await conn.execute(self._query, (after, to, list(self._decode)))
        for topic, shape, positions, stream_ids, organization_ids, payloads in await cursor.fetchall():
            parts = self._parts(topic, shape, f"[{payloads}]")
            rows = zip(positions, stream_ids, organization_ids, parts, strict=True)
            events.extend([LogEvent(*row) for row in rows])
        if self.log is Log.TRACKING:
            # After the log, in a statement of its own: a month that leaves while this reads is found there or here.
            found = {event.position for event in events}
            events += [event for event in await self._archived(conn, after, to) if event.position not in found]
        events.sort(key=_position)
        return events

    async def _archived(self, conn: Connection, after: int, to: int) -> list[LogEvent]:
        """Those of the months that left the log."""
        cursor = await conn.execute(
            "SELECT first_position, last_position, file FROM colink.tracking_archives"
            " WHERE last_position > %s AND first_position <= %s ORDER BY first_position",
            (after, to),
        )
        events: list[LogEvent] = []
        for first, last, file in await cursor.fetchall():
            if self._archive is None:
                msg = f"events {first} to {last} of the tracking log are archived in {file}: they cannot be read here"
                raise Unavailable(msg)
            for row in await asyncio.to_thread(self._archive.read, file, max(after, first - 1), min(to, last)):
                if row.topic in self._decode:
                    part = self._decode[row.topic](self._upcast(row.topic, row.payload))
                    events.append(LogEvent(row.position, row.stream_id, row.organization_id, part))
        return events

    def _parts(self, topic: str, shape: int, payloads: str) -> list[Any]:
        if shape == self._newest[topic]:
            return self._decode_all[topic](payloads)
        decode = self._decode[topic]
        older = msgspec.json.decode(payloads, type=list[msgspec.Raw])
        return [decode(self._upcast(topic, bytes(payload).decode())) for payload in older]


_position = attrgetter("position")


async def head(conn: Connection, log: Log) -> int:
    """The position of the newest event of a log, 0 for an empty one."""
    row = await (await conn.execute(f"SELECT position FROM {HEADS[log]}")).fetchone()
    return int(row[0]) if row is not None else 0


async def heads(conn: Connection, logs: Sequence[Log]) -> dict[Log, int]:
    """Of several logs."""
    return {log: await head(conn, log) for log in logs}
