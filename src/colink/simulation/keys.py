"""Keys of personal data without chance: what is sealed stands in events, and a seed writes the same log every time.

Nothing here is secret; the cipher, the wrapping and the folder are the real ones.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from colink.adapters.person_keys import PersonKeyFolder
from colink.application.ports import PrivateValue
from colink.application.privacy.envelope import DataKey, PersonKeys, Random
from colink.application.privacy.people import KeyId, People

_SECRET = hashlib.sha256(b"simulated").digest()
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class _SeededKey(DataKey):
    def seal(self, text: bytes, *, place: str, random: Random = os.urandom) -> bytes:  # noqa: ARG002 - not by chance
        nonce = hmac.digest(self.secret, place.encode() + b"\n" + text, "sha256")[:_NONCE_BYTES]
        return DataKey.seal(self, text, place=place, random=lambda _: nonce)


@dataclass(frozen=True, slots=True)
class SeededKeys(PersonKeys):
    def new_key(self, owner: str, name: str, *, random: Random = os.urandom) -> DataKey:  # noqa: ARG002 - not by chance
        return _SeededKey(owner, name, hmac.digest(self.digests, f"{owner}\n{name}".encode(), "sha256"))


KEYS = SeededKeys({"seed": _SECRET}, "seed", _SECRET)


class _NoKeys:
    """A KeyBook for who only seals."""

    async def wrapped(self, wanted: Iterable[KeyId]) -> dict[KeyId, PrivateValue]:  # noqa: ARG002 - the protocol
        return {}


def sealing() -> People:
    """Seals; opens nothing unless it is given a book to read."""
    return People(lambda: KEYS, _NoKeys())


def folder_with_keys(path: Path) -> PersonKeyFolder:
    """The folder that the service reads, with these keys in it."""
    folder = PersonKeyFolder(path)
    if not folder.exists():
        folder.make()
        with folder.rotating():
            folder.replace(KEYS)
    return folder
