"""The bytes of an event that are sealed, their hash as a leaf of the Merkle tree, and the chain over the leaves.

Responsible for one canonical encoding, fixed for ever by golden vectors in the tests. Not responsible for the tree
(`merkle`), for reading events, or for whether what they say is true.

    data      "colink.event.1" and the eleven columns of the row, joined by U+001F, as UTF-8. Numbers in decimal,
              recorded_at in microseconds since 1970-01-01 UTC, NULL as U+001E, the payload as it is stored.
    leaf      SHA-256(0x00 || data)                              RFC 6962 section 2.1
    chain     SHA-256(chain before || leaf), starting from       every link covers all events up to it
              SHA-256("colink.chain.1" U+001F origin)            and which log it is the chain of

The append refuses both delimiters in every value, so no two events have the same bytes; a row that holds one came in
past the append and has no encoding at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from colink.domain.errors import ColinkError

SEPARATOR, NULL = "\x1f", "\x1e"
HASH_BYTES = 32

EventRow = tuple[int, str, int, str, int, str, str | None, int, str, str, str | None]
"""position, stream_id, version, topic, schema_version, payload, organization_id, recorded_at in microseconds (of
`epoch_microseconds`), actor, correlation_id, causation_id: the columns of the log in their order."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LEAF = "\x00colink.event.1\x1f"  # the byte that tells leaves from nodes, then the name of this encoding
_SEPARATORS = 11


class NotSealable(ColinkError):
    """The row at `position` holds a delimiter: it did not come in through the append."""

    slug, title, status = "not-sealable", "The event cannot be sealed", 409

    def __init__(self, position: int) -> None:
        super().__init__(
            f"the event at position {position} holds a control character (U+001E or U+001F) that the append refuses: "
            "it came in another way and is not sealed"
        )
        self.position = position


def origin_of(log_id: str) -> str:
    """What names the commerce log in its chain, its checkpoints and its keys. `log_id`: the installation's own."""
    return f"colink/{log_id}/commerce"


def epoch_microseconds(moment: datetime) -> int:
    """Microseconds from 1970-01-01 UTC to an aware moment; exact."""
    return (moment - _EPOCH) // _MICROSECOND


def leaf_data(row: EventRow) -> bytes:
    """The canonical bytes of one event. Raises NotSealable."""
    return _prefixed(row)[1:]


def leaf_hash(data: bytes) -> bytes:
    """The leaf of canonical bytes, as in RFC 6962."""
    return sha256(b"\x00" + data).digest()


def leaf_hashes(rows: Iterable[EventRow]) -> list[bytes]:
    """The leaves of many events: `leaf_hash(leaf_data(row))` of each, faster. Raises NotSealable."""
    return [sha256(_prefixed(row)).digest() for row in rows]


def leaves_of_data(first: int, rows: Iterable[tuple[bytes, int]]) -> list[bytes]:
    """The leaves of events from position `first` on, whose canonical bytes somebody else put together (the database
    does it in half the time): the bytes, and how many NULLs are among them. Raises NotSealable."""
    leaves: list[bytes] = []
    for data, nulls in rows:
        if data.count(b"\x1f") != _SEPARATORS or data.count(b"\x1e") != nulls:
            raise NotSealable(first + len(leaves))
        leaves.append(sha256(b"\x00" + data).digest())
    return leaves


def position_of(data: bytes) -> int:
    """The position in canonical bytes."""
    return int(data.split(b"\x1f", 2)[1])


def genesis(origin: str) -> bytes:
    """What stands before the first link. Another log's chain begins elsewhere, so none can be put in its place."""
    return sha256(f"colink.chain.1{SEPARATOR}{origin}".encode()).digest()


def link(previous: bytes, leaf: bytes) -> bytes:
    """The next link of the chain."""
    return sha256(previous + leaf).digest()


def links(previous: bytes, leaves: Sequence[bytes]) -> list[bytes]:
    """The links after `previous`, one a leaf."""
    chain = []
    for leaf in leaves:
        previous = sha256(previous + leaf).digest()
        chain.append(previous)
    return chain


def _prefixed(row: EventRow) -> bytes:
    position, stream, version, topic, schema, payload, organization, recorded, actor, correlation, causation = row
    data = (
        f"{_LEAF}{position}\x1f{stream}\x1f{version}\x1f{topic}\x1f{schema}\x1f{payload}\x1f"
        f"{NULL if organization is None else organization}\x1f{recorded}\x1f{actor}\x1f{correlation}\x1f"
        f"{NULL if causation is None else causation}"
    )
    if data.count(SEPARATOR) != _SEPARATORS or data.count(NULL) != (organization is None) + (causation is None):
        raise NotSealable(position)
    return data.encode()
