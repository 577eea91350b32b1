"""`colink audit export`: to standard output or into a file, which is whole or not there."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.cli.conftest import Shop
from tests.projections.world import AINA

from colink.cli.files import put


def test_books_are_written_and_checked(shop: Shop, tmp_path: Path) -> None:
    colink = shop.colink
    book = tmp_path / "book.journal"
    said = colink.run("audit", "export", "--format", "hledger", "-o", str(book))
    assert said.stdout == ""
    assert f"hledger -f {book} check --strict" in said.stderr
    subprocess.run(["hledger", "-f", str(book), "check", "--strict"], check=True, timeout=60)
    assert colink.run("audit", "export", "--format", "hledger").stdout == book.read_text()
    told = colink.json("audit", "export", "--format", "csv", "-o", str(book))
    assert told == {"file": str(book), "format": "csv", "bytes": book.stat().st_size}
    assert list(tmp_path.iterdir()) == [book]
    reads = [(read["route"], read["path"]) for read in colink.json("audit", "reads")["items"]]
    assert reads[:3] == [("colink audit export", f"{form} 1-") for form in ("hledger", "hledger", "csv")]
    colink.run("audit", "trace", "0", code=2)
    colink.run("audit", "trace", "1")
    kept = [(read["route"], read["path"], read["status"]) for read in colink.json("audit", "reads")["items"]]
    assert kept[-3:-1] == [("colink audit trace", "0", 404), ("colink audit trace", "1", 200)]
    colink.run("audit", "export", "--format", "csv", "--from", "100000", code=2)
    colink.run("audit", "export", "--format", "parquet", "--events", "-o", str(book), code=2)
    colink.run("audit", "export", "--format", "csv", "-o", str(tmp_path / "nowhere" / "x"), code=2)


def test_what_breaks_off_leaves_what_was_there(tmp_path: Path) -> None:
    async def breaks_off() -> AsyncIterator[bytes]:
        yield b"half"
        msg = "the database went away"
        raise ConnectionError(msg)

    path = tmp_path / "book"
    path.write_bytes(b"whole")
    with pytest.raises(ConnectionError):
        asyncio.run(put(breaks_off(), path))
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_statement_is_written(shop: Shop, tmp_path: Path) -> None:
    colink = shop.colink
    page = tmp_path / "aina.html"
    period = ("ledger", "statement", AINA, "--from", "2020-01-01", "--to", "2021-01-01T00:00:00Z")
    assert colink.run(*period, "-o", str(page)).stdout == ""
    assert "<h1>Statement of aina</h1>" in page.read_text()
    told = colink.json(*period)
    assert (told["closing"]["owed"], told["currency"]) == (1_900, "MYR")
    assert colink.run(*period, "--format", "csv").stdout.startswith("row,effective_at")
    again = colink.json(*period, "-o", str(page))
    assert again == {"file": str(page), "format": "html", "bytes": page.stat().st_size}, "as the file is named"
    for name, asked, begins in (
        ("aina.csv", (), "row,effective_at"),
        ("AINA.HTM", (), "<!doctype html>"),
        ("aina", (), "<!doctype html>"),
        ("aina.txt", ("--format", "csv"), "row,effective_at"),
    ):
        colink.run(*period, "-o", str(tmp_path / name), *asked)
        assert (tmp_path / name).read_text().startswith(begins), name
    colink.run(*period, "-o", str(tmp_path / "aina.json"))
    assert json.loads((tmp_path / "aina.json").read_text())["closing"] == told["closing"]
    assert colink.json(*period, "-o", str(tmp_path / "aina.pdf"), code=2)["field"] == "--output"
    assert not (tmp_path / "aina.pdf").exists()
    assert colink.json(*period, "--currency", "myr") == told
    for none in ("xqx", "", "ringgit"):
        assert colink.json(*period, "--currency", none, code=2)["field"] == "currency"
    assert colink.json(*period, "--at-position", "1000000", code=2)["field"] == "at_position"
    colink.run("ledger", "statement", AINA, "--from", "yesterday", "--to", "2021-01-01", code=2)
