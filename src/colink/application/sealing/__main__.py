"""`python -m colink.application.sealing PROOF --public-key VKEY`: checks a proof where nothing else of CoLink runs.

For auditors who take this folder, `domain/sealing`, `domain/errors.py` and two libraries (cryptography, msgspec) and
nothing else. `colink audit verify-proof` is the same with more comfort.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from colink.application.sealing.proofs import NothingToTrust, parse, verify
from colink.domain.errors import ColinkError
from colink.domain.sealing.checkpoint import VerifierKey


def main() -> int:
    """Exits 0 where the proof verifies, 1 where it does not, 2 where there is nothing to check it with."""
    arguments = argparse.ArgumentParser(prog="python -m colink.application.sealing", description="Check a proof.")
    arguments.add_argument("proof", type=Path, help="the proof's file")
    arguments.add_argument("--public-key", metavar="VKEY", help="the log's, as you got it from elsewhere")
    arguments.add_argument("--checkpoint", type=Path, metavar="NOTE", help="the file of a checkpoint that you kept")
    given = arguments.parse_args()
    try:
        proof = given.proof.read_bytes()
        key = VerifierKey.parse(given.public_key) if given.public_key is not None else None
        checkpoint = given.checkpoint.read_text() if given.checkpoint is not None else None
    except (ColinkError, OSError, UnicodeDecodeError) as error:
        arguments.error(str(error))
    try:
        verified = verify(parse(proof), key=key, checkpoint=checkpoint)
    except NothingToTrust as error:
        arguments.error(error.detail)
    except ColinkError as error:
        sys.stderr.write(f"not verified: {error}\n")
        return 1
    sys.stdout.write(f"verified: {verified.proof} in {verified.origin}, {verified.tree_size} events\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
