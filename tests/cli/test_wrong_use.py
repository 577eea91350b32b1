"""Wrong use ends with exit code 2 and says on stderr what would be right; nothing is opened for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import CommandLine

from colink.cli.app import run
from colink.cli.wiring import Wiring
from colink.config import load_settings


def refuse(*_: object) -> None:
    raise AssertionError("the database was opened for a command that cannot be carried out")


WIRING = Wiring(
    load_settings=load_settings,
    open_colink=refuse,
    migrate=refuse,
    schema_state=refuse,
    back_up=refuse,
    restore=refuse,
    known_verifiers=refuse,
    simulate=refuse,
)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["no-such-command"], "No such command"),
        (["keys", "create"], "--role"),
        (["db", "restore"], "FOLDER"),
        (["audit", "verify", "--from", "0"], "--from"),
        (["audit", "trace"], "ID"),
        (["ledger", "balances", "--as-of", "yesterday"], "such as 2026-01-31T00:00:00Z"),
        (["ledger", "balances", "--at-position", "-1"], "--at-position"),
        (["payouts", "approve"], "ID"),
        (["payouts", "list", "--status", "lost"], "in_transit"),
        (["up", "--port", "99999"], "--port"),
    ],
)
def test_wrong_use(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(WIRING, arguments)
    captured = capsys.readouterr()
    assert ended.value.code == 2
    assert captured.out == ""
    words = " ".join(captured.err.replace("│", " ").split())
    assert told in words


def test_a_wrong_setting_is_named(data_dir: Path) -> None:
    colink = CommandLine(data_dir=data_dir, settings={"COLINK_PAYOUT_SCHEDULE": "daily"})
    told = colink.run("worker", "--once", "--json", code=2)
    assert told.stdout == ""
    assert "COLINK_PAYOUT_SCHEDULE" in told.stderr
    assert list(data_dir.iterdir()) == []
