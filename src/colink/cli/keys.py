"""`colink keys`: API keys."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.console import Console

from colink.application.configure.access import CreateApiKey, key_digest
from colink.application.ports import Caller
from colink.cli.output import Json, tell
from colink.cli.wiring import Wiring
from colink.domain.access import Role
from colink.domain.errors import InvalidInput

_OPTIONS = {"organization_id": "--organization", "payee_id": "--payee", "role": "--role"}


def add_to(app: typer.Typer, wiring: Wiring) -> None:
    keys = typer.Typer(help="API keys.", no_args_is_help=True)
    app.add_typer(keys, name="keys")

    @keys.command()
    def create(
        role: Annotated[Role, typer.Option(help="What the key may do.")],
        organization: Annotated[str | None, typer.Option(help="The organization of a seller key.")] = None,
        payee: Annotated[str | None, typer.Option(help="The creator of a creator key.")] = None,
        json: Json = False,
    ) -> None:
        """Create an API key and print it, once."""
        try:
            key_id, secret = asyncio.run(_create(wiring, role=role, organization_id=organization, payee_id=payee))
        except InvalidInput as error:
            raise _in_options(error) from error

        def people(console: Console) -> None:
            console.print(f"[bold]{secret}[/]", soft_wrap=True)
            console.print(f"{role} key {key_id}. It is shown only now: keep it safe.")

        tell({"id": key_id, "key": secret, "role": role}, as_json=json, people=people)


def _in_options(error: InvalidInput) -> InvalidInput:
    """The error as somebody at a command line reads it: with options in place of the fields of the API."""
    option = _OPTIONS.get(error.field or "")
    return error if option is None else InvalidInput(error.detail.replace(str(error.field), option), field=option)


async def _create(
    wiring: Wiring, *, role: Role, organization_id: str | None, payee_id: str | None
) -> tuple[str, str]:
    async with wiring.open_colink(wiring.load_settings()) as colink:
        secret = colink.new_secret()
        recorded = await colink.commerce.submit(
            CreateApiKey(
                caller=Caller(actor="cli", correlation_id=colink.ids("cli")),
                id=colink.ids("key"),
                digest=key_digest(secret),
                role=role,
                organization_id=organization_id,
                payee_id=payee_id,
            )
        )
    return str(recorded.answer["id"]), secret
