from __future__ import annotations

import json
from pathlib import Path

from colink.api.openapi import write_description


def test_the_description_is_written_without_a_database(tmp_path: Path) -> None:
    write_description(tmp_path / "openapi.json")
    described = json.loads((tmp_path / "openapi.json").read_text())
    assert described["info"]["title"] == "CoLink Commerce"
    calls = {(method, path) for path, methods in described["paths"].items() for method in methods}
    assert calls >= {("post", "/v1/organizations"), ("get", "/v1/orders"), ("get", "/v1/balances")}
