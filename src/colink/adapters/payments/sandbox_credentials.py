"""The two secrets that the sandbox provider and its users share, in one private file."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class SandboxCredentials:
    """What the provider and we know of each other."""

    api_key: str
    callback_secret: str

    @classmethod
    def kept_in(cls, path: Path) -> SandboxCredentials:
        """Those in the file, made on first use, readable by its owner alone; any number of processes may ask."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = {"api_key": f"sbx_{secrets.token_urlsafe(24)}", "callback_secret": secrets.token_urlsafe(32)}
        written = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(fresh, file)
        try:
            os.link(written, path)  # whole or not at all, and the first one wins
        except FileExistsError:
            pass
        finally:
            written.unlink()
        return cls(**json.loads(path.read_text()))
