"""`python -m bench`: every claim against a fresh embedded PostgreSQL with default durability; a table, and
`bench/results/latest.json`."""

from __future__ import annotations

import json
import platform
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
RESULTS = Path(__file__).parent / "results" / "latest.json"


def main() -> None:
    measured: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="colink-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        with EmbeddedServer(Path(folder) / "server").acquire() as server:
            for number, claim in enumerate(CLAIMS):
                measured += claim.run(server, provision(server, f"bench_{number}"))
    show(measured)
    RESULTS.parent.mkdir(exist_ok=True)
    report = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "claims": [asdict(each) for each in measured],
    }
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")


def show(measured: list[Measured]) -> None:
    table = Table(title="What was measured, and against what, in this run")
    for heading in ("claim", "ours", "baseline", "ratio", "goal"):
        table.add_column(heading, justify="left" if heading == "claim" else "right")
    for each in measured:
        table.add_row(
            each.claim,
            f"{each.ours:,.0f} {each.unit}",
            f"{each.baseline:,.0f} {each.unit}",
            f"{each.ratio:.1f}x",
            each.goal,
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
