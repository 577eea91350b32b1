"""RFC 6962 as it is written, slow and obvious: what our tree is held against, besides other people's vectors."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from colink.domain.sealing.merkle import (
    Hashes,
    Range,
    complete_root,
    consistency_ranges,
    inclusion_ranges,
    range_root,
    spans,
)


def leaves_of(entries: Sequence[bytes]) -> list[bytes]:
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def root_of(leaves: Sequence[bytes]) -> bytes:
    """MTH of section 2.1."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + root_of(leaves[:split]) + root_of(leaves[split:])).digest()


class Kept(dict[tuple[int, int], bytes]):
    """The stored levels of a tree, as a database has them; counts what is taken out."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        super().__init__({(0, index): leaf for index, leaf in enumerate(leaves)})
        for level in (8, 16):
            for index in range(len(leaves) >> level):
                self[level, index] = complete_root(leaves[index << level : (index + 1) << level])

    def only(self, ranges: Sequence[Range]) -> Hashes:
        """What is read for these ranges, and no more."""
        return {
            (span.level, index): self[span.level, index]
            for span in spans(ranges)
            for index in range(span.first, span.last + 1)
        }


def inclusion_path(kept: Kept, index: int, size: int) -> list[bytes]:
    ranges = inclusion_ranges(index, size)
    hashes = kept.only(ranges)
    return [range_root(hashes, each) for each in ranges]


def consistency_path(kept: Kept, old: int, new: int) -> list[bytes]:
    ranges = consistency_ranges(old, new)
    hashes = kept.only(ranges)
    return [range_root(hashes, each) for each in ranges]
