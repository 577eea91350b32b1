"""The folder that holds the keys of personal data: what the database must never hold.

    <log id>/people/keys.json   master keys, which one wraps new keys, and the key of digests; only the owner reads it
                    erased      who was erased, a JSON line each: kept here too, so that a restored backup, which
                                brings their keys back, can have them destroyed again

Files are written whole or not at all, and are on the disk when a method returns. Every process and machine of an
installation needs the same `keys.json`. Not responsible for encryption (application.privacy.envelope).
"""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from colink.application.privacy.envelope import PersonKeys
from colink.domain.errors import Conflict, Unavailable
from colink.domain.people import ErasedPerson

_KEYS, _ERASED = "keys.json", "erased"
_LOOKED_AT = 5.0  # seconds between looks for a new master key
SETTLED = 30.0  # seconds after which every process wraps by it, and what was wrapped before is recorded or refused


class _Stored(msgspec.Struct, frozen=True):
    masters: dict[str, str]
    current: str
    digests: str


class PersonKeyFolder:
    """The keys of one log's people. `keys()` is what everybody is given: it follows a rotation within seconds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: PersonKeys | None = None
        self._stamp: tuple[int, int] | None = None
        self._look_again = 0.0

    def exists(self) -> bool:
        return (self._folder / _KEYS).exists()

    @contextmanager
    def rotating(self) -> Iterator[None]:
        """While this holds nobody else on this folder rotates. Raises Conflict where somebody does."""
        with (self._folder / ".rotating").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                msg = "the master key is being rotated already"
                raise Conflict(msg) from None
            yield

    def make(self) -> None:
        """The first keys, unless there are some: of any number of processes at once, one makes them."""
        if self.exists():
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        written = self._written(PersonKeys.generate())
        try:
            os.link(written, self._folder / _KEYS)
        except FileExistsError:
            return
        finally:
            written.unlink()
        self._sync_folder()

    def keys(self) -> PersonKeys:
        """Raises Unavailable where they are not here, or damaged."""
        now = time.monotonic()
        if self._keys is not None and now < self._look_again:
            return self._keys
        self._look_again = now + _LOOKED_AT
        path = self._folder / _KEYS
        try:
            found = path.stat()
            stamp = (found.st_mtime_ns, found.st_ino)
            if self._keys is None or stamp != self._stamp:
                self._keys, self._stamp = _read(path.read_bytes()), stamp
        except FileNotFoundError:
            msg = f"the keys of personal data are not in {self._folder}: copy the folder from where it is"
            raise Unavailable(msg) from None
        except (msgspec.DecodeError, ValueError, KeyError) as error:
            msg = f"the keys of personal data in {path} are damaged: {error}"
            raise Unavailable(msg) from error
        return self._keys

    def replace(self, keys: PersonKeys) -> None:
        """For who holds `rotating`."""
        self._written(keys).replace(self._folder / _KEYS)
        self._sync_folder()
        self._keys = None

    def erased(self) -> list[ErasedPerson]:
        """Everybody this folder knows to have been erased, the earliest first."""
        try:
            lines = (self._folder / _ERASED).read_bytes().splitlines()
        except FileNotFoundError:
            return []
        return [msgspec.json.decode(line, type=ErasedPerson) for line in lines if line.endswith(b"}")]

    def remember_erased(self, people: Iterable[ErasedPerson]) -> int:
        """Add those that are not there yet; how many."""
        known = set(self.erased())
        new = [person for person in people if person not in known]
        if new:
            descriptor = os.open(self._folder / _ERASED, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                # A line that a killed process cut off is ended first.
                file.write(b"".join(b"\n" + msgspec.json.encode(person) + b"\n" for person in new))
                file.flush()
                os.fsync(file.fileno())
            self._sync_folder()
        return len(new)

    def _written(self, keys: PersonKeys) -> Path:
        stored = _Stored(
            masters={name: _text(secret) for name, secret in keys.masters.items()},
            current=keys.current,
            digests=_text(keys.digests),
        )
        written = self._folder / f".{_KEYS}-{secrets.token_hex(8)}"
        descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(stored))
            file.flush()
            os.fsync(file.fileno())
        return written

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _read(text: bytes) -> PersonKeys:
    stored = msgspec.json.decode(text, type=_Stored)
    masters = {name: base64.b64decode(secret, validate=True) for name, secret in stored.masters.items()}
    if stored.current not in masters:
        msg = "its current master key is missing"
        raise ValueError(msg)
    return PersonKeys(masters, stored.current, base64.b64decode(stored.digests, validate=True))


def _text(secret: bytes) -> str:
    return base64.b64encode(secret).decode()
