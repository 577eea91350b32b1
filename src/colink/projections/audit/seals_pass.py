"""The pass `seal`: the Merkle tree over the sealed leaves is the one that was signed, with a key of this log.

Nodes and roots are computed again from the leaves, which the pass `chain` compares with the events. Every published
checkpoint is checked, and every one that was kept outside the database: whoever cuts a log short, or writes it anew,
with its seals and checkpoints, cannot change those.

    leaves --> tree --> its nodes = those stored; its root at each checkpoint's size = the root that was signed
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from colink.application.privacy.envelope import PersonKeys
from colink.application.sealing.keys import signature_is_good
from colink.domain.audit.report import Kind, PassResult
from colink.domain.errors import ColinkError
from colink.domain.sealing.checkpoint import (
    Checkpoint,
    VerifierKey,
    parse_checkpoint,
    parse_note,
    verified_checkpoint,
)
from colink.domain.sealing.encoding import HASH_BYTES
from colink.domain.sealing.merkle import CompactRange, ProofRejected
from colink.projections.audit.rows import each_row
from colink.projections.engine import Connection

_LEAVES_A_TRIP = 8_192
_NODE_LEVELS = (8, 16)


@dataclass(frozen=True, kw_only=True)
class Outside:
    """What is known of the log from outside its database. `notes`: signed checkpoints by where they are kept; `keys`:
    the public keys it is signed with, none where nobody told; `no_others`: no signature of any other key counts, also
    of those that the database says the log had; `person_keys`: what personal data is sealed with, None where that is
    not here; `pepper`: what addresses are hashed with, None where the database is to say."""

    notes: Mapping[str, str] = field(default_factory=dict)
    keys: Sequence[VerifierKey] = ()
    no_others: bool = False
    person_keys: PersonKeys | None = None
    pepper: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class _Head:
    """A tree head that somebody vouches for; `what` names it in findings."""

    what: str
    size: int
    root: bytes


class SealsCheck:
    """`origin`: the log's name in its checkpoints and keys."""

    def __init__(self, conn: Connection, result: PassResult, *, origin: str, outside: Outside) -> None:
        self._conn, self._result = conn, result
        self._origin, self._outside = origin, outside
        self._tree = CompactRange(watch=_NODE_LEVELS)
        self._recorded_keys: list[VerifierKey] = []
        self._gap_in_keys = False

    async def check(self) -> None:
        """`checked` counts nodes and tree heads."""
        keys = await self._keys()
        heads = self._heads(keys)
        head = await anext(heads, None)
        async for leaves in self._leaves():
            rest = leaves
            while head is not None and head.size <= self._tree.size + len(rest):
                more = head.size - self._tree.size
                self._tree.extend(rest[:more])
                rest = rest[more:]
                self._compare_root(head)
                head = await anext(heads, None)
            self._tree.extend(rest)
            await self._compare_nodes()
        while head is not None:
            self._compare_root(head)
            head = await anext(heads, None)
        await self._find_extra_nodes()
        await self._check_times()
        await self._find_lost_seals()
        await self._say_what_is_not_signed()

    async def _leaves(self) -> AsyncIterator[list[bytes]]:
        """In order, up to the first that is missing."""
        while True:
            first = self._tree.size + 1
            cursor = await self._conn.execute(
                "SELECT count(*), string_agg(leaf, '' ORDER BY position) FROM colink.seals"
                " WHERE position BETWEEN %s AND %s",
                (first, first + _LEAVES_A_TRIP - 1),
                binary=True,
            )
            number, joined = await cursor.fetchone() or (0, b"")
            if number < _LEAVES_A_TRIP:
                break
            yield _cut(joined)
        cursor = await self._conn.execute(
            "SELECT position, leaf FROM colink.seals WHERE position BETWEEN %s AND %s ORDER BY position",
            (first, first + _LEAVES_A_TRIP - 1),
            binary=True,
        )
        rows = await cursor.fetchall()
        yield [leaf for expected, (position, leaf) in enumerate(rows, first) if position == expected]

    async def _compare_nodes(self) -> None:
        """The subtrees that became complete."""
        for level in _NODE_LEVELS:
            computed = self._tree.completed.pop(level, [])
            end = self._tree.size >> level
            first = end - len(computed)
            cursor = await self._conn.execute(
                "SELECT index, hash FROM colink.merkle_nodes WHERE level = %s AND index BETWEEN %s AND %s",
                (level, first, end - 1),
            )
            stored: dict[int, bytes] = dict(await cursor.fetchall())
            self._result.checked += len(computed)
            for index, hashed in enumerate(computed, first):
                if stored.get(index) != hashed:
                    self._result.find(
                        Kind.CHANGED if index in stored else Kind.MISSING,
                        (index << level) + 1,
                        f"merkle_nodes {level} {index}",
                        f"the hash over the 2^{level} leaves from {(index << level) + 1} on is not theirs",
                        recorded=stored[index].hex() if index in stored else None,
                        derived=hashed.hex(),
                    )

    async def _find_extra_nodes(self) -> None:
        rows = each_row(
            self._conn,
            "SELECT level, index FROM colink.merkle_nodes WHERE index < 0 OR ((index + 1) << level) > %s"
            " ORDER BY 1, 2",
            (self._tree.size,),
        )
        async for level, index in rows:
            first = (index << level) + 1
            self._result.find(
                Kind.EXTRA, first, f"merkle_nodes {level} {index}", f"no 2^{level} leaves are sealed from {first} on"
            )

    async def _check_times(self) -> None:
        """No signature covers when it was made; but no checkpoint is older than its last event or than the one
        before it."""
        rows = each_row(
            self._conn,
            "SELECT tree_size, signed_at, earliest FROM (SELECT c.tree_size, c.signed_at, greatest(e.recorded_at,"
            " lag(c.signed_at) OVER (ORDER BY c.tree_size)) AS earliest FROM colink.checkpoints c"
            " LEFT JOIN colink.events e ON e.position = c.tree_size) checkpoints WHERE signed_at < earliest",
        )
        async for size, signed_at, earliest in rows:
            what = f"checkpoint {size}"
            self._result.find(
                Kind.TIME_GOES_BACK,
                size,
                what,
                f"{what} is older than what it was signed over",
                recorded=signed_at,
                derived=f"not before {earliest}",
            )

    async def _say_what_is_not_signed(self) -> None:
        """The sealer signs what it sealed within a second or two, and then what it signed is published."""
        cursor = await self._conn.execute("SELECT coalesce(max(tree_size), 0) FROM colink.checkpoints")
        [(signed,)] = await cursor.fetchall()
        if signed < self._tree.size:
            self._result.leaves_out(
                f"{self._tree.size:,} events are sealed, and the newest checkpoint is over {signed:,} of them"
            )

    async def _find_lost_seals(self) -> None:
        """A key says how much was sealed when it was made: the first one comes after the first seal."""
        sealed = self._tree.size
        cursor = await self._conn.execute("SELECT max(tree_size) FROM colink.checkpoint_keys")
        [(size,)] = await cursor.fetchall()
        if size is not None and size > sealed:
            self._result.find(
                Kind.MISSING,
                sealed + 1,
                "checkpoint_keys",
                f"{size} events were sealed when a key was made, but the log's seals end at {sealed}",
            )

    def _compare_root(self, head: _Head) -> None:
        self._result.checked += 1
        sealed = self._tree.size
        if head.size > sealed:
            self._result.find(
                Kind.MISSING,
                sealed + 1,
                head.what,
                f"{head.what} has {head.size} events, but the log's seals end at {sealed}: it was cut short",
            )
        elif head.root != self._tree.root():
            self._result.find(
                Kind.CHANGED,
                head.size,
                head.what,
                f"the first {head.size} events are not those that {head.what} was signed over",
                recorded=self._tree.root().hex(),
                derived=head.root.hex(),
            )

    async def _keys(self) -> list[VerifierKey]:
        """All that this log was signed with, as the database says and as is known outside."""
        cursor = await self._conn.execute(
            "SELECT ordinal, verifier_key, tree_size FROM colink.checkpoint_keys ORDER BY ordinal"
        )
        keys = []
        for number, (ordinal, text, size) in enumerate(await cursor.fetchall(), start=1):
            if ordinal != number and not self._gap_in_keys:
                self._gap_in_keys = True
                self._result.find(
                    Kind.GAP, size, "checkpoint_keys", f"key {ordinal} of the log follows where {number} was expected"
                )
            try:
                key = VerifierKey.parse(text)
            except ColinkError as error:
                self._result.find(Kind.UNREADABLE, size, text, f"a key in the database is none: {error}")
                continue
            if key.name != self._origin:
                self._result.find(Kind.CHANGED, size, text, f"the key {key.name} is another log's")
            keys.append(key)
        self._recorded_keys = keys
        known = [key for key in self._outside.keys if key.name == self._origin]
        if known and keys and keys[-1] not in known:
            self._result.find(
                Kind.CHANGED, 0, str(keys[-1]), "the key that signs is none that is known outside the database"
            )
        return known if self._outside.no_others else [*known, *(key for key in keys if key not in known)]

    async def _heads(self, keys: Sequence[VerifierKey]) -> AsyncIterator[_Head]:
        """By size; those that are not signed as they must be are findings and left out."""
        outside = []
        for place, note in self._outside.notes.items():
            what = f"the checkpoint in {place}"
            checkpoint = self._verified(note, keys, what=what, position=0)
            if checkpoint is not None:
                outside.append(_Head(what=what, size=checkpoint.size, root=checkpoint.root))
        outside.sort(key=lambda head: head.size)
        rows = each_row(self._conn, "SELECT tree_size, root, note FROM colink.checkpoints ORDER BY tree_size")
        async for size, root, note in rows:
            while outside and outside[0].size <= size:
                yield outside.pop(0)
            what = f"checkpoint {size}"
            checkpoint = self._verified(note, keys, what=what, position=size)
            if checkpoint is None:
                continue
            self._look_for_its_key(note, keys, size)
            if (checkpoint.size, checkpoint.root) != (size, root):
                self._result.find(Kind.CHANGED, size, what, f"the row of {what} is not what its note says")
            yield _Head(what=what, size=size, root=checkpoint.root)
        for head in outside:
            yield head

    def _look_for_its_key(self, note: str, keys: Sequence[VerifierKey], size: int) -> None:
        """Who signed what is published stands in the database too, not only outside."""
        if any(_is_signed_by(key, note) for key in self._recorded_keys):
            return
        for key in keys:
            if _is_signed_by(key, note):
                self._result.find(
                    Kind.MISSING, size, str(key), f"the key that signed checkpoint {size} is not in checkpoint_keys"
                )

    def _verified(self, note: str, keys: Sequence[VerifierKey], *, what: str, position: int) -> Checkpoint | None:
        try:
            checkpoint = parse_checkpoint(parse_note(note).text)
            if checkpoint.origin != self._origin:
                msg = f"it is of the log {checkpoint.origin}, this is {self._origin}"
                raise ProofRejected(msg)
            return _signed(note, keys)
        except ColinkError as error:
            self._result.find(Kind.CHANGED, position, what, f"{what} is none of this log: {error}")
            return None


def _signed(note: str, keys: Sequence[VerifierKey]) -> Checkpoint:
    """Raises ProofRejected unless one of the keys signed it."""
    refusal = ProofRejected("no key of this log is known")
    for key in keys:
        try:
            return verified_checkpoint(note, key, check=signature_is_good)
        except ProofRejected as error:
            refusal = error
    raise refusal


def _is_signed_by(key: VerifierKey, note: str) -> bool:
    try:
        verified_checkpoint(note, key, check=signature_is_good)
    except ProofRejected:
        return False
    return True


def _cut(joined: bytes) -> list[bytes]:
    return [joined[at : at + HASH_BYTES] for at in range(0, len(joined), HASH_BYTES)]
