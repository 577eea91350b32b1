"""The Merkle tree over the leaves, as RFC 6962 section 2.1 defines it: roots, and proofs about them.

Responsible for computing roots and proofs from whatever hashes of complete subtrees are at hand, and for verifying
proofs from nothing but themselves. Not responsible for what a leaf covers (`encoding`), for where hashes are kept
(projections.seals), or for signatures (`checkpoint`).

A complete subtree is named by `(level, index)`: it covers the 2^level leaves from index * 2^level on. Level 0 are the
leaves. Whoever keeps some levels (we keep 0, 8 and 16: `STORED_LEVELS`) reads, for a proof or a root, the `spans` of
its ranges and hands them in as a mapping; the few levels between are hashed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from colink.domain.errors import ColinkError

STORED_LEVELS = (0, 8, 16)
EMPTY_ROOT = sha256(b"").digest()

Node = tuple[int, int]
Hashes = Mapping[Node, bytes]
Range = tuple[int, int]
"""Leaves from the first number on, up to but without the second."""


class NotInTree(ColinkError):
    """There is no such leaf, or no tree of such a size, to prove anything about."""

    slug, title, status = "not-in-tree", "Not in the tree", 422


class ProofRejected(ColinkError):
    """A proof does not show what it claims to show. The text says where it fails."""

    slug, title, status = "proof-rejected", "The proof does not verify", 422


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Stored hashes of one level, by index: `first` to `last`, both included."""

    level: int
    first: int
    last: int


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


def complete_root(hashes: Sequence[bytes]) -> bytes:
    """The root of a complete subtree, from the hashes of any one level in it: 1, 2, 4, 8 ... of them."""
    while len(hashes) > 1:
        hashes = _joined(hashes)
    return hashes[0]


def _joined(hashes: Sequence[bytes]) -> list[bytes]:
    """The level above an even number of hashes."""
    pairs = iter(hashes)
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]


def subtrees(start: int, end: int) -> Iterator[Node]:
    """The largest complete subtrees that cover the leaves from `start` up to `end`, left to right."""
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        yield level, start >> level
        start += 1 << level


def spans(ranges: Iterable[Range]) -> list[Span]:
    """What must be at hand of the stored levels for the roots of these ranges; each hash once, in order."""
    wanted = sorted(_span(level, index) for start, end in ranges for level, index in subtrees(start, end))
    joined: list[Span] = []
    for span in wanted:
        if joined and joined[-1].level == span.level and span.first <= joined[-1].last + 1:
            joined[-1] = Span(span.level, joined[-1].first, max(joined[-1].last, span.last))
        else:
            joined.append(span)
    return joined


def _span(level: int, index: int) -> Span:
    stored = max(kept for kept in STORED_LEVELS if kept <= level)
    return Span(stored, index << (level - stored), ((index + 1) << (level - stored)) - 1)


def range_root(hashes: Hashes, leaves: Range) -> bytes:
    """The root of the tree over a range of leaves, as RFC 6962 splits it: the range starts where a subtree of its own
    size can. Raises NotInTree where a hash of its `spans` is not at hand."""
    start, end = leaves
    if start == end:
        return EMPTY_ROOT
    parts = [subtree_root(hashes, node) for node in subtrees(start, end)]
    return _folded(parts)


def subtree_root(hashes: Hashes, node: Node) -> bytes:
    """The root of a complete subtree. Raises NotInTree where a hash of its span is not at hand."""
    found = hashes.get(node)
    if found is not None:
        return found
    level, index = node
    span = _span(level, index)
    try:
        return complete_root([hashes[span.level, at] for at in range(span.first, span.last + 1)])
    except KeyError as missing:
        lacking, at = missing.args[0]
        msg = f"the hash of subtree {at} of 2^{lacking} leaves is missing"
        raise NotInTree(msg) from None


def _folded(parts: Sequence[bytes]) -> bytes:
    """The root over complete subtrees of falling size: the smallest are joined first."""
    root = parts[-1]
    for left in reversed(parts[:-1]):
        root = node_hash(left, root)
    return root


# Proofs as lists of ranges: the root of each range is one hash of the proof -----------------------------------------


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The ranges whose roots prove that leaf `index` is in the tree of `size` leaves (RFC 6962 section 2.1.1), from
    the leaf's sibling up. Raises NotInTree."""
    if not 0 <= index < size:
        msg = f"a tree of {size} leaves has no leaf {index}"
        raise NotInTree(msg)
    start, end = 0, size
    path: list[Range] = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return path[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """The ranges whose roots prove that the tree of `new` leaves begins with the tree of `old` leaves (RFC 6962
    section 2.1.2); none where the two are the same. Raises NotInTree."""
    if not 0 < old <= new:
        msg = f"nothing can be shown between trees of {old} and {new} leaves"
        raise NotInTree(msg)
    start, end, whole = 0, new, True
    path: list[Range] = []
    while old < end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start, whole = middle, False
    if not whole:
        path.append((start, end))
    return path[::-1]


def _split(count: int) -> int:
    """The largest power of two below a number of leaves above one."""
    return 1 << ((count - 1).bit_length() - 1)


# Verification: RFC 9162 sections 2.1.3.2 and 2.1.4.2 ----------------------------------------------------------------


def verify_inclusion(*, leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """That `leaf` is leaf `index` (from 0) of the tree of `size` leaves with this `root`. Raises ProofRejected."""
    if not 0 <= index < size:
        msg = f"a tree of {size} leaves has no leaf {index}"
        raise ProofRejected(msg)
    computed = leaf
    for sibling, on_the_left in zip(path, _sides(index, size - 1, len(path)), strict=True):
        computed = node_hash(sibling, computed) if on_the_left else node_hash(computed, sibling)
    if computed != root:
        raise ProofRejected("the inclusion path does not lead from the leaf to the root of the tree")


def verify_consistency(*, old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> None:
    """That the tree of `new` leaves begins with the tree of `old` leaves. Raises ProofRejected."""
    if not 0 < old <= new:
        msg = f"nothing can be shown between trees of {old} and {new} leaves"
        raise ProofRejected(msg)
    if old == new:
        if path or old_root != new_root:
            raise ProofRejected("two trees of the same size are the same tree, and need no path")
        return
    if old & (old - 1) == 0:  # the old tree is a complete subtree: its root is where the path starts
        path = [old_root, *path]
    if not path:
        raise ProofRejected("the path is too short for these sizes")
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    computed_old = computed_new = path[0]
    for sibling, on_the_left in zip(path[1:], _sides(node, last, len(path) - 1), strict=True):
        if on_the_left:
            computed_old, computed_new = node_hash(sibling, computed_old), node_hash(sibling, computed_new)
        else:
            computed_new = node_hash(computed_new, sibling)
    if computed_old != old_root:
        raise ProofRejected("the consistency path does not lead to the root of the older tree")
    if computed_new != new_root:
        raise ProofRejected("the consistency path does not lead to the root of the newer tree")


def _sides(node: int, last: int, count: int) -> list[bool]:
    """On the way up from `node`, where `last` is the last one of its level: whether each of the `count` siblings
    stands on the left. Raises ProofRejected where the way has another length."""
    sides = []
    for _ in range(count):
        if last == 0:
            raise ProofRejected("the path is too long for these sizes")
        on_the_left = bool(node & 1) or node == last
        if on_the_left:
            while not node & 1 and node:  # the last of its level has no sibling there
                node, last = node >> 1, last >> 1
        sides.append(on_the_left)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise ProofRejected("the path is too short for these sizes")
    return sides


# Growing ------------------------------------------------------------------------------------------------------------

_BLOCK_LEVEL = 8
_BLOCK = 1 << _BLOCK_LEVEL


@dataclass(slots=True)
class CompactRange:
    """A tree that only grows, kept as the roots of its complete subtrees, at most one a level: a log of any length is
    folded in constant memory. `completed` collects the subtrees of the `watch`ed levels that became complete, in
    order, until they are taken out."""

    size: int = 0
    parts: list[bytes] = field(default_factory=list)  # the roots of `subtrees(0, size)`
    watch: tuple[int, ...] = ()
    completed: dict[int, list[bytes]] = field(default_factory=dict)

    @classmethod
    def of(cls, hashes: Hashes, size: int, *, watch: tuple[int, ...] = ()) -> CompactRange:
        """The tree as it was with `size` leaves, from the hashes of `spans([(0, size)])`. Raises NotInTree."""
        return cls(size=size, parts=[subtree_root(hashes, node) for node in subtrees(0, size)], watch=watch)

    def append(self, leaf: bytes) -> None:
        self._push(0, leaf)

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Many leaves, faster than one by one."""
        at = 0
        while at < len(leaves):
            if self.size % _BLOCK == 0 and len(leaves) - at >= _BLOCK:
                self._push_block(leaves[at : at + _BLOCK])
                at += _BLOCK
            else:
                self._push(0, leaves[at])
                at += 1

    def root(self) -> bytes:
        return _folded(self.parts) if self.parts else EMPTY_ROOT

    def _push(self, level: int, root: bytes) -> None:
        """Add a complete subtree; the size is a multiple of its own."""
        self.size += 1 << level
        self.parts.append(root)
        self._note(level, (root,))
        for above in range(level + 1, (self.size & -self.size).bit_length()):
            right = self.parts.pop()
            self.parts[-1] = node_hash(self.parts[-1], right)
            self._note(above, (self.parts[-1],))

    def _push_block(self, hashes: Sequence[bytes]) -> None:
        for level in range(_BLOCK_LEVEL):
            self._note(level, hashes)
            hashes = _joined(hashes)
        self._push(_BLOCK_LEVEL, hashes[0])

    def _note(self, level: int, hashes: Sequence[bytes]) -> None:
        if level in self.watch:
            self.completed.setdefault(level, []).extend(hashes)
