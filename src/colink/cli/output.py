"""How commands speak: one JSON document on stdout for machines, words for people, everything else on stderr."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, logs on stderr.")]

notes = Console(stderr=True, highlight=False)
"""For what is said while a command works: never part of its output."""


def tell(document: Any, *, as_json: bool, people: Callable[[Console], None]) -> None:
    """Print a command's outcome: `document` as JSON, or `people` on a console."""
    if as_json:
        typer.echo(msgspec.json.encode(document).decode())
    else:
        people(Console(highlight=False))
