"""`python -m bench`: every claim against a fresh embedded PostgreSQL with default durability; a table that
says which goals were met, and `bench/results/local.json`, which git ignores. With `--keep` the numbers go into
`bench/results/latest.json` instead, to be committed on purpose."""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import order_command
from bench.claim import Measured
from colink.adapters.postgres.provision import provision
from colink.adapters.postgres.server import EmbeddedServer

CLAIMS = (order_command,)
RESULTS = Path(__file__).parent / "results"


def main(*, to_keep: bool) -> None:
    measured: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="colink-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        with EmbeddedServer(Path(folder) / "server").acquire() as server:
            for number, claim in enumerate(CLAIMS):
                measured += claim.run(server, provision(server, f"bench_{number}"))
    show(measured)
    results = RESULTS / ("latest.json" if to_keep else "local.json")
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
            each.claim,
            f"{each.ours:,.0f} {each.unit}",
            f"{each.baseline:,.0f} {each.unit}",
            f"{each.ratio:.1f}x",
            each.goal,
            "[green]met[/]" if each.met else "[red]missed[/]",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main(to_keep="--keep" in sys.argv[1:])
