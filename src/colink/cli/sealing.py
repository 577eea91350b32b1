"""`colink audit checkpoint`, `proof`, `consistency`, `verify-proof`, `new-key`: what outsiders check the log with."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TextIO, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from colink.application.sealing.proofs import Consistency, Inclusion, MalformedProof, Verified, parse, verify
from colink.cli.output import Json, notes, tell
from colink.cli.wiring import RunningColink, Wiring
from colink.domain.errors import InvalidInput
from colink.domain.sealing.checkpoint import MalformedNote, VerifierKey, parse_note
from colink.domain.sealing.encoding import NotSealable
from colink.domain.sealing.merkle import ProofRejected
from colink.projections.engine import Connection
from colink.projections.seals import (
    PublishedCheckpoint,
    SealState,
    newest_checkpoint,
    prove_consistency,
    prove_inclusion,
    seal_state,
    verifier_keys,
)

FOUND_SOMETHING = 1
T = TypeVar("T")

Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the proof there.", dir_okay=False)
]


def add_to(audit: typer.Typer, wiring: Wiring) -> None:
    @audit.command("checkpoint")
    def checkpoint_(json: Json = False) -> None:
        """Show the newest signed tree head and the log's public key. Exits 1 where sealing was refused."""
        newest, keys, state = asyncio.run(_read(wiring, _checkpoint))
        tell(
            _checkpoint_document(newest, keys, state),
            as_json=json,
            people=lambda console: _show_checkpoint(console, newest, keys, state),
        )
        if state.alarm is not None:
            raise typer.Exit(FOUND_SOMETHING)

    @audit.command("proof")
    def proof_(
        position: Annotated[int, typer.Argument(metavar="POSITION", min=1, help="Of the event in the log.")],
        tree_size: Annotated[
            int | None, typer.Option("--tree-size", metavar="N", min=1, help="In the tree of the first N events.")
        ] = None,
        output: Output = None,
        json: Json = False,
    ) -> None:
        """Prove that an event is in the log. The proof is JSON: hand it to whoever asks."""
        proof = asyncio.run(_read(wiring, lambda _, conn: prove_inclusion(conn, position, size=tree_size)))
        _hand_out(proof, output, as_json=json)

    @audit.command("consistency")
    def consistency_(
        from_: Annotated[int, typer.Argument(metavar="FROM", min=1, help="Size of the older tree.")],
        to: Annotated[
            int | None, typer.Argument(metavar="[TO]", min=1, help="Size of the newer one; without it the newest.")
        ] = None,
        output: Output = None,
        json: Json = False,
    ) -> None:
        """Prove that the log was only appended to since it had FROM events."""
        proof = asyncio.run(_read(wiring, lambda _, conn: prove_consistency(conn, old=from_, new=to)))
        _hand_out(proof, output, as_json=json)

    @audit.command("verify-proof")
    def verify_proof(
        file: Annotated[typer.FileBinaryRead, typer.Argument(metavar="FILE", help="A proof; - for standard input.")],
        public_key: Annotated[
            str | None, typer.Option("--public-key", metavar="VKEY", help="The log's, as you got it from elsewhere.")
        ] = None,
        checkpoint: Annotated[
            typer.FileText | None, typer.Option("--checkpoint", metavar="NOTE", help="A checkpoint that you kept.")
        ] = None,
        json: Json = False,
    ) -> None:
        """Check a proof, with nothing but the log's public key or a checkpoint you trust. Needs no database.

        On the machine that seals the log its own key is taken where neither is given.

        Exits 1, and says why, where the proof does not verify.
        """
        key = VerifierKey.parse(public_key) if public_key is not None else None
        try:
            kept = None if checkpoint is None else _text(checkpoint)
            proof = parse(file.read())
            if key is None and kept is None:
                key = _key_of_this_machine(wiring, proof)
            verified = verify(proof, key=key, checkpoint=kept)
        except (ProofRejected, MalformedProof, MalformedNote, NotSealable) as error:
            reason = error.detail
            tell(
                {"verified": False, "reason": reason},
                as_json=json,
                people=lambda console: console.print(f"[bold red]not verified[/] {escape(reason)}", soft_wrap=True),
            )
            raise typer.Exit(FOUND_SOMETHING) from None
        tell(
            {"verified": True, **msgspec.to_builtins(verified)},
            as_json=json,
            people=lambda console: _show_verified(console, verified),
        )

    @audit.command("new-key")
    def new_key(
        yes: Annotated[bool, typer.Option("--yes", metavar="", help="Do not ask.")] = False, json: Json = False
    ) -> None:
        """Sign with a new key from now on: the old one is lost, or a backup older than what it signed was restored.

        Whoever checks the log must be given the new public key, and told why.
        """
        if not yes:
            typer.confirm("Auditors will have to be given the new public key. Make it?", abort=True, err=True)
        verifier = asyncio.run(_new_key(wiring))
        tell(
            {"public_key": str(verifier)},
            as_json=json,
            people=lambda console: console.print(
                f"the log is signed from now on with the key\n{verifier}\nGive it to its auditors.", soft_wrap=True
            ),
        )


async def _read(wiring: Wiring, query: Callable[[RunningColink, Connection], Awaitable[T]]) -> T:
    async with wiring.open_colink(wiring.load_settings()) as colink, colink.pool.connection() as connection:
        return await query(colink, connection)


async def _checkpoint(
    colink: RunningColink, connection: Connection
) -> tuple[PublishedCheckpoint | None, list[str], SealState]:
    return (
        await newest_checkpoint(connection),
        await verifier_keys(connection),
        await seal_state(connection, now=colink.clock.now()),
    )


async def _new_key(wiring: Wiring) -> VerifierKey:
    async with wiring.open_colink(wiring.load_settings()) as colink:
        return await colink.new_seal_key()


def _checkpoint_document(newest: PublishedCheckpoint | None, keys: list[str], state: SealState) -> dict[str, object]:
    return {
        "checkpoint": newest.note if newest else None,
        "tree_size": newest.tree_size if newest else 0,
        "signed_at": newest.signed_at if newest else None,
        "public_keys": keys,
        "head": state.head,
        "sealed": state.sealed,
        "lag": state.lag,
        "lag_seconds": state.lag_seconds,
        "alarm": state.alarm,
    }


def _show_checkpoint(console: Console, newest: PublishedCheckpoint | None, keys: list[str], state: SealState) -> None:
    """The note alone on stdout, so that it can be kept as it is; what there is to say about it beside."""
    if newest is None:
        notes.print("nothing is signed yet: the worker does it (colink worker --once)")
    else:
        console.out(newest.note, end="", highlight=False)
        notes.print(f"\nsigned {newest.signed_at:%Y-%m-%d %H:%M:%S} UTC; verify with the public key")
        signer = _signer(newest.note, keys)
        notes.print(signer, soft_wrap=True, markup=False)
        if signer != state.verifier_key:
            notes.print("the next one will be signed with a new key")
            notes.print(state.verifier_key, soft_wrap=True, markup=False)
    behind = f"{state.lag} not sealed yet, for {state.lag_seconds:,.0f} s" if state.lag else "all of them sealed"
    notes.print(f"{state.head} events in the log, {behind}")
    if state.alarm is not None:
        notes.print(f"[bold red]sealing was refused[/] {escape(state.alarm)}", soft_wrap=True)


def _signer(note: str, keys: list[str]) -> str | None:
    """The one of these keys that signed a checkpoint: after `new-key` not the newest, until there are events."""
    key_ids = {signature.key_id for signature in parse_note(note).signatures}
    return next((key for key in keys if VerifierKey.parse(key).key_id in key_ids), None)


def _hand_out(proof: Inclusion | Consistency, output: Path | None, *, as_json: bool) -> None:
    """The proof itself on stdout, or into a file and then a word about it."""
    document = msgspec.json.format(msgspec.json.encode(proof), indent=2).decode() + "\n"
    if output is None:
        sys.stdout.write(document)
        return
    try:
        output.write_text(document)
    except OSError as error:
        raise InvalidInput(f"the proof cannot be written: {error}", field="output") from error
    tell(
        {"file": str(output)},
        as_json=as_json,
        people=lambda console: console.print(f"written to {output}: check it with colink audit verify-proof"),
    )


def _text(checkpoint: TextIO) -> str:
    try:
        return checkpoint.read()
    except UnicodeDecodeError:
        raise MalformedNote("the checkpoint given is no text") from None


def _key_of_this_machine(wiring: Wiring, proof: Inclusion | Consistency) -> VerifierKey:
    note = proof.checkpoint if isinstance(proof, Inclusion) else proof.to_checkpoint
    signatures = parse_note(note).signatures if note is not None else ()
    for known in wiring.known_verifiers(wiring.load_settings()):
        if any((each.name, each.key_id) == (known.name, known.key_id) for each in signatures):
            notes.print(f"checked with the key that this machine seals with: {known}", soft_wrap=True)
            return known
    msg = "give the log's public key (--public-key) or a checkpoint that you trust (--checkpoint)"
    raise InvalidInput(msg, field="public_key")


def _show_verified(console: Console, verified: Verified) -> None:
    if verified.proof == "consistency":
        console.print(
            f"[bold green]verified[/] the log of {verified.tree_size} events begins with the log of "
            f"{verified.from_size} events, unchanged"
        )
    elif verified.event is None:
        console.print(
            f"[bold green]verified[/] position {verified.position} is among the {verified.tree_size} events of the "
            "log with just this leaf hash; the event itself is withheld"
        )
    else:
        console.print(
            f"[bold green]verified[/] {verified.event.type} at position {verified.position} is among the "
            f"{verified.tree_size} events of the log, exactly as it stands in the proof"
        )
    vouched = f"signed with {verified.signed_by}" if verified.signed_by else "as the checkpoint says that you gave"
    console.print(f"{verified.origin}: {vouched}", soft_wrap=True, markup=False)
