"""Break the program once for every entry of the catalog and see its test fail: `python -m tests.mutations [NAME]`.

Exits 1 where a break went unnoticed. `--document FILE` writes the table of docs/invariants.md instead.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutations.breaks import Verdict, try_break
from tests.mutations.catalog import BREAKS
from tests.mutations.document import document


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only breaks whose name contains this")
    parser.add_argument("--at-once", type=int, default=2, metavar="N")
    parser.add_argument("--document", type=Path, metavar="FILE")
    asked = parser.parse_args()
    if asked.document:
        asked.document.write_text(document())
        return 0
    chosen = [each for each in BREAKS if not asked.names or any(name in each.name for name in asked.names)]
    survived = 0
    with ThreadPoolExecutor(asked.at_once) as executor:
        for number, verdict in enumerate(executor.map(try_break, chosen), start=1):
            print(f"{number}/{len(chosen)} {_told(verdict)}", flush=True)
            survived += not verdict.killed
    print(f"{len(chosen) - survived} of {len(chosen)} breaks were noticed")
    return 1 if survived or not chosen else 0


def _told(verdict: Verdict) -> str:
    outcome = "noticed" if verdict.killed else "SURVIVED"
    return f"{outcome}: {verdict.broken.name} by {verdict.broken.test}\n    {verdict.said[:200]}"


if __name__ == "__main__":
    sys.exit(main())
