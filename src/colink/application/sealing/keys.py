"""Ed25519 keys of a log: signing a tree head, and the one check of a signature.

Responsible for the private key and its text form. Not responsible for where keys are kept (adapters.sealing_keys), or
for what may be signed (adapters.postgres.sealer).
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from colink.domain.sealing.checkpoint import (
    ED25519,
    Checkpoint,
    MalformedNote,
    Note,
    Signature,
    VerifierKey,
    split_key,
)

_PREFIX = "PRIVATE+KEY+"
_SEED_BYTES = 32


def signature_is_good(public: bytes, signature: bytes, signed: bytes) -> bool:
    """A `SignatureCheck` (domain.sealing.checkpoint) for Ed25519 (RFC 8032)."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """A private key under the name of its log. Its text form is that of Go's `note` package."""

    name: str
    private: Ed25519PrivateKey

    @classmethod
    def generate(cls, name: str) -> SigningKey:
        return cls(name=name, private=Ed25519PrivateKey.generate())

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """Raises MalformedNote, which tells nothing of the key."""
        if not text.startswith(_PREFIX):
            raise MalformedNote("this is not a signing key")
        name, key_id, seed = split_key(text.removeprefix(_PREFIX).strip(), what="signing key")
        if len(seed) != 1 + _SEED_BYTES or seed[0] != ED25519:
            raise MalformedNote("the signing key is not an Ed25519 key of 32 bytes")
        key = cls(name=name, private=Ed25519PrivateKey.from_private_bytes(seed[1:]))
        if key.verifier.key_id.hex() != key_id:
            raise MalformedNote("the signing key does not belong to its name and id")
        return key

    @property
    def verifier(self) -> VerifierKey:
        """The public half, to be handed to whoever checks."""
        return VerifierKey(name=self.name, public=self.private.public_key().public_bytes_raw())

    def secret_text(self) -> str:
        """The text form, private half included."""
        seed = base64.b64encode(bytes([ED25519]) + self.private.private_bytes_raw()).decode()
        return f"{_PREFIX}{self.name}+{self.verifier.key_id.hex()}+{seed}\n"

    def sign(self, checkpoint: Checkpoint) -> str:
        """The signed note of a tree head."""
        text = checkpoint.text()
        signature = Signature(name=self.name, key_id=self.verifier.key_id, signature=self.private.sign(text.encode()))
        return Note(text=text, signatures=(signature,)).signed()
