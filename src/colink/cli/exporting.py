"""`colink audit export`: the ledger for other people's tools."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from colink.cli.files import put
from colink.cli.output import busy, notes
from colink.cli.reads import keep_trace
from colink.cli.wiring import Wiring
from colink.domain.errors import InvalidInput
from colink.projections.exports import ExportFormat, export


def add_to(audit: typer.Typer, wiring: Wiring) -> None:
    @audit.command("export")
    def export_(
        *,
        form: Annotated[ExportFormat, typer.Option("--format", help="What to write.")],
        from_: Annotated[int, typer.Option("--from", min=1, metavar="P", help="First position.")] = 1,
        to: Annotated[int | None, typer.Option("--to", min=1, metavar="P", help="Last position.")] = None,
        output: Annotated[
            Path | None,
            typer.Option("-o", "--output", metavar="FILE", help="Written whole or not at all; else standard output."),
        ] = None,
        events: Annotated[
            bool, typer.Option("--events", help="With ndjson: the raw events with their hashes, in place of entries.")
        ] = False,
        json: Annotated[
            bool, typer.Option("--json", metavar="", help="With -o: one JSON document about the file on stdout.")
        ] = False,
    ) -> None:
        """Write the ledger as hledger or beancount journal, or its entries as CSV, NDJSON or Parquet.

        All of it, or positions --from to --to: a book then begins with the balances before them. Both books end by
        asserting every balance, so that `hledger check --strict` and `bean-check` compare theirs with ours.
        """
        if json and output is None:
            raise InvalidInput("the export itself goes to standard output: give a file with -o", field="json")
        if form is ExportFormat.PARQUET and output is None and sys.stdout.isatty():
            raise InvalidInput("Parquet is nothing for a terminal: give a file with -o", field="output")
        with busy(f"writing {form}"):
            written = asyncio.run(_export(wiring, form, first=from_, last=to, events=events, path=output))
        if json:
            document = {"file": str(output), "format": form, "bytes": written}
            typer.echo(msgspec.json.encode(document).decode())
        elif output is not None:
            notes.print(f"wrote {output} ({written:,} bytes){_next_step(form, output)}", soft_wrap=True)


async def _export(
    wiring: Wiring, form: ExportFormat, *, first: int, last: int | None, events: bool, path: Path | None
) -> int:
    async with wiring.open_colink(wiring.load_settings()) as colink, colink.pool.connection() as connection:
        await keep_trace(colink, "export", of=f"{form} {first}-{'' if last is None else last}")
        pieces = export(connection, form, from_position=first, to_position=last, events=events)
        return await put(pieces, path)


def _next_step(form: ExportFormat, path: Path) -> str:
    checks = {ExportFormat.HLEDGER: f"hledger -f {path} check --strict", ExportFormat.BEANCOUNT: f"bean-check {path}"}
    return f"; check it: {checks[form]}" if form in checks else ""
