"""Signed notes, checkpoints and keys in the text forms of C2SP: its own examples verify, and nothing else is read."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from colink.application.sealing.keys import SigningKey, signature_is_good
from colink.domain.sealing.checkpoint import (
    Checkpoint,
    MalformedNote,
    VerifierKey,
    parse_checkpoint,
    parse_note,
    verified_checkpoint,
)
from colink.domain.sealing.merkle import ProofRejected

ROOT = bytes(range(32))
ORIGIN = "colink/00112233445566778899aabbccddeeff/commerce"
CHECKPOINT = Checkpoint(origin=ORIGIN, size=700, root=ROOT)
# The seed of RFC 8032 section 7.1, test 1.
KEY = SigningKey(
    name=ORIGIN,
    private=Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    ),
)
OTHER = SigningKey.generate(ORIGIN)
NOTE = KEY.sign(CHECKPOINT)
ENCODED = base64.b64encode(b"\x01" + KEY.verifier.public).decode()


def test_a_note_of_the_go_implementation_verifies() -> None:
    """The published example of golang.org/x/mod/sumdb/note."""
    key = VerifierKey.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    note = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
        "\n"
        "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBw"
        "JnAM=\n"
    )
    parsed = parse_note(note)
    (signature,) = parsed.signatures
    assert (signature.name, signature.key_id) == (key.name, key.key_id)
    assert signature_is_good(key.public, signature.signature, parsed.text.encode())
    assert not signature_is_good(key.public, signature.signature, parsed.text.encode() + b"x")
    assert parsed.signed() == note


def test_the_text_of_a_checkpoint_and_its_keys() -> None:
    assert CHECKPOINT.text() == f"{ORIGIN}\n700\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    key = KEY.verifier
    assert key.public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert str(key) == f"{ORIGIN}+0207aabb+{base64.b64encode(bytes([1]) + key.public).decode()}"
    assert VerifierKey.parse(f"{key}\n") == key
    signature = "Agequ0BAk/5WOyoc0xgWTE2ezbOEHoVk0heNrmGZj+BcT+QOY1g+AgUOPKANS5msrMR7rR+gZLmUDvHl421ynk270Q4="
    assert f"{CHECKPOINT.text()}\n\u2014 {ORIGIN} {signature}\n" == NOTE
    assert verified_checkpoint(NOTE, key, check=signature_is_good) == CHECKPOINT


def test_a_signing_key_is_read_as_it_is_written() -> None:
    text = KEY.secret_text()
    assert text.startswith(f"PRIVATE+KEY+{ORIGIN}+{KEY.verifier.key_id.hex()}+")
    assert SigningKey.parse(text).verifier == KEY.verifier
    assert SigningKey.parse(text).sign(CHECKPOINT) == NOTE
    assert "PRIVATE" not in repr(KEY)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("", "not a signing key"),
        (str(KEY.verifier), "not a signing key"),
        (f"PRIVATE+KEY+{KEY.verifier}", "does not belong"),
        ("PRIVATE+KEY+a+00000000+AQ==", "not an Ed25519 key"),
    ],
)
def test_what_is_no_signing_key(wrong: str, reason: str) -> None:
    with pytest.raises(MalformedNote, match=reason):
        SigningKey.parse(wrong)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("colink", "form name\\+id\\+base64"),
        (f"{ORIGIN}+0123+AQ==", "form name\\+id\\+base64"),
        (f"{ORIGIN}+00000000+{ENCODED}", "expected"),
        (str(KEY.verifier)[:-4] + "AAAA", "expected"),
        (f"{ORIGIN}+01234567+AQ==", "not an Ed25519 key"),
        (f"+01234567+{ENCODED}", "key name"),
        (str(KEY.verifier).replace("/commerce", " commerce"), "key name"),
        (str(KEY.verifier) + "=", "not base64"),
    ],
)
def test_what_is_no_public_key(wrong: str, reason: str) -> None:
    with pytest.raises(MalformedNote, match=reason):
        VerifierKey.parse(wrong)


def test_signatures_of_others_are_ignored_as_long_as_ours_is_there() -> None:
    witness = SigningKey.generate("witness.example/w1").sign(CHECKPOINT).rpartition("\n\n")[2]
    mine = NOTE.rpartition("\n\n")[2]
    for lines in (witness + mine, mine + witness):
        note = CHECKPOINT.text() + "\n" + lines
        assert verified_checkpoint(note, KEY.verifier, check=signature_is_good) == CHECKPOINT
    with pytest.raises(ProofRejected, match="is not signed with the key"):
        verified_checkpoint(CHECKPOINT.text() + "\n" + witness, KEY.verifier, check=signature_is_good)
    with pytest.raises(ProofRejected, match="is not signed with the key"):
        verified_checkpoint(NOTE, OTHER.verifier, check=signature_is_good)


def test_sixteen_post_quantum_witnesses_fit() -> None:
    """The least that signed-note wants accepted, at the size it names."""
    witness = "\u2014 witness.example " + base64.b64encode(b"wtns" + bytes(5_000)).decode() + "\n"
    assert verified_checkpoint(NOTE + witness * 16, KEY.verifier, check=signature_is_good) == CHECKPOINT


def test_a_wrong_signature_of_our_key_condemns_the_note_even_beside_a_right_one() -> None:
    right = NOTE.rpartition("\n\n")[2]
    wrong = KEY.sign(Checkpoint(origin=ORIGIN, size=701, root=ROOT)).rpartition("\n\n")[2]
    for lines in (wrong, right + wrong, wrong + right):
        with pytest.raises(ProofRejected, match="signature of the checkpoint is wrong"):
            verified_checkpoint(CHECKPOINT.text() + "\n" + lines, KEY.verifier, check=signature_is_good)


def test_a_checkpoint_of_another_log_is_refused_though_the_key_signed_it() -> None:
    another = KEY.sign(Checkpoint(origin="colink/another/commerce", size=700, root=ROOT))
    with pytest.raises(ProofRejected, match="is of the log colink/another/commerce"):
        verified_checkpoint(another, KEY.verifier, check=signature_is_good)


@pytest.mark.parametrize("change", ["700", ORIGIN, "AAEC"])
def test_a_changed_checkpoint_is_refused(change: str) -> None:
    changed = NOTE.replace(change, change[:-1] + ("1" if change[-1] != "1" else "2"), 1)
    with pytest.raises(ProofRejected):
        verified_checkpoint(changed, KEY.verifier, check=signature_is_good)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "at least three lines"),
        ("a\n1\n", "at least three lines"),
        (f"\n1\n{'A' * 43}=\n", "at least three lines"),
        (f"a\n1\n{'A' * 43}=", "at least three lines"),
        (f"a\n01\n{'A' * 43}=\n", "without leading zeroes"),
        (f"a\n-1\n{'A' * 43}=\n", "without leading zeroes"),
        (f"a\n\u0661\n{'A' * 43}=\n", "without leading zeroes"),
        (f"a\n9223372036854775808\n{'A' * 43}=\n", "without leading zeroes"),
        ("a\n1\nAAAA\n", "root of 32 bytes"),
        (f"a\n1\n{'A' * 42}B=\n", "root is not base64"),
        (f"a\n1\n{'A' * 43}\n", "root is not base64"),
        (f"a\n1\n{'-' * 43}=\n", "root is not base64"),
        (f"a\n1\n{'A' * 43}=\n\n", "at least three lines"),
    ],
)
def test_what_is_no_checkpoint(text: str, reason: str) -> None:
    with pytest.raises(MalformedNote, match=reason):
        parse_checkpoint(text)


def test_extension_lines_are_let_pass() -> None:
    assert parse_checkpoint(CHECKPOINT.text() + "whatever\n") == CHECKPOINT


SIGNATURE = NOTE.rpartition("\n\n")[2]


@pytest.mark.parametrize(
    ("note", "reason"),
    [
        ("", "does not end in an empty line"),
        (CHECKPOINT.text(), "does not end in an empty line"),
        (NOTE[:-1], "does not end in an empty line"),
        (CHECKPOINT.text() + "\n", "does not end in an empty line"),
        (CHECKPOINT.text() + "\n\n", "does not end in an empty line"),
        (NOTE.replace("\u2014", "-"), "begins with an em dash"),
        (NOTE.replace("\n", "\r\n"), "control characters"),
        (NOTE.replace("700", "7\x0000"), "control characters"),
        (NOTE[:-2] + "\n", "signature is not base64"),
        (CHECKPOINT.text() + f"\n\u2014 {ORIGIN} AAAA\n", "key id of four bytes"),
        (CHECKPOINT.text() + f"\n\u2014 a+b {SIGNATURE.split(' ')[2]}", "key name"),
        (CHECKPOINT.text() + f"\n\u2014  {SIGNATURE.split(' ')[2]}", "key name"),
        (CHECKPOINT.text() + "\n" + SIGNATURE * 65, "too many signatures"),
        ("x" * 530_000, "too long"),
    ],
)
def test_what_is_no_note(note: str, reason: str) -> None:
    with pytest.raises(MalformedNote, match=reason):
        parse_note(note)


def test_a_text_with_empty_lines_ends_at_the_last_of_them() -> None:
    text = "one\n\ntwo\n"
    note: Any = parse_note(text + "\n" + SIGNATURE)
    assert note.text == text
