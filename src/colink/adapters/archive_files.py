"""Files of archived months of the tracking log: one event a line as JSON, compressed with gzip, in order of position.

Responsible for the format, for durable writing, and for reading again. What a file must hold is said by the chain
that the log keeps of it (colink.tracking_archives); which months are archived is decided elsewhere.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import mkstemp

import msgspec

from colink.domain.sealing.encoding import epoch_microseconds, leaf_hashes, links

_LINES_A_CHUNK = 2_000


class ArchivedEvent(msgspec.Struct, frozen=True, gc=False):
    """A row of the log, column by column. `payload` is the stored text, byte for byte."""

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


_decode = msgspec.json.Decoder(ArchivedEvent).decode
_encoder = msgspec.json.Encoder()


class ArchiveFiles:
    """The archive below `folder`. Files are named in the log relative to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, file: str, chunks: Iterable[Sequence[ArchivedEvent]], *, expected: int, previous: bytes) -> bytes:
        """Write a file of `expected` events and make it durable; the same events give the same bytes. Returns the
        chain after `previous` and these events. Raises ValueError for another number of events: they may be in a file
        of that name already, and that one stays. Who dies on the way leaves nothing under that name either. One
        writer of a name at a time."""
        path = self._folder / file
        made = [folder for folder in path.parents if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in path.parent.glob(f".{path.name}.*"):  # by one who was killed: as large as a month
            left.unlink(missing_ok=True)
        handle, beside = mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as raw:
                written = 0
                with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as packed:
                    for chunk in chunks:
                        previous = chained(previous, chunk)
                        packed.write(_encoder.encode_lines(chunk))
                        written += len(chunk)
                raw.flush()
                os.fsync(raw.fileno())
            if written != expected:
                msg = f"{file} would hold {written} events instead of {expected}"
                raise ValueError(msg)
            Path(beside).replace(path)
        finally:
            Path(beside).unlink(missing_ok=True)
        for folder in (path.parent, *(folder.parent for folder in made)):
            _sync(folder)
        return previous

    def read(self, file: str) -> Iterator[list[ArchivedEvent]]:
        """The events of a file, some thousand at a time. Raises OSError where it is missing or cut off, and
        msgspec.DecodeError (a ValueError) where a line is none of ours."""
        with gzip.open(self._folder / file, "rb") as lines:
            chunk = []
            for line in lines:
                chunk.append(_decode(line))
                if len(chunk) >= _LINES_A_CHUNK:
                    yield chunk
                    chunk = []
            if chunk:
                yield chunk

    def chain(self, file: str, *, previous: bytes) -> bytes:
        """What the chain is after the events of a file. Raises as `read` does."""
        for chunk in self.read(file):
            previous = chained(previous, chunk)
        return previous


def _sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def chained(previous: bytes, events: Sequence[ArchivedEvent]) -> bytes:
    """The chain after these events (colink.domain.sealing.encoding)."""
    rows = (
        (
            event.position,
            event.stream_id,
            event.version,
            event.topic,
            event.schema_version,
            event.payload,
            event.organization_id,
            epoch_microseconds(event.recorded_at),
            event.actor,
            event.correlation_id,
            event.causation_id,
        )
        for event in events
    )
    chain = links(previous, leaf_hashes(rows))
    return chain[-1] if chain else previous
