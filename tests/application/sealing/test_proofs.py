"""A proof is checked with nothing but itself and what the verifier trusts; whatever was changed in it is refused, and
none is believed where there is nothing to check it against."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.domain.sealing.oracle import Kept, consistency_path, inclusion_path, root_of

from colink.application.sealing.keys import SigningKey
from colink.application.sealing.proofs import (
    Consistency,
    Inclusion,
    MalformedProof,
    NothingToTrust,
    SealedEvent,
    encoded,
    inclusion,
    parse,
    verify,
)
from colink.domain.errors import ColinkError
from colink.domain.sealing.checkpoint import Checkpoint, MalformedNote
from colink.domain.sealing.encoding import EventRow, NotSealable, leaf_hashes
from colink.domain.sealing.merkle import ProofRejected

ORIGIN = "colink/00112233445566778899aabbccddeeff/commerce"
KEY, ANOTHER = SigningKey.generate(ORIGIN), SigningKey.generate(ORIGIN)
ROWS: list[EventRow] = [
    (position, f"ord_{position}", 1, "order.recorded", 2, '{"amount": 1050}', None, 10**15 + position, "a", "c", "e")
    for position in range(1, 301)
]
LEAVES = leaf_hashes(ROWS)
KEPT = Kept(LEAVES)


def note(size: int, *, key: SigningKey = KEY, root: bytes | None = None) -> str:
    return key.sign(Checkpoint(origin=ORIGIN, size=size, root=root or root_of(LEAVES[:size])))


def proven(position: int = 77, size: int = 300, *, checkpoint: str | None = None) -> Inclusion:
    return inclusion(
        event=ROWS[position - 1],
        leaf=LEAVES[position - 1],
        index=position - 1,
        size=size,
        root=root_of(LEAVES[:size]),
        path=inclusion_path(KEPT, position - 1, size),
        note=note(size) if checkpoint is None else checkpoint,
    )


def consistent(old: int = 200, new: int = 300) -> Consistency:
    return Consistency(
        from_size=old,
        to_size=new,
        from_root=encoded(root_of(LEAVES[:old])),
        to_root=encoded(root_of(LEAVES[:new])),
        path=[encoded(each) for each in consistency_path(KEPT, old, new)],
        from_checkpoint=note(old),
        to_checkpoint=note(new),
    )


def changed(proof: Inclusion | Consistency, change: Callable[[Any], object]) -> Inclusion | Consistency:
    """The proof as somebody edits its JSON."""
    document = json.loads(msgspec.json.encode(proof))
    change(document)
    return parse(json.dumps(document).encode())


def test_an_event_is_proven_with_the_key_alone() -> None:
    verified = verify(parse(msgspec.json.encode(proven())), key=KEY.verifier)
    assert (verified.proof, verified.origin, verified.position, verified.tree_size) == ("inclusion", ORIGIN, 77, 300)
    assert verified.signed_by == str(KEY.verifier)
    assert verified.event is not None
    assert verified.event.payload == '{"amount": 1050}'
    assert verified.event.recorded_at == "2001-09-09T01:46:40.000077Z"


def test_an_event_is_proven_with_a_checkpoint_that_was_kept() -> None:
    verified = verify(proven(), checkpoint=note(300))
    assert (verified.position, verified.signed_by) == (77, None)
    without = changed(proven(), lambda document: document.update(checkpoint=None))
    assert verify(without, checkpoint=note(300), key=KEY.verifier).signed_by == str(KEY.verifier)


def test_a_withheld_event_is_proven_by_its_leaf() -> None:
    withheld = changed(proven(), lambda document: document.update(event=None))
    verified = verify(withheld, key=KEY.verifier)
    assert (verified.position, verified.event) == (77, None)


EVENT_CHANGES: dict[str, object] = {
    "stream_id": "ord_78",
    "version": 2,
    "type": "order.Recorded",
    "schema_version": 1,
    "payload": '{"amount":1050}',
    "organization_id": "",
    "recorded_at": "2001-09-09T01:46:40.000078Z",
    "actor": "b",
    "correlation_id": "",
    "causation_id": None,
}


@pytest.mark.parametrize("field", EVENT_CHANGES)
def test_any_change_of_the_event_is_refused(field: str) -> None:
    assert EVENT_CHANGES.keys() == set(SealedEvent.__struct_fields__) - {"position"}
    forged = changed(proven(), lambda document: document["event"].update({field: EVENT_CHANGES[field]}))
    with pytest.raises(ProofRejected, match="not the one that was sealed"):
        verify(forged, key=KEY.verifier)


def forge_event_and_leaf(document: Any) -> None:
    document["event"]["payload"] = "{}"
    row = list(ROWS[76])
    row[5] = "{}"
    (leaf,) = leaf_hashes([tuple(row)])  # type: ignore[list-item]  # only a text was exchanged
    document["leaf_hash"] = encoded(leaf)


CHANGES: dict[str, tuple[Callable[[Any], object], str]] = {
    "event and leaf": (forge_event_and_leaf, "does not lead"),
    "another event": (lambda d: d["event"].update(msgspec.to_builtins(SealedEvent.of(ROWS[5]))), "not the one"),
    "position": (lambda d: d["event"].update(position=78), "not the one"),
    "leaf": (lambda d: d.update(leaf_hash=encoded(LEAVES[77])), "not the one"),
    "index": (lambda d: d.update(leaf_index=77), "is not leaf 77"),
    "size": (lambda d: d.update(tree_size=299), "not those of the checkpoint"),
    "root": (lambda d: d.update(root_hash=encoded(LEAVES[0])), "not those of the checkpoint"),
    "path": (lambda d: d["path"].reverse(), "does not lead"),
    "shorter path": (lambda d: d["path"].pop(), "too short"),
    "longer path": (lambda d: d["path"].append(d["root_hash"]), "too long"),
    "checkpoint of another tree": (lambda d: d.update(checkpoint=note(299)), "not those of the checkpoint"),
    "checkpoint by another key": (
        lambda d: d.update(checkpoint=note(300, key=ANOTHER)),
        "is not signed with the key",
    ),
    "checkpoint edited": (
        lambda d: d.update(checkpoint=d["checkpoint"].replace("\n300\n", "\n299\n"), tree_size=299),
        "signature of the checkpoint is wrong",
    ),
    "withheld with another index": (lambda d: d.update(event=None, leaf_index=78), "does not lead"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_of_a_proof_is_refused(change: str) -> None:
    edit, reason = CHANGES[change]
    with pytest.raises(ProofRejected, match=reason):
        verify(changed(proven(), edit), key=KEY.verifier)


def test_a_forged_log_of_somebody_elses_is_refused() -> None:
    """Everything fits together, but for the key."""
    forged = proven(checkpoint=note(300, key=ANOTHER))
    assert verify(forged, key=ANOTHER.verifier).position == 77
    with pytest.raises(ProofRejected, match="is not signed with the key"):
        verify(forged, key=KEY.verifier)


def test_a_kept_checkpoint_of_another_tree_does_not_vouch() -> None:
    with pytest.raises(ProofRejected, match="has 299 leaves, the proof 300: ask for one with that tree_size"):
        verify(proven(), checkpoint=note(299))
    with pytest.raises(ProofRejected, match="not those of the checkpoint"):
        verify(proven(), checkpoint=note(300, root=LEAVES[0]))
    with pytest.raises(ProofRejected, match="is not signed with the key"):
        verify(proven(), checkpoint=note(300, key=ANOTHER), key=KEY.verifier)


def test_with_nothing_to_trust_nothing_is_verified() -> None:
    with pytest.raises(NothingToTrust, match="public key, or a checkpoint"):
        verify(proven())
    with pytest.raises(NothingToTrust, match="public key"):
        verify(consistent(), checkpoint=note(200))
    with pytest.raises(NothingToTrust, match="holds no checkpoint"):
        verify(changed(proven(), lambda document: document.update(checkpoint=None)), key=KEY.verifier)


def test_the_log_was_only_appended_to() -> None:
    verified = verify(consistent(), key=KEY.verifier)
    assert (verified.proof, verified.from_size, verified.tree_size) == ("consistency", 200, 300)
    assert verify(consistent(), key=KEY.verifier, checkpoint=note(200)).from_size == 200
    bare = changed(consistent(), lambda document: document.update(from_checkpoint=None))
    assert verify(bare, key=KEY.verifier, checkpoint=note(200)).from_size == 200
    with pytest.raises(NothingToTrust, match="200 leaves"):
        verify(bare, key=KEY.verifier)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda d: d.update(from_size=201), "not those of the checkpoints"),
        (lambda d: d.update(from_root=d["to_root"]), "not those of the checkpoints"),
        (lambda d: d.update(to_root=d["from_root"]), "not those of the checkpoints"),
        (lambda d: d.update(to_checkpoint=note(300, key=ANOTHER)), "is not signed with the key"),
        (lambda d: d["path"].reverse(), "does not lead"),
        (lambda d: d["path"].clear(), "too short"),
    ],
)
def test_any_change_of_a_consistency_proof_is_refused(edit: Callable[[Any], object], reason: str) -> None:
    with pytest.raises(ProofRejected, match=reason):
        verify(changed(consistent(), edit), key=KEY.verifier)


def test_an_auditor_who_kept_another_history_notices() -> None:
    """The log was rewritten and signed again with the same key; the auditor kept what was signed before."""
    before = note(200, root=LEAVES[0])
    with pytest.raises(ProofRejected, match="not those of the checkpoints"):
        verify(consistent(), key=KEY.verifier, checkpoint=before)
    with pytest.raises(ProofRejected, match="has 150 leaves"):
        verify(consistent(), key=KEY.verifier, checkpoint=note(150))


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"format": "colink.inclusion.2"}',
        msgspec.json.encode(proven()).replace(b'"tree_size":300', b'"tree_size":"300"'),
        msgspec.json.encode(proven()).replace(b'"tree_size"', b'"unknown":1,"tree_size"'),
        msgspec.json.encode(proven()).replace(b'"version":1,', b""),
        msgspec.json.encode(proven()).replace(b'"actor":"a"', b'"actor":"somebody else","actor":"a"'),
    ],
)
def test_what_is_no_proof(document: bytes) -> None:
    with pytest.raises(MalformedProof, match="not a proof"):
        parse(document)


@pytest.mark.parametrize(
    ("edit", "error", "reason"),
    [
        (lambda d: d.update(leaf_hash="AAAA"), MalformedProof, "32 bytes"),
        (lambda d: d.update(path=["not base64"]), MalformedNote, "not base64"),
        (lambda d: d["event"].update(recorded_at="2001-09-09T01:46:40.77Z"), MalformedProof, "six decimals"),
        (lambda d: d["event"].update(recorded_at="2001-19-09T01:46:40.000077Z"), MalformedProof, "no time"),
        (lambda d: d["event"].update(actor="a\x1fb"), NotSealable, "control character"),
        (lambda d: d.update(checkpoint="nothing"), MalformedNote, "empty line"),
    ],
)
def test_what_is_not_well_formed_in_a_proof(
    edit: Callable[[Any], object], error: type[ColinkError], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        verify(changed(proven(), edit), key=KEY.verifier)


def test_a_proof_is_checked_where_there_is_no_database_and_no_server(tmp_path: Path) -> None:
    """What an auditor runs imports neither a database driver nor a web framework."""
    proof = tmp_path / "proof.json"
    proof.write_bytes(msgspec.json.encode(proven()))
    probe = (
        "import runpy, sys\n"
        f"sys.argv[1:] = [{str(proof)!r}, '--public-key', {str(KEY.verifier)!r}]\n"
        "try:\n    runpy.run_module('colink.application.sealing', run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "heavy = {'psycopg', 'psycopg_pool', 'fastapi', 'starlette', 'sqlalchemy', 'eventsourcing', 'typer'}\n"
        "assert not heavy & {name.partition('.')[0] for name in sys.modules}, sorted(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"verified: inclusion in {ORIGIN}, 300 events\n"

    proof.write_bytes(msgspec.json.encode(changed(proven(), lambda document: document.update(leaf_index=4))))
    command = [sys.executable, "-m", "colink.application.sealing", str(proof), "--public-key", str(KEY.verifier)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "not verified: the event at position 77 is not leaf 4\n"

    proof.write_bytes(msgspec.json.encode(proven()))
    for wrong, why in (((str(proof),), "give the log's public key"), ((str(tmp_path / "none"),), "No such file")):
        done = subprocess.run([*command[:3], *wrong], capture_output=True, text=True, check=False)
        assert done.returncode == 2, "not the answer of a proof that does not verify"
        assert why in done.stderr
