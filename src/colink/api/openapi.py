"""Writes the API's description to a file, without a database: `python -m colink.api.openapi FILE`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import cast

from colink.api.app import create_app
from colink.api.services import Services


def write_description(path: Path) -> None:
    """OpenAPI as served at `/openapi.json`."""
    # Services are used by requests only, and there will be none.
    description = create_app(cast("Services", None)).openapi()
    path.write_text(json.dumps(description, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write_description(Path(sys.argv[1]))
