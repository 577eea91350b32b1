"""Envelope encryption of personal data, AES-256-GCM throughout.

    master key (a file outside the database) -> wraps a data key (a private value of its owner) -> seals texts

Every value has a data key of its own, random, kept wrapped in `colink.private_values` as `key:<name>` of its owner.
Without that row, or without the master key, what it sealed is noise. Associated data binds a sealed text to its owner
and its place, so that one text in the place of another is refused. Responsible for bytes and keys only: where master
keys are kept is `adapters.person_keys`, where data keys are is the database's business.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from colink.application.ports import PrivateValue
from colink.domain.errors import ColinkError
from colink.domain.people import SEALED, is_sealed

KEY = "key:"  # the names of private values that are data keys begin so
BODY = b"\0sealed1:"  # a body that begins otherwise was kept before bodies were sealed
_KEY_BYTES, _NONCE_BYTES = 32, 12
_END_OF_OWNER = b"\n"
# Bodies are small: with the usual 256 KiB of working memory, getting it takes longer than packing.
_WINDOW_BITS, _MEMORY_LEVEL = 13, 5
_LARGEST_BODY = 64 * 1024 * 1024  # opened; far more than is ever taken in

Random = Callable[[int], bytes]


class CannotBeOpened(ColinkError):
    """A sealed text was changed, stands in another place than its own, or its master key is not here."""

    slug, title, status = "cannot-be-opened", "Sealed data cannot be opened", 500


@dataclass(frozen=True, slots=True)
class DataKey:
    """Seals what belongs to `owner` under `name`; used for the few texts of one value, then forgotten."""

    owner: str
    name: str
    secret: bytes = field(repr=False)

    def seal(self, text: bytes, *, place: str, random: Random = os.urandom) -> bytes:
        nonce = random(_NONCE_BYTES)
        return nonce + AESGCM(self.secret).encrypt(nonce, text, self._bound(place))

    def open(self, sealed: bytes, *, place: str) -> bytes:
        """Raises CannotBeOpened."""
        return _decrypted(self.secret, sealed, self._bound(place), what=f"what is sealed for {self.owner} at {place}")

    def seal_text(self, text: str, *, place: str) -> str:
        """As it stands in events and documents."""
        sealed = self.seal(text.encode(), place=place)
        return f"{SEALED}{self.name}:{base64.b64encode(sealed).decode()}"

    def open_text(self, text: str, *, place: str) -> str:
        """Raises CannotBeOpened."""
        try:
            sealed = base64.b64decode(text.rpartition(":")[2], validate=True)
            return self.open(sealed, place=place).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            msg = f"what is sealed for {self.owner} at {place} is damaged: {error}"
            raise CannotBeOpened(msg) from error

    def seal_body(self, body: bytes, *, place: str) -> bytes:
        """Packed first: what is encrypted packs no more."""
        packer = zlib.compressobj(1, wbits=_WINDOW_BITS, memLevel=_MEMORY_LEVEL)
        packed = packer.compress(body) + packer.flush()
        return BODY + self.owner.encode() + _END_OF_OWNER + self.seal(packed, place=place)

    def open_body(self, sealed: bytes, *, place: str) -> bytes:
        """Raises CannotBeOpened."""
        packed = self.open(sealed[sealed.index(_END_OF_OWNER) + 1 :], place=place)
        return zlib.decompressobj().decompress(packed, _LARGEST_BODY)

    def _bound(self, place: str) -> bytes:
        return "\n".join((self.owner, self.name, place)).encode()


def owner_of_body(body: bytes) -> str | None:
    """Whose key a kept body is sealed with; None for one in clear."""
    if not body.startswith(BODY):
        return None
    return body[len(BODY) : body.index(_END_OF_OWNER)].decode()


def key_name(text: str) -> str | None:
    """The name of the key a personal text is sealed with; None for one in clear."""
    return text.removeprefix(SEALED).rpartition(":")[0] if is_sealed(text) else None


@dataclass(frozen=True, slots=True)
class PersonKeys:
    """What lies outside the database: master keys by their id, the one that wraps new keys, and the key of digests,
    which never changes."""

    masters: Mapping[str, bytes] = field(repr=False)
    current: str
    digests: bytes = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """Names these keys without giving anything of them away; the same after a rotation."""
        return hashlib.sha256(b"colink person keys\n" + self.digests).hexdigest()[:32]

    def digest(self, text: str, *, purpose: str) -> str:
        """A keyed digest: whether two texts are the same, for nobody who has only the database."""
        return hmac.digest(self.digests, f"{purpose}\n{text}".encode(), "sha256").hex()

    def new_key(self, owner: str, name: str, *, random: Random = os.urandom) -> DataKey:
        return DataKey(owner, name, random(_KEY_BYTES))

    def wrapped(self, key: DataKey, *, random: Random = os.urandom) -> PrivateValue:
        """The key as it is kept: `<master>:<base64>` of its owner."""
        nonce = random(_NONCE_BYTES)
        wrapping = self._wrapping_key(self.masters[self.current], key.owner)
        wrapped = nonce + AESGCM(wrapping).encrypt(nonce, key.secret, _bound_key(key.owner, key.name))
        value = f"{self.current}:{base64.b64encode(wrapped).decode()}"
        return PrivateValue(owner_id=key.owner, name=f"{KEY}{key.name}", value=value)

    def unwrapped(self, value: PrivateValue) -> DataKey:
        """Raises CannotBeOpened."""
        master, _, text = value.value.partition(":")
        if master not in self.masters:
            msg = (
                f"a key of {value.owner_id} is wrapped by the master key {master!r}, which is not here: copy the key "
                "folder from where it is"
            )
            raise CannotBeOpened(msg)
        owner, name = value.owner_id, value.name.removeprefix(KEY)
        what = f"the key {name} of {owner}"
        try:
            wrapped = base64.b64decode(text, validate=True)
        except binascii.Error as error:
            msg = f"{what} is damaged: {error}"
            raise CannotBeOpened(msg) from error
        wrapping = self._wrapping_key(self.masters[master], owner)
        return DataKey(owner, name, _decrypted(wrapping, wrapped, _bound_key(owner, name), what=what))

    def rotated(self, *, random: Random = os.urandom) -> PersonKeys:
        """A new master key wraps from now on; those before it are still here."""
        name, secret = _new_master(random)
        return replace(self, masters={**self.masters, name: secret}, current=name)

    def without_old_masters(self) -> PersonKeys:
        return replace(self, masters={self.current: self.masters[self.current]})

    @classmethod
    def generate(cls, *, random: Random = os.urandom) -> PersonKeys:
        name, secret = _new_master(random)
        return cls({name: secret}, name, random(_KEY_BYTES))

    @staticmethod
    def _wrapping_key(master: bytes, owner: str) -> bytes:
        """One for each owner: random nonces under one key are good for 2^32 keys only, and deliveries are many."""
        return hmac.digest(master, b"wrap\n" + owner.encode(), "sha256")


def _new_master(random: Random) -> tuple[str, bytes]:
    return random(6).hex(), random(_KEY_BYTES)


def _bound_key(owner: str, name: str) -> bytes:
    return f"key\n{owner}\n{name}".encode()


def _decrypted(key: bytes, sealed: bytes, bound: bytes, *, what: str) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)
    except (InvalidTag, ValueError) as error:
        msg = f"{what} was changed, or stands in another place than its own"
        raise CannotBeOpened(msg) from error
