"""Signed tree heads as text: C2SP signed-note and tlog-checkpoint, and keys in the form that goes with them.

Responsible for reading and writing these texts strictly (what two readers could read differently is refused) and for
which signature counts. Not responsible for Ed25519 itself: signatures are checked by a function that is handed in
(application.sealing.keys), so this stays pure.

    <origin>                            which log
    <tree size>                         how many leaves, in decimal
    <base64 of the root>
                                        an empty line ends what is signed
    — <key name> <base64 of the key id's 4 bytes and the signature>

Rules: https://c2sp.org/signed-note and https://c2sp.org/tlog-checkpoint. The key's name is the origin.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from colink.domain.errors import InvalidInput
from colink.domain.sealing.encoding import HASH_BYTES
from colink.domain.sealing.merkle import ProofRejected

ED25519 = 0x01  # the signature type byte of signed-note
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64

_DASH = "\u2014"
_MOST_SIGNATURES = 64  # a reader must take 16; far more than a log and its witnesses have is no note of ours
_LONGEST = 1 << 19  # characters: that many signatures of the post-quantum kinds, nearly 5 kB each, fit
_LARGEST_SIZE = 2**63 - 1
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_KEY_ID = re.compile(r"[0-9a-f]{8}")

SignatureCheck = Callable[[bytes, bytes, bytes], bool]
"""(public key, signature, what was signed) -> whether the signature is that key's."""


class MalformedNote(InvalidInput):
    """A text that is no signed note, no checkpoint or no key. The message says what is wrong with it."""

    slug, title = "malformed-note", "Not a signed checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A tree head: the log `origin` had `size` events with this Merkle `root`."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature line. Name and id together say which key."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        return f"{_DASH} {self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A signed text. The text means nothing until a signature of a known key was checked."""

    text: str
    signatures: tuple[Signature, ...]

    def signed(self) -> str:
        return self.text + "\n" + "".join(signature.line() for signature in self.signatures)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """An Ed25519 public key and the name of the log that signs with it."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + bytes([ED25519]) + self.public).digest()[:4]

    def __str__(self) -> str:
        """The C2SP vkey: name, key id and key, joined by plus signs."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([ED25519]) + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Raises MalformedNote for anything but an Ed25519 vkey whose id is right."""
        name, key_id, key = split_key(text.strip(), what="public key")
        if len(key) != 1 + PUBLIC_KEY_BYTES or key[0] != ED25519:
            raise MalformedNote("the public key is not an Ed25519 key of 32 bytes")
        found = cls(name=name, public=key[1:])
        if found.key_id.hex() != key_id:
            msg = f"the public key does not belong to its name and id: expected {found.key_id.hex()}, found {key_id}"
            raise MalformedNote(msg)
        return found


def split_key(text: str, *, what: str) -> tuple[str, str, bytes]:
    """Name, id in hexadecimal and bytes of an encoded key. The base64 at its end may hold plus signs itself."""
    parts = text.split("+", 2)
    if len(parts) != 3 or not _KEY_ID.fullmatch(parts[1]):
        msg = f"the {what} is not of the form name+id+base64"
        raise MalformedNote(msg)
    name, key_id, key = parts
    _check_name(name)
    return name, key_id, decoded(key, what=what)


def parse_note(text: str) -> Note:
    """Take a signed note apart. Raises MalformedNote."""
    if len(text) > _LONGEST:
        raise MalformedNote("the note is too long")
    if any(character < " " and character != "\n" for character in text):
        raise MalformedNote("the note holds control characters")
    body, blank, lines = text.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise MalformedNote("the note does not end in an empty line and signatures after it")
    signatures = tuple(_parse_signature(line) for line in lines[:-1].split("\n"))
    if len(signatures) > _MOST_SIGNATURES:
        raise MalformedNote("the note has too many signatures")
    return Note(text=body + "\n", signatures=signatures)


def parse_checkpoint(text: str) -> Checkpoint:
    """A tree head from the text of a note. Raises MalformedNote; extension lines (which nobody can audit) are let
    pass, as the rules say, and mean nothing."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise MalformedNote("a checkpoint has at least three lines, none of them empty: origin, size and root")
    origin, size, root = lines[:3]
    if not _SIZE.fullmatch(size) or int(size) > _LARGEST_SIZE:
        raise MalformedNote("the second line of a checkpoint is a tree size in decimal without leading zeroes")
    found = decoded(root, what="root")
    if len(found) != HASH_BYTES:
        raise MalformedNote("the third line of a checkpoint is a root of 32 bytes in base64")
    return Checkpoint(origin=origin, size=int(size), root=found)


def verified_checkpoint(note: str, key: VerifierKey, *, check: SignatureCheck) -> Checkpoint:
    """The tree head in a note that `key` signed. Raises MalformedNote for no checkpoint, ProofRejected where the key
    did not sign it. Signatures of other keys are ignored; a wrong one of this key condemns the note."""
    parsed = parse_note(note)
    checkpoint = parse_checkpoint(parsed.text)
    if checkpoint.origin != key.name:
        msg = f"the checkpoint is of the log {checkpoint.origin}, the public key of {key.name}"
        raise ProofRejected(msg)
    mine = [each for each in parsed.signatures if (each.name, each.key_id) == (key.name, key.key_id)]
    if not mine:
        msg = f"the checkpoint is not signed with the key {key.name}+{key.key_id.hex()}"
        raise ProofRejected(msg)
    for each in mine:
        if len(each.signature) != SIGNATURE_BYTES or not check(key.public, each.signature, parsed.text.encode()):
            raise ProofRejected("the signature of the checkpoint is wrong")
    return checkpoint


def decoded(text: str, *, what: str) -> bytes:
    """Bytes from base64 (RFC 4648 section 4) in the one spelling they have. Raises MalformedNote."""
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        found = None
    if found is None or base64.b64encode(found).decode() != text:
        msg = f"the {what} is not base64"
        raise MalformedNote(msg)
    return found


def _parse_signature(line: str) -> Signature:
    dash, _, rest = line.partition(" ")
    name, _, signature = rest.partition(" ")
    if dash != _DASH:
        raise MalformedNote("a signature line begins with an em dash and a space")
    _check_name(name)
    found = decoded(signature, what="signature")
    if len(found) < 5:
        raise MalformedNote("a signature has a key id of four bytes and something after it")
    return Signature(name=name, key_id=found[:4], signature=found[4:])


def _check_name(name: str) -> None:
    if not name or "+" in name or any(character.isspace() or character < " " for character in name):
        raise MalformedNote("a key name is not empty and holds no spaces and no plus sign")
