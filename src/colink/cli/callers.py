"""Who is told to the log to have done what a person does at the command line: `cli:` and a name."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

By = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="Who decides it; without it, who is logged in here.")
]


def actor_of(name: str | None = None) -> str:
    """The person of this name; without one, who is logged in."""
    return f"cli:{name or _user()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return "unknown"
