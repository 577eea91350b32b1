"""What every pass of a verification shares: the connection, the range, the results, and how the log is read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString

from psycopg.rows import TupleRow

from colink.domain.aggregates import Event
from colink.domain.audit.report import Kind, Pass, PassResult
from colink.projections.engine import Connection, Decoder, Seen

_ROWS_A_TRIP = 2_000

Progress = Callable[[Pass, int, int], None]
"""Called with a pass, how many things it has read, and how many there are."""


@dataclass(kw_only=True)
class Verification:
    """One run, inside one read-only snapshot of the database. Positions `first` to `last` are verified; `last` is at
    most `head`."""

    conn: Connection
    decode: Decoder
    first: int
    last: int
    head: int
    results: Mapping[Pass, PassResult]
    progress: Progress
    unexplained_journals: dict[int, int] = field(default_factory=dict)
    """Hash of the id of each order's or payout's journal to its position, until an event is found to have caused it:
    about 100 bytes each."""

    @property
    def whole_log(self) -> bool:
        return self.first == 1 and self.last == self.head

    def in_range(self, position: int) -> bool:
        return self.first <= position <= self.last

    async def events(
        self, audit_pass: Pass, topics: Sequence[str], *, by_stream: bool = False, from_start: bool = False
    ) -> AsyncIterator[Seen]:
        """The events of these topics up to `last`, by position or stream after stream. One that cannot be read is a
        finding of the pass and left out."""
        order = "stream_id, version" if by_stream else "position"
        rows = self.rows(
            audit_pass,
            "SELECT position, stream_id, version, topic, payload FROM colink.events"
            f" WHERE topic = ANY(%s) AND position BETWEEN %s AND %s ORDER BY {order}",
            (list(topics), 1 if from_start else self.first, self.last),
            total=self.last,
        )
        async for position, *stored in rows:
            event = self.decoded(self.results[audit_pass], position, stored)
            if event is not None:
                yield Seen(position, event)

    async def rows(
        self, audit_pass: Pass, query: LiteralString, values: Sequence[object], *, total: int
    ) -> AsyncIterator[TupleRow]:
        """The rows of a query, a few thousand in memory at a time. `total`: how many there may be, for progress."""
        read = 0
        async with self.conn.cursor(name=f"audit_{audit_pass.value}") as cursor:
            cursor.itersize = _ROWS_A_TRIP
            await cursor.execute(query, values)
            async for row in cursor:
                read += 1
                if read % _ROWS_A_TRIP == 0:
                    self.progress(audit_pass, read, total)
                yield row

    def decoded(self, result: PassResult, position: int, stored: Sequence[Any]) -> Event | None:
        """The event of a row (stream id, version, topic, payload); None, and a finding, where it cannot be read."""
        stream_id, version, topic, payload = stored
        try:
            return self.decode(stream_id, version, topic, payload)
        except Exception as error:  # noqa: BLE001 - whatever a damaged payload provokes is what there is to report
            result.find(
                Kind.UNREADABLE, position, stream_id, f"event {version} of {stream_id} is unreadable: {error}"
            )
            return None
