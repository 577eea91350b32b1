"""How commands speak: one JSON document on stdout for machines, words for people, everything else on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

Json = Annotated[bool, typer.Option("--json", metavar="", help="One JSON document on stdout, logs on stderr.")]

_PIPED_WIDTH = 200

notes = Console(stderr=True, highlight=False)
"""For what is said while a command works: never part of its output."""


def tell(document: Any, *, as_json: bool, people: Callable[[Console], None]) -> None:
    """Print a command's outcome: `document` as JSON, or `people` on a console."""
    if as_json:
        typer.echo(msgspec.json.encode(document).decode())
    else:
        people(output())


def busy(doing: str) -> AbstractContextManager[object]:
    """Shows that work is under way, where a person is watching."""
    return notes.status(doing) if notes.is_terminal else nullcontext()


def output() -> Console:
    """What people read on stdout. Where no terminal says how wide it is, wide enough that ids are not folded."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
