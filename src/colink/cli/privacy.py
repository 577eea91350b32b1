"""`colink privacy`: find and erase people, and change the master key their data is sealed with."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from colink.application.ports import Caller, Recorded
from colink.cli.callers import By, actor_of
from colink.cli.output import Json, busy, tell
from colink.cli.wiring import Wiring

FOUND_NOBODY = 1


def add_to(app: typer.Typer, wiring: Wiring) -> None:
    privacy = typer.Typer(help="Personal data: whose there is, erasing it, and its master key.", no_args_is_help=True)
    app.add_typer(privacy, name="privacy")

    @privacy.command()
    def find(
        email: Annotated[str, typer.Argument(metavar="EMAIL", help="Hashed and forgotten.")], json: Json = False
    ) -> None:
        """Find creators and buyers by an e-mail address. Reads the whole log. Exits 1 where there is nobody."""
        with busy("reading the log"):
            people = asyncio.run(_find(wiring, email))
        tell({"items": people}, as_json=json, people=lambda console: _show(console, people))
        if not people:
            raise typer.Exit(FOUND_NOBODY)

    @privacy.command()
    def erase(
        person: Annotated[str, typer.Argument(metavar="PERSON", help="An id that find gives, an order, a delivery.")],
        reason: Annotated[str, typer.Option(help="Why, without naming anybody: it stays in the log.")],
        by: By = None,
        json: Json = False,
    ) -> None:
        """Destroy the keys to all that is kept of a person. There is no way back. Money and proofs stay."""
        answer = asyncio.run(_erase(wiring, person, reason, by=by)).answer
        line = f"{answer['person_id']} erased: keys of {answer['owners']} destroyed"
        tell(dict(answer), as_json=json, people=lambda console: console.print(escape(line)))

    @privacy.command("rotate-key")
    def rotate_key(json: Json = False) -> None:
        """Seal everything under a new master key and destroy the old one. The service may go on; takes a minute."""
        with busy("wrapping keys again"):
            moved = asyncio.run(_rotate(wiring))
        tell({"wrapped_again": moved}, as_json=json, people=lambda console: _show_rotated(console, moved))


async def _find(wiring: Wiring, email: str) -> list[dict[str, Any]]:
    async with wiring.open_colink(wiring.load_settings()) as colink:
        return await colink.privacy.find(email)


async def _erase(wiring: Wiring, person: str, reason: str, *, by: str | None) -> Recorded:
    async with wiring.open_colink(wiring.load_settings()) as colink:
        caller = Caller(actor=actor_of(by), correlation_id=colink.ids("cli"))
        return await colink.privacy.erase(person, reason=reason, caller=caller)


async def _rotate(wiring: Wiring) -> int:
    async with wiring.open_colink(wiring.load_settings()) as colink:
        return await colink.privacy.rotate()


def _show_rotated(console: Console, moved: int) -> None:
    console.print(f"{moved} {'key' if moved == 1 else 'keys'} wrapped by a new master key; the old one is destroyed")
    console.print("other machines read nothing of these until they have the new keys.json: copy it to them now")


def _show(console: Console, people: list[dict[str, Any]]) -> None:
    if not people:
        console.print("nobody with that address")
        return
    table = Table("person", "who", "things with keys", show_edge=False)
    for person in people:
        table.add_row(escape(person["person_id"]), person["kind"], str(person["owners"]))
    console.print(table)
