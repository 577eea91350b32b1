"""`python -m bench [CLAIM ...]`: every claim, or those named, each on a database of its own in an embedded PostgreSQL
with default durability; a table that says which goals were met, and `bench/results/latest.json`. What was measured of
some claims only goes into `bench/results/local.json`, which git ignores."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.claim import Measured
from colink.adapters.postgres.provision import provision
from colink.adapters.postgres.server import EmbeddedServer

CLAIMS = (
    "order_command",
    "clearing",
    "webhook",
    "bulk",
    "tracking",
    "projection_fold",
    "lag",
    "log_growth",
    "replay",
    "sealing",
    "balances_in_time",
)
"""Modules of this package, in the order of the table."""
RESULTS = Path(__file__).parent / "results"


def main(claims: Sequence[str]) -> None:
    measured: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="colink-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        with EmbeddedServer(Path(folder) / "server").acquire() as server:
            for name in claims:
                claim = importlib.import_module(f"bench.{name}")
                measured += claim.run(server, provision(server, f"bench_{name}"))
    show(measured)
    results = RESULTS / ("latest.json" if claims == CLAIMS else "local.json")
    results.parent.mkdir(exist_ok=True)
    report = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "claims": [asdict(each) | {"goal": each.goal} for each in measured],
    }
    results.write_text(json.dumps(report, indent=2) + "\n")


def show(measured: list[Measured]) -> None:
    table = Table(title="What was measured, and against what, in this run")
    for heading in ("claim", "ours", "baseline", "ratio", "goal", ""):
        table.add_column(heading, justify="left" if heading == "claim" else "right")
    for each in measured:
        table.add_row(
            f"{each.claim}\n[dim]{each.detail}[/]" if each.detail else each.claim,
            f"{each.ours:,.0f} {each.unit}",
            f"{each.baseline:,.0f} {each.unit}" if each.baseline is not None else "",
            f"{each.ratio:.2f}x" if each.ratio is not None else "",
            each.goal,
            "[green]met[/]" if each.met else "[red]missed[/]",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure what the README claims.")
    parser.add_argument("claims", nargs="*", help=f"of {', '.join(CLAIMS)} (default: all)")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.claims) - set(CLAIMS)):
        parser.error(f"no claim is called {', '.join(unknown)}: there are {', '.join(CLAIMS)}")
    main(tuple(asked.claims) or CLAIMS)
