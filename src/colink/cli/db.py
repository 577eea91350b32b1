"""`colink db`: the database's schema."""

from __future__ import annotations

import typer
from rich.console import Console

from colink.cli.output import Json, notes, tell
from colink.cli.wiring import SchemaState, Wiring


def add_to(app: typer.Typer, wiring: Wiring) -> None:
    db = typer.Typer(help="The database's schema.", no_args_is_help=True)
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


def _document(state: SchemaState) -> dict[str, object]:
    return {"current": state.current, "head": state.head, "pending": list(state.pending)}


def _show(console: Console, state: SchemaState) -> None:
    console.print(f"schema version {state.current or 'none'} of {state.head}")
    if state.pending:
        console.print(f"to migrate: {', '.join(state.pending)} (run: colink db migrate)")
