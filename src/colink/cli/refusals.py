"""A command that was refused: what was wrong, where, and what to do. One place for all commands.

Words on stderr and, with --json, one problem on stdout: `type`, `title`, `detail`, and `field` where one input is at
fault (an option is named as it is typed, `--from`). Types are those of the API, and two that only a command line has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import typer
from psycopg import OperationalError
from psycopg_pool import PoolTimeout
from rich.markup import escape

from colink.application.problems import problem_document
from colink.cli.output import notes
from colink.config import SettingsError
from colink.domain.errors import ColinkError, Unavailable

WRONG_USE = 2
REFUSALS = (SettingsError, ColinkError, OperationalError, PoolTimeout, typer.TyperException)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether these arguments of the command ask for a document; known before they could be read."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def refuse(error: Exception, *, as_json: bool) -> int:
    """Say one of REFUSALS; the exit code."""
    problem = problem_of(error)
    if as_json:
        typer.echo(msgspec.json.encode(problem).decode())
    notes.print(f"[bold red]error[/] {escape(problem['detail'])}", soft_wrap=True)
    return WRONG_USE


def problem_of(error: Exception) -> dict[str, Any]:
    match error:
        case ColinkError():
            return problem_document(error)
        case SettingsError():
            return _problem("wrong-setting", "A setting is not valid", str(error))
        case typer.TyperException():
            field = _field(error)
            named = {} if field is None else {"field": field}
            return _problem("wrong-use", "The command cannot be used like that", error.format_message()) | named
        case _:
            detail = f"the database went away: {error}\nWhat was done is recorded; run it again."
            return problem_document(Unavailable(detail))


def _problem(slug: str, title: str, detail: str) -> dict[str, Any]:
    return {"type": f"urn:colink:problem:{slug}", "title": title, "detail": detail}


def _field(error: typer.TyperException) -> str | None:
    """The option or argument at fault, as it is typed; None where the whole command is."""
    name = getattr(error, "option_name", None)
    if name is not None:
        return str(name)
    parameter = getattr(error, "param", None)
    if parameter is None:
        return None
    if parameter.param_type_name == "option":
        return str(parameter.opts[0])
    return str(parameter.metavar or parameter.name)
