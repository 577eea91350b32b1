"""The first commands somebody gives: on nothing at all they work, and say what is there."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import CommandLine


def test_from_nothing(data_dir: Path) -> None:
    colink = CommandLine(data_dir=data_dir)
    before = colink.json("db", "status", code=1)
    assert before["current"] is None
    assert before["pending"], "exit code 1 says so too"

    key = colink.json("keys", "create", "--role", "auditor")
    assert set(key) == {"id", "key", "role"}
    assert key["role"] == "auditor"
    after = colink.json("db", "status")
    assert (after["current"], after["pending"]) == (before["head"], [])

    work = colink.json("worker", "--once")
    assert work["failed"] == {}
    assert work["done"]["clearing"] == work["done"]["payouts"] == 0
    verified = colink.run("audit", "verify")
    assert "verified positions 1 to 1 of 1: nothing found" in verified.stdout
    projections = colink.json("projections", "list")["items"]
    assert {item["projection"] for item in projections} == {
        "attribution_report",
        "balances_in_time",
        "leaderboard",
        "true_ups",
    }
    assert {item["lag"] for item in projections} == {0}
