"""Proofs as documents: what an outsider is handed, and how it is checked with nothing but the document and a key.

Responsible for the JSON forms `colink.inclusion.1` and `colink.consistency.1` and their verification. Not responsible
for making proofs (projections.seals). No database and no network: `verify` works wherever this package is installed.

What a verification shows depends on what the verifier trusts beforehand: the log's public key, or a checkpoint kept
from earlier. With neither there is nothing to check against, so that is refused rather than answered with a yes.
"""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from colink.application.sealing.keys import signature_is_good
from colink.domain.errors import InvalidInput
from colink.domain.sealing.checkpoint import (
    Checkpoint,
    VerifierKey,
    decoded,
    parse_checkpoint,
    parse_note,
    verified_checkpoint,
)
from colink.domain.sealing.encoding import HASH_BYTES, EventRow, epoch_microseconds, leaf_data, leaf_hash
from colink.domain.sealing.merkle import ProofRejected, verify_consistency, verify_inclusion

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MalformedProof(InvalidInput):
    slug, title = "malformed-proof", "Not a proof"


class NothingToTrust(InvalidInput):
    slug, title = "nothing-to-trust", "Nothing to check the proof against"


class SealedEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event as it was sealed. `payload` is the text as stored, byte for byte; `recorded_at` has six decimals."""

    position: int
    stream_id: str
    version: int
    type: str
    schema_version: int
    payload: str
    organization_id: str | None
    recorded_at: str
    actor: str
    correlation_id: str
    causation_id: str | None

    @classmethod
    def of(cls, row: EventRow) -> SealedEvent:
        position, stream, version, topic, schema, payload, organization, recorded, actor, correlation, causation = row
        moment = _EPOCH + timedelta(microseconds=recorded)
        return cls(
            position=position,
            stream_id=stream,
            version=version,
            type=topic,
            schema_version=schema,
            payload=payload,
            organization_id=organization,
            recorded_at=f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z",
            actor=actor,
            correlation_id=correlation,
            causation_id=causation,
        )

    def row(self) -> EventRow:
        """Raises MalformedProof for a time in any but its one spelling."""
        if not _TIME.fullmatch(self.recorded_at):
            raise MalformedProof("recorded_at is not a UTC time with six decimals", field="event.recorded_at")
        try:
            recorded = epoch_microseconds(datetime.fromisoformat(self.recorded_at))
        except ValueError as error:
            msg = f"recorded_at is no time: {error}"
            raise MalformedProof(msg, field="event.recorded_at") from error
        return (
            self.position,
            self.stream_id,
            self.version,
            self.type,
            self.schema_version,
            self.payload,
            self.organization_id,
            recorded,
            self.actor,
            self.correlation_id,
            self.causation_id,
        )


class Inclusion(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="format",
    tag="colink.inclusion.1",
):
    """An event is in the log: leaf `leaf_index` (its position less one) of the tree of `tree_size` leaves. Hashes are
    base64. `checkpoint`: the signed note of just that tree, where one was published. `event` is null where the event
    is withheld (the digest of an API key is told to nobody): then the proof is about the leaf hash alone."""

    event: SealedEvent | None
    leaf_hash: str
    leaf_index: int
    tree_size: int
    root_hash: str
    path: list[str]
    checkpoint: str | None


class Consistency(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="format",
    tag="colink.consistency.1",
):
    """The tree of `to_size` leaves begins with the tree of `from_size` leaves: nothing was changed, only appended."""

    from_size: int
    to_size: int
    from_root: str
    to_root: str
    path: list[str]
    from_checkpoint: str | None
    to_checkpoint: str | None


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What a proof showed. `signed_by`: the key that vouches for it; None where a trusted checkpoint does. `position`
    and `event`: of an inclusion proof; `from_size`: of a consistency proof."""

    proof: Literal["inclusion", "consistency"]
    origin: str
    tree_size: int
    root_hash: str
    signed_by: str | None
    position: int | None = None
    event: SealedEvent | None = None
    from_size: int | None = None


def inclusion(
    *, event: EventRow | None, leaf: bytes, index: int, size: int, root: bytes, path: list[bytes], note: str | None
) -> Inclusion:
    return Inclusion(
        event=None if event is None else SealedEvent.of(event),
        leaf_hash=encoded(leaf),
        leaf_index=index,
        tree_size=size,
        root_hash=encoded(root),
        path=[encoded(each) for each in path],
        checkpoint=note,
    )


def encoded(hashed: bytes) -> str:
    return base64.b64encode(hashed).decode()


def parse(document: bytes) -> Inclusion | Consistency:
    """Raises MalformedProof. A name that stands twice is refused: other readers would take the other value for what
    was proven."""
    try:
        proof = msgspec.json.decode(document, type=Inclusion | Consistency)
        json.loads(document, object_pairs_hook=_unambiguous)
    except (msgspec.DecodeError, ValueError) as error:
        msg = f"this is not a proof: {error}"
        raise MalformedProof(msg) from error
    return proof


def _unambiguous(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def verify(
    proof: Inclusion | Consistency, *, key: VerifierKey | None = None, checkpoint: str | None = None
) -> Verified:
    """Check a proof against what the caller trusts: the log's public key, a checkpoint of their own (a signed note;
    with the key too its signature is checked, without it is taken as it is), or both.

    Raises ProofRejected where it does not show what it claims, MalformedProof and MalformedNote where it is none,
    NothingToTrust where neither is given.
    """
    if isinstance(proof, Consistency):
        return _verify_consistency(proof, key=key, checkpoint=checkpoint)
    return _verify_inclusion(proof, key=key, checkpoint=checkpoint)


def _verify_inclusion(proof: Inclusion, *, key: VerifierKey | None, checkpoint: str | None) -> Verified:
    leaf, root = _hash(proof.leaf_hash, "leaf_hash"), _hash(proof.root_hash, "root_hash")
    path = [_hash(each, "path") for each in proof.path]
    if proof.event is not None:
        if leaf_hash(leaf_data(proof.event.row())) != leaf:
            raise ProofRejected("the event is not the one that was sealed: its hash is another than leaf_hash")
        if proof.event.position != proof.leaf_index + 1:
            msg = f"the event at position {proof.event.position} is not leaf {proof.leaf_index}"
            raise ProofRejected(msg)
    head = _trusted_head(key=key, kept=checkpoint, shipped=proof.checkpoint, size=proof.tree_size)
    if (head.size, head.root) != (proof.tree_size, root):
        raise ProofRejected("tree_size and root_hash are not those of the checkpoint")
    verify_inclusion(leaf=leaf, index=proof.leaf_index, size=proof.tree_size, path=path, root=root)
    return Verified(
        proof="inclusion",
        origin=head.origin,
        tree_size=head.size,
        root_hash=proof.root_hash,
        signed_by=None if key is None else str(key),
        position=proof.leaf_index + 1,
        event=proof.event,
    )


def _verify_consistency(proof: Consistency, *, key: VerifierKey | None, checkpoint: str | None) -> Verified:
    from_root, to_root = _hash(proof.from_root, "from_root"), _hash(proof.to_root, "to_root")
    path = [_hash(each, "path") for each in proof.path]
    if key is None:
        raise NothingToTrust("give the log's public key: without it nobody vouches for the newer tree")
    kept = None if checkpoint is None else _opened(checkpoint, key)
    heads = []
    for name, size, shipped in (
        ("from", proof.from_size, proof.from_checkpoint),
        ("to", proof.to_size, proof.to_checkpoint),
    ):
        if kept is not None and kept.size == size:
            heads.append(kept)
        elif shipped is not None:
            heads.append(_opened(shipped, key))
        else:
            msg = f"the proof holds no checkpoint of the tree of {size} leaves ({name}_size): give the one you kept"
            raise NothingToTrust(msg)
    if kept is not None and kept not in heads:
        msg = f"the checkpoint given has {kept.size} leaves, the proof is from {proof.from_size} to {proof.to_size}"
        raise ProofRejected(msg)
    if [(head.size, head.root) for head in heads] != [(proof.from_size, from_root), (proof.to_size, to_root)]:
        raise ProofRejected("sizes and roots are not those of the checkpoints")
    verify_consistency(old=proof.from_size, old_root=from_root, new=proof.to_size, new_root=to_root, path=path)
    return Verified(
        proof="consistency",
        origin=heads[1].origin,
        tree_size=proof.to_size,
        root_hash=proof.to_root,
        signed_by=str(key),
        from_size=proof.from_size,
    )


def _trusted_head(*, key: VerifierKey | None, kept: str | None, shipped: str | None, size: int) -> Checkpoint:
    if kept is not None:
        head = _opened(kept, key)
        if head.size != size:
            msg = f"the checkpoint given has {head.size} leaves, the proof {size}: ask for one with that tree_size"
            raise ProofRejected(msg)
        return head
    if key is None:
        raise NothingToTrust("give the log's public key, or a checkpoint that you trust")
    if shipped is None:
        raise NothingToTrust("the proof holds no checkpoint: give the one of its tree_size")
    return _opened(shipped, key)


def _opened(note: str, key: VerifierKey | None) -> Checkpoint:
    if key is None:
        return parse_checkpoint(parse_note(note).text)
    return verified_checkpoint(note, key, check=signature_is_good)


def _hash(text: str, field: str) -> bytes:
    found = decoded(text, what=field)
    if len(found) != HASH_BYTES:
        msg = f"{field} is not a hash of 32 bytes"
        raise MalformedProof(msg, field=field)
    return found
