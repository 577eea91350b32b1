"""The `colink` command: collects the commands of each group and turns errors into words and exit codes.

Exit codes: 0 success, 1 a check found something, 2 wrong use or nothing could be done (contract, command line).
One module per group of commands, each with `add_to(app, wiring)`; what is refused is said by `refusals`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from colink.cli import (
    audit,
    db,
    inbox,
    keys,
    ledger,
    logs,
    orders,
    payouts,
    privacy,
    projections,
    sellers,
    serve,
    settlements,
    simulate,
    tracking,
    up,
    worker,
)
from colink.cli.demo import command as demo
from colink.cli.refusals import REFUSALS, refuse, wants_json
from colink.cli.wiring import Wiring

_GROUPS = (
    demo,
    up,
    serve,
    worker,
    audit,
    ledger,
    orders,
    payouts,
    settlements,
    sellers,
    inbox,
    projections,
    tracking,
    keys,
    privacy,
    db,
    simulate,
)


def build_cli(wiring: Wiring) -> typer.Typer:
    app = typer.Typer(
        name="colink",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def colink(
        version: Annotated[
            bool,
            typer.Option(
                "--version", metavar="", callback=_show_version, is_eager=True, help="Show the version and exit."
            ),
        ] = False,
    ) -> None:
        """An event-sourced ledger and commerce core for sellers and creators who sell together."""

    for group in _GROUPS:
        group.add_to(app, wiring)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"colink {version('colink')}")
        raise typer.Exit


def run(wiring: Wiring, arguments: Sequence[str] | None = None) -> None:
    """The console script. Ends the process."""
    logs.configure()
    given = sys.argv[1:] if arguments is None else list(arguments)
    as_json = wants_json(given)
    try:
        # For people Typer says itself, with the usage beside it, what of the arguments it does not understand.
        code = build_cli(wiring)(args=given, prog_name="colink", standalone_mode=not as_json)
    except REFUSALS as error:
        code = refuse(error, as_json=as_json)
    sys.exit(code or 0)
