"""Where commands put what they make: standard output, or a file that is either whole or not there."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncIterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

from colink.domain.errors import InvalidInput


async def put(pieces: AsyncIterable[bytes], path: Path | None) -> int:
    """Write to `path`, which takes its name when it is complete and on the disk, else to standard output; how many
    bytes. Raises InvalidInput for a path that cannot be written."""
    written = 0
    with _whole(path) if path is not None else nullcontext(sys.stdout.buffer) as file:
        async for piece in pieces:
            written += file.write(piece)
        file.flush()
    return written


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name in the end, and is gone where that is not reached."""
    if path.is_dir():
        msg = f"{path} is a folder: name a file in it"
        raise InvalidInput(msg, field="output")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        msg = f"nothing can be written in {path.parent}: {error.strerror}"
        raise InvalidInput(msg, field="output") from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o666 & ~_umask())  # as any new file; a temporary one is its owner's alone
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
