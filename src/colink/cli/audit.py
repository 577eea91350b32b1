"""`colink audit`: verify the log, and trace what stands in it."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from colink.cli import exporting, reads, sealing
from colink.cli.output import Json, notes, tell
from colink.cli.trace_tree import trace_document, trace_tree
from colink.cli.wiring import Wiring
from colink.domain.audit.report import Pass, Report, Status
from colink.domain.errors import ColinkError, InvalidInput
from colink.domain.sealing.checkpoint import MalformedNote, VerifierKey, parse_checkpoint, parse_note
from colink.projections.audit import Trace, trace, verify
from colink.projections.audit.verify import Progress as Watched
from colink.projections.engine import Log, head

FOUND_SOMETHING = 1
_SHOWN = 50  # findings shown to people; --json gives all that are kept
_STYLES = {
    Status.PASSED: "green",
    Status.PARTIAL: "yellow",
    Status.FAILED: "bold red",
    Status.INCOMPLETE: "bold red",
    Status.NOT_IN_RANGE: "dim",
}


def add_to(app: typer.Typer, wiring: Wiring) -> None:
    audit = typer.Typer(help="Verify the log, trace what stands in it, and prove it.", no_args_is_help=True)
    app.add_typer(audit, name="audit")
    sealing.add_to(audit, wiring)
    exporting.add_to(audit, wiring)
    reads.add_to(audit, wiring)

    @audit.command("verify")
    def verify_(  # noqa: PLR0917 - each is an option, given by name
        from_: Annotated[int, typer.Option("--from", min=1, metavar="P", help="First position.")] = 1,
        to: Annotated[int | None, typer.Option("--to", min=1, metavar="P", help="Last position.")] = None,
        only: Annotated[list[Pass] | None, typer.Option("--only", help="Only this pass (repeatable).")] = None,
        checkpoints: Annotated[
            list[Path] | None,
            typer.Option(
                "--checkpoint",
                metavar="FILE",
                exists=True,
                dir_okay=False,
                help="A checkpoint you kept: the log must begin with all it was signed over (repeatable).",
            ),
        ] = None,
        public_keys: Annotated[
            list[Path] | None,
            typer.Option(
                "--public-key",
                metavar="FILE",
                exists=True,
                dir_okay=False,
                help="The log's public key as you were given it: no other signature counts (repeatable).",
            ),
        ] = None,
        json: Json = False,
    ) -> None:
        """Derive everything again from the log and compare it with what is recorded. Exits 1 on any difference, and
        where a pass could not run to its end (incomplete).

        Writers need not stop. With only a part of the log, what compares today's rows with all of it is left out.
        """
        kept = checkpoints or []
        own_keys = [_key_in(path) for path in public_keys or ()]
        if kept and (from_ > 1 or to is not None):
            raise InvalidInput("a checkpoint is about the whole log: leave out --from and --to", field="checkpoint")
        # The seals begin with what was signed (`seals`), and the events are what was sealed (`chain`).
        passes = frozenset(only or Pass) | ({Pass.CHAIN, Pass.SEAL} if kept or own_keys else set())
        notes = {str(path): _note_in(path) for path in kept}
        report = asyncio.run(_verify(wiring, first=from_, last=to, only=passes, notes=notes, own_keys=own_keys))
        tell(_report_document(report), as_json=json, people=lambda console: _show_report(console, report))
        if not report.clean:
            raise typer.Exit(FOUND_SOMETHING)

    @audit.command("trace")
    def trace_(
        subject: Annotated[
            str,
            typer.Argument(metavar="ID", help="An order, entry, payout, delivery, journal, creator, account..."),
        ],
        json: Json = False,
    ) -> None:
        """Show where something came from, back to its events and deliveries, and the payouts its money went into."""
        found = asyncio.run(_trace(wiring, subject))
        tell(trace_document(found), as_json=json, people=lambda console: console.print(trace_tree(found)))


def _note_in(path: Path) -> str:
    """A checkpoint that was kept. Whether it is one of this log, the verification says."""
    text = path.read_text("utf-8", errors="replace")
    try:
        parse_checkpoint(parse_note(text).text)
    except MalformedNote as error:
        msg = f"{path} holds no checkpoint as `colink audit checkpoint` prints it: {error.detail}"
        raise InvalidInput(msg, field="--checkpoint") from None
    return text


def _key_in(path: Path) -> VerifierKey:
    try:
        return VerifierKey.parse(path.read_text("utf-8", errors="replace"))
    except MalformedNote as error:
        raise InvalidInput(f"{path} holds no public key: {error.detail}", field="--public-key") from None


async def _verify(
    wiring: Wiring,
    *,
    first: int,
    last: int | None,
    only: Collection[Pass],
    notes: Mapping[str, str],
    own_keys: Sequence[VerifierKey],
) -> Report:
    async with wiring.open_colink(wiring.load_settings()) as colink:
        async with colink.pool.connection() as connection:
            end = await head(connection, Log.COMMERCE)
        if first > max(end, 1):  # from 1 on, an empty log is verified too
            msg = f"the log ends at position {end}: give --from up to that"
            raise InvalidInput(msg, field="from")
        await reads.keep_trace(colink, "verify", of=f"{first}-{'' if last is None else last}")
        outside = colink.outside()  # before the log is read, which only grows
        outside = replace(outside, notes={**outside.notes, **notes})
        if own_keys:
            outside = replace(outside, keys=own_keys, no_others=True)
        with _watched() as watched:
            async with colink.pool.connection() as connection:
                return await verify(
                    connection,
                    colink.decode,
                    from_position=first,
                    to_position=last,
                    only=only,
                    outside=outside,
                    progress=watched,
                )


async def _trace(wiring: Wiring, subject: str) -> Trace:
    async with wiring.open_colink(wiring.load_settings()) as colink:
        try:
            async with colink.pool.connection() as connection:
                found = await trace(connection, subject)
        except ColinkError as error:
            await reads.keep_trace(colink, "trace", of=subject, status=error.status)
            raise
        await reads.keep_trace(colink, "trace", of=subject)  # nothing was told before
        return found


@contextmanager
def _watched() -> Iterator[Watched]:
    """A progress bar for each pass, where a person is watching."""
    columns = (TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=notes, transient=True, disable=not sys.stderr.isatty()) as bars:
        bar = bars.add_task("verifying", total=None)

        def watched(what: str, done: int, total: int) -> None:
            bars.update(bar, description=what, completed=done, total=total)

        yield watched


def _report_document(report: Report) -> dict[str, object]:
    return {
        "clean": report.clean,
        "complete": report.complete,
        "from": report.from_position,
        "to": report.to_position,
        "head": report.head,
        "unsealed": report.unsealed,
        "passes": [
            {
                "pass": result.audit_pass,
                "status": result.status,
                "checked": result.checked,
                "findings": len(result.findings) + result.more,
                "reason": result.reason,
            }
            for result in report.passes
        ],
        "findings": [_finding_document(msgspec.to_builtins(finding)) for finding in report.findings],
    }


def _finding_document(finding: dict[str, object]) -> dict[str, object]:
    return {"pass": finding.pop("audit_pass"), **finding}


def _show_report(console: Console, report: Report) -> None:
    table = Table("pass", show_edge=False)
    table.add_column("checked", justify="right")
    table.add_column("findings", justify="right")
    table.add_column("status")
    for result in report.passes:
        status = f"[{_STYLES[result.status]}]{result.status.value.replace('_', ' ')}[/]"
        reason = f": {escape(result.reason)}" if result.reason else ""
        found = len(result.findings) + result.more
        table.add_row(result.audit_pass, f"{result.checked:,}", f"{found:,}" if found else "-", status + reason)
    console.print(table)
    for finding in report.findings[:_SHOWN]:
        sides = "" if finding.recorded is None else f"; recorded {finding.recorded}"
        sides += "" if finding.derived is None else f"; derived {finding.derived}"
        console.print(
            f"[bold red]position {finding.position or '-'}[/] {finding.audit_pass}: "
            f"{escape(finding.message)}{escape(sides)}",
            soft_wrap=True,
        )
    _show_outcome(console, report)


def _show_outcome(console: Console, report: Report) -> None:
    span = f"positions {report.from_position} to {report.to_position} of {report.head}"
    statuses = Counter(result.status for result in report.passes)
    if report.clean and report.head == 0:
        console.print("the log is empty: there is nothing to verify")
        return
    if report.unsealed:
        console.print(f"[yellow]{report.unsealed:,} events are not sealed yet[/]: no chain covers them so far")
    if report.clean:
        console.print(f"[bold green]verified[/] {span}: nothing found")
        if statuses[Status.NOT_IN_RANGE]:
            console.print("for the rest, verify the whole log: colink audit verify")
        return
    count = sum(len(result.findings) + result.more for result in report.passes)
    unfinished = statuses[Status.INCOMPLETE]
    console.print(
        f"[bold red]not verified[/] {span}: {count} found"
        + (f", {unfinished} passes could not run to their end" if unfinished else "")
    )
    if report.findings:
        if count > _SHOWN:
            console.print(f"the first {min(_SHOWN, len(report.findings))} are shown; --json gives more")
        in_log = (f for f in report.findings if f.position and f.position <= report.head)
        traceable = [f.position for f in in_log if f.audit_pass is not Pass.TRACKING]
        if traceable:
            console.print(f"what belongs to the first: colink audit trace {traceable[0]}")
