"""The README's tour does what it says: its blocks are run by bash, one after the other, on a CoLink of their own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
_TOUR = re.compile(r"^```bash tour\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BLOCK = "--- block "


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="colink-readme-"))
    folder.chmod(0o711)  # the database's user passes through where the tests run as root
    yield folder
    shutil.rmtree(folder)


def test_tour_runs_as_it_is_written(folder: Path) -> None:
    blocks = _TOUR.findall(README.read_text())
    assert len(blocks) == 11
    said = run_as_one(blocks, folder)

    start, shop, click, order, refund, dashboards, finance, books, auditors, operators = said[:10]
    assert '"status":"ok"' in start
    assert '"sku":"SARONG-RED"' in shop
    assert "https://batik-house.myshopify.com/products/sarong" in click
    assert "colink_ref=clk_" in click
    assert [status in order for status in ('"accepted"', '"duplicate"', "401")] == [True, True, True]
    for amount in (250, 600, 4150, 5000, 10800):  # platform fee, commission, seller's take, refunded, collected
        assert f'"amount": {amount},' in refund
    assert '"outcome": "click"' in refund
    assert '"clicks":1' in dashboards
    assert '"rank":1' in dashboards
    assert '"verdict":"serves"' in dashboards
    assert '"status":404' in dashboards
    assert '"status":"paid"' in finance
    assert "platform:revenue" in finance
    assert "MYR 6.00" in books
    assert "somebody else has to approve it" in books
    assert "posted bkg_" in books
    assert "closed up to" in books
    assert '"next_cursor":"' in auditors, "three entries of many"
    assert "(clearing)" in auditors
    assert "delivery-3" in auditors
    assert "at position 3 is among the" in auditors
    assert '"accepted":1' in operators
    assert '"type":"order.placed"' in operators
    assert "leaderboard: readers use version 2 now" in operators
    assert 'colink_seal_lag_seconds{log="commerce"}' in operators
    assert "erased: keys of 1 destroyed" in operators
    assert "nothing found" in operators


def run_as_one(blocks: list[str], folder: Path) -> list[str]:
    """What each block printed, all of them pasted into one bash that stops at the first error."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    # The tour finds `colink` in .venv; where the tests run in another environment, in that.
    environment["PATH"] += os.pathsep + str(Path(sys.executable).parent)
    environment |= {"PORT": str(port), "COLINK_DATA_DIR": str(folder / "tour")}
    script = "\n".join(f"echo '{_BLOCK}'\n{block}" for block in blocks)
    bash = subprocess.Popen(
        ["bash", "-eo", "pipefail", "-c", script],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = bash.communicate(timeout=240)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(bash.pid, signal.SIGTERM)
    assert bash.returncode == 0, output
    return output.split(_BLOCK)[1:]
