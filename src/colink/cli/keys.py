"""`colink keys`: API keys."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from colink.application.configure.access import CreateApiKey, RevokeApiKey, key_digest
from colink.application.ports import Caller
from colink.cli.callers import By, actor_of
from colink.cli.output import Json, tell
from colink.cli.wiring import Wiring
from colink.config import parse_offset
from colink.domain.access import Role
from colink.domain.errors import InvalidInput
from colink.projections.api_keys import FiledKey, list_keys, shown_key

_OPTIONS = {
    "organization_id": "--organization",
    "payee_id": "--payee",
    "role": "--role",
    "name": "--name",
    "expires_at": "--expires-in",
    "reason": "--reason",
}


def _lifetime(text: str) -> timedelta:
    try:
        lifetime = parse_offset(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if lifetime <= timedelta(0):
        msg = f"{text!r} is no time ahead, such as 90d"
        raise typer.BadParameter(msg)
    return lifetime


def add_to(app: typer.Typer, wiring: Wiring) -> None:
    keys = typer.Typer(help="API keys: make, list and revoke them.", no_args_is_help=True)
    app.add_typer(keys, name="keys")

    @keys.command()
    def create(
        *,
        role: Annotated[Role, typer.Option(help="What the key may do.")],
        organization: Annotated[str | None, typer.Option(help="The organization of a seller key.")] = None,
        payee: Annotated[str | None, typer.Option(help="The creator of a creator key.")] = None,
        name: Annotated[str | None, typer.Option(help="What it is for, not whose: it stays in the log.")] = None,
        expires_in: Annotated[
            timedelta | None,
            typer.Option(parser=_lifetime, metavar="TIME", help="How long it opens: 90d, 12h; else until revoked."),
        ] = None,
        json: Json = False,
    ) -> None:
        """Create an API key and print it, once."""
        try:
            made = asyncio.run(
                _create(
                    wiring,
                    role=role,
                    organization_id=organization,
                    payee_id=payee,
                    name=name,
                    expires_in=expires_in,
                )
            )
        except InvalidInput as error:
            raise _in_options(error) from error
        key_id, secret, expires_at = made

        def people(console: Console) -> None:
            console.print(f"[bold]{secret}[/]", soft_wrap=True)
            until = f", good until {_day(expires_at)}" if expires_at else ""
            console.print(f"{role} key {key_id}{until}. It is shown only now: keep it safe.")

        tell({"id": key_id, "key": secret, "role": role}, as_json=json, people=people)

    @keys.command("list")
    def list_(
        role: Annotated[Role | None, typer.Option(help="Only of this role.")] = None,
        standing: Annotated[bool, typer.Option("--standing", help="Only those that open something.")] = False,
        cursor: Annotated[str | None, typer.Option(metavar="ID", help="Go on where a list ended.")] = None,
        limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = 100,
        json: Json = False,
    ) -> None:
        """List keys, the oldest first, without their secrets."""
        now, found = asyncio.run(_list(wiring, role=role, standing=standing, after_id=cursor, limit=limit + 1))
        shown = found[:limit]
        more = shown[-1].details.id if len(found) > limit else None

        def people(console: Console) -> None:
            _show(console, shown, now)
            if more is not None:
                console.print(f"there are more: the same with --cursor {more}")

        tell({"items": [shown_key(key) for key in shown], "next_cursor": more}, as_json=json, people=people)

    @keys.command()
    def revoke(
        key_id: Annotated[str, typer.Argument(metavar="ID", help="As `keys list` shows it.")],
        reason: Annotated[str | None, typer.Option(help="Why, without naming anybody: it stays in the log.")] = None,
        by: By = None,
        json: Json = False,
    ) -> None:
        """Revoke a key, for good: within seconds it opens nothing any more. Revoked before, says when that was."""
        try:
            answer, operators = asyncio.run(_revoke(wiring, key_id, reason, by=by))
        except InvalidInput as error:
            raise _in_options(error) from error

        def people(console: Console) -> None:
            ended = answer["revoked"]
            console.print(f"{answer['role']} key {escape(key_id)} revoked at {_day(ended['at'])} by {ended['by']}")
            if not operators:
                console.print("no operator's key is left: `colink keys create --role operator` makes one")

        tell(dict(answer), as_json=json, people=people)


def _in_options(error: InvalidInput) -> InvalidInput:
    """The error as somebody at a command line reads it: with options in place of the fields of the API."""
    option = _OPTIONS.get(error.field or "")
    return error if option is None else InvalidInput(error.detail.replace(str(error.field), option), field=option)


async def _create(
    wiring: Wiring,
    *,
    role: Role,
    organization_id: str | None,
    payee_id: str | None,
    name: str | None,
    expires_in: timedelta | None,
) -> tuple[str, str, datetime | None]:
    """Id, secret, and when it expires."""
    async with wiring.open_colink(wiring.load_settings()) as colink:
        secret = colink.new_secret()
        expires_at = None if expires_in is None else colink.clock.now() + expires_in
        recorded = await colink.commerce.submit(
            CreateApiKey(
                caller=Caller(actor=actor_of(), correlation_id=colink.ids("cli")),
                id=colink.ids("key"),
                digest=key_digest(secret),
                role=role,
                organization_id=organization_id,
                payee_id=payee_id,
                name=name,
                expires_at=expires_at,
            )
        )
    return str(recorded.answer["id"]), secret, expires_at


async def _list(
    wiring: Wiring, *, role: Role | None, standing: bool, after_id: str | None, limit: int
) -> tuple[datetime, list[FiledKey]]:
    async with wiring.open_colink(wiring.load_settings()) as colink:
        now = colink.clock.now()
        async with colink.pool.connection() as connection:
            found = await list_keys(
                connection, role=role, standing_at=now if standing else None, after_id=after_id, limit=limit
            )
    return now, found


async def _revoke(
    wiring: Wiring, key_id: str, reason: str | None, *, by: str | None
) -> tuple[Mapping[str, Any], int]:
    """What was answered, and whether an operator's key is left (1) or not (0)."""
    async with wiring.open_colink(wiring.load_settings()) as colink:
        recorded = await colink.commerce.submit(
            RevokeApiKey(
                caller=Caller(actor=actor_of(by), correlation_id=colink.ids("cli")), id=key_id, reason=reason
            )
        )
        async with colink.pool.connection() as connection:
            left = await list_keys(connection, role=Role.OPERATOR, standing_at=colink.clock.now(), limit=1)
    return recorded.answer, len(left)


def _show(console: Console, keys: Sequence[FiledKey], now: datetime) -> None:
    if not keys:
        console.print("no such keys")
        return
    table = Table("key", "role", "name", "of", "made", "by", "state", show_edge=False)
    for key in keys:
        details = key.details
        table.add_row(
            escape(details.id),
            details.role,
            escape(details.name or ""),
            escape(details.organization_id or details.payee_id or ""),
            _day(key.created_at),
            escape(key.created_by),
            escape(_state(key, now)),
        )
    console.print(table)


def _state(key: FiledKey, now: datetime) -> str:
    if key.revocation is not None:
        why = f": {key.revocation.reason}" if key.revocation.reason else ""
        return f"revoked {_day(key.revocation.at)} by {key.revocation.by}{why}"
    expires_at = key.details.expires_at
    if expires_at is None:
        return "stands"
    return f"stands until {_day(expires_at)}" if expires_at > now else f"expired {_day(expires_at)}"


def _day(at: datetime | str) -> str:
    """In UTC, to the minute."""
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}Z"
