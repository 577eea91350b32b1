"""`python -m colink.application.sealing PROOF --public-key VKEY`: checks a proof where nothing else of CoLink runs.

For auditors who take this folder, `domain/sealing`, `domain/errors.py` and two libraries (cryptography, msgspec) and
nothing else. `colink audit verify-proof` is the same with more comfort.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from colink.application.sealing.proofs import parse, verify
from colink.domain.errors import ColinkError
from colink.domain.sealing.checkpoint import VerifierKey


def main() -> int:
    """Exits 0 where the proof verifies, 1 where it does not."""
    arguments = argparse.ArgumentParser(prog="python -m colink.application.sealing", description="Check a proof.")
    arguments.add_argument("proof", type=Path)
    arguments.add_argument("--public-key", metavar="VKEY")
    arguments.add_argument("--checkpoint", type=Path, metavar="NOTE")
    given = arguments.parse_args()
    try:
        verified = verify(
            parse(given.proof.read_bytes()),
            key=VerifierKey.parse(given.public_key) if given.public_key else None,
            checkpoint=given.checkpoint.read_text() if given.checkpoint else None,
        )
    except (ColinkError, OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"not verified: {error}\n")
        return 1
    sys.stdout.write(f"verified: {verified.proof} in {verified.origin}, {verified.tree_size} events\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
