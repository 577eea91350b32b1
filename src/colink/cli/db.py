"""`colink db`: the database's schema, and copies of all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from colink.cli.output import Json, notes, tell
from colink.cli.wiring import SchemaState, Wiring

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the backup is.")]


def add_to(app: typer.Typer, wiring: Wiring) -> None:
    db = typer.Typer(help="The database: its schema, backup and restore.", no_args_is_help=True)
    app.add_typer(db, name="db")

    @db.command()
    def migrate(json: Json = False) -> None:
        """Bring the database to the schema of this version. Safe to run at any time, by any number of processes."""
        state = wiring.migrate(wiring.load_settings(), lambda message: notes.print(message, style="dim"))
        tell(_document(state), as_json=json, people=lambda console: _show(console, state))

    @db.command()
    def status(json: Json = False) -> None:
        """Say where the database stands. Exits 1 while something is to be migrated."""
        state = wiring.schema_state(wiring.load_settings())
        tell(_document(state), as_json=json, people=lambda console: _show(console, state))
        if state.pending:
            raise typer.Exit(1)

    @db.command()
    def backup(folder: Folder, json: Json = False) -> None:
        """Copy database, keys and files into a new FOLDER. The service may go on working. It holds every secret."""
        wiring.back_up(wiring.load_settings(), folder)
        tell({"backup": str(folder)}, as_json=json, people=lambda console: console.print(f"backed up in {folder}"))

    @db.command()
    def restore(folder: Folder, json: Json = False) -> None:
        """Put the backup in FOLDER into an empty database and data folder."""
        state = wiring.restore(wiring.load_settings(), folder)
        tell(_document(state), as_json=json, people=lambda console: _show_restored(console, folder, state))


def _document(state: SchemaState) -> dict[str, object]:
    return {"current": state.current, "head": state.head, "pending": list(state.pending)}


def _show(console: Console, state: SchemaState) -> None:
    console.print(f"schema version {state.current or 'none'} of {state.head}")
    if state.pending:
        console.print(f"to migrate: {', '.join(state.pending)} (run: colink db migrate)")


def _show_restored(console: Console, folder: Path, state: SchemaState) -> None:
    console.print(f"restored from {escape(str(folder))}", soft_wrap=True)
    _show(console, state)
    console.print("check it: colink audit verify")
