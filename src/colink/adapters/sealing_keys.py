"""The folder that holds a log's signing key, and what that key last signed.

Responsible for files that only their owner reads, written whole or not at all. Not responsible for who may make a key
or use it: the sealer holds its lock while it asks (adapters.postgres.sealer).

    <log id>/<key id>.key           the private key, in the text form of Go's note package
             <key id>.vkey          the public key, for whoever verifies on this machine
             <key id>.checkpoint    the newest tree head this key signed: kept outside the database, so that one that
                                    was rolled back or rewritten cannot make us sign something else
             retired/               the same of keys that were replaced
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from colink.application.sealing.keys import SigningKey, signature_is_good
from colink.domain.errors import ColinkError, Conflict
from colink.domain.sealing.checkpoint import Checkpoint, VerifierKey, verified_checkpoint


class SealRefused(Conflict):
    """Sealing would contradict what was signed before, or cannot be done with what is here. Nothing was signed."""

    slug, title = "seal-refused", "The log is not sealed"


class KeyFolder:
    """The keys of the log `origin` under `folder`. One process at a time writes (the sealer's lock)."""

    def __init__(self, folder: Path, *, origin: str) -> None:
        self._origin = origin
        self._folder = folder / origin.split("/")[1]

    def make(self) -> SigningKey:
        """A new key; its files are there, and on the disk, when this returns."""
        key = SigningKey.generate(self._origin)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write(f"{_name(key.verifier)}.vkey", f"{key.verifier}\n")
        self._write(f"{_name(key.verifier)}.key", key.secret_text())
        return key

    def find(self, verifier: VerifierKey) -> SigningKey:
        """The private half of a public key. Raises SealRefused where it is not here."""
        path = self._folder / f"{_name(verifier)}.key"
        try:
            key = SigningKey.parse(path.read_text())
        except FileNotFoundError:
            msg = (
                f"the log is signed with the key {verifier}, which is not in {self._folder}: copy the folder from "
                "where it is, or, where it is lost, make a new key with `colink audit new-key` and tell the auditors"
            )
            raise SealRefused(msg) from None
        except (ColinkError, UnicodeDecodeError) as error:
            msg = f"the signing key in {path} is damaged: {error}"
            raise SealRefused(msg) from error
        if key.verifier != verifier:
            msg = f"the signing key in {path} is another than {verifier}"
            raise SealRefused(msg)
        return key

    def signed(self) -> list[Checkpoint]:
        """The newest tree head that each key in use signed, checked. Raises SealRefused for a damaged file."""
        found = []
        for path in sorted(self._folder.glob("*.checkpoint")):
            try:
                verifier = VerifierKey.parse(path.with_suffix(".vkey").read_text())
                found.append(verified_checkpoint(path.read_text(), verifier, check=signature_is_good))
            except (ColinkError, OSError, UnicodeDecodeError) as error:
                msg = f"what was signed last cannot be read from {path}: {error}"
                raise SealRefused(msg) from error
        return found

    def kept(self) -> tuple[dict[str, str], list[VerifierKey]]:
        """For auditors: the newest tree heads as they were signed, by the path of their file, and the public keys in
        use; neither checked against anything."""
        notes = {str(path): path.read_text(errors="replace") for path in sorted(self._folder.glob("*.checkpoint"))}
        return notes, [VerifierKey.parse(path.read_text()) for path in sorted(self._folder.glob("*.vkey"))]

    def remember(self, verifier: VerifierKey, note: str) -> None:
        """Keep what is about to be published; on the disk when this returns."""
        self._write(f"{_name(verifier)}.checkpoint", note)

    def retire_all_but(self, verifier: VerifierKey) -> None:
        """Put the files of every other key aside. What they signed binds this log no more."""
        retired = self._folder / "retired"
        for path in sorted(self._folder.glob("*.*")):
            if path.is_file() and path.name.partition(".")[0] != _name(verifier):
                retired.mkdir(mode=0o700, exist_ok=True)
                path.replace(retired / path.name)

    def _write(self, name: str, text: str) -> None:
        written = self._folder / f"{name}-{secrets.token_hex(8)}"
        descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        written.replace(self._folder / name)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def known_verifiers(folder: Path) -> list[VerifierKey]:
    """The public keys in use on this machine, of all its logs."""
    return [VerifierKey.parse(path.read_text()) for path in sorted(folder.glob("*/*.vkey"))]


def _name(verifier: VerifierKey) -> str:
    return verifier.key_id.hex()
