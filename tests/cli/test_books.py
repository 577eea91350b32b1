"""Finance keeps the books from the command line: the chart, journals by two people, closed months."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path

import pytest
from tests.cli.test_keys_and_db import Terminal, url
from tests.cli.test_wrong_use import WIRING
from tests.conftest import TestDatabase
from tests.projections.world import AINA, open_world

from colink.cli.app import run

AVAILABLE = f"payee:{AINA}:available"


@pytest.fixture
def colink(
    database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    """On a shop that has sold nothing yet."""
    asyncio.run(_set_up(database))
    monkeypatch.setenv("COLINK_DATABASE_URL", url(database.superuser_dsn))
    monkeypatch.setenv("COLINK_DATA_DIR", str(tmp_path))
    return Terminal(capsys)


async def _set_up(database: TestDatabase) -> None:
    async with open_world(database):
        pass


def problem(colink: Terminal, *arguments: str) -> str:
    """What is said to people of a command that is refused, which ends with 2."""
    return " ".join(colink.run(*arguments, status=2).split())


def test_one_proposes_and_another_posts(colink: Terminal) -> None:
    legs = ("platform:expense=-1250MYR", f"{AVAILABLE}=1250myr")
    assert colink.json("ledger", "journals") == {"items": []}
    assert "no journals made by people" in colink.run("ledger", "journals")
    proposed = colink.json("ledger", "propose", *legs, "--reason", "goodwill", "--by", "ina")
    assert (proposed["status"], proposed["proposed_by"], proposed["reason"]) == ("pending", "cli:ina", "goodwill")
    id_ = proposed["id"]
    refused = problem(colink, "ledger", "approve", id_, "--by", "ina")
    assert "somebody else has to approve it" in refused
    assert colink.json("ledger", "journals", "--status", "posted") == {"items": []}

    posted = colink.json("ledger", "approve", id_, "--by", "omar")
    assert (posted["id"], posted["status"], posted["decided_by"]) == (id_, "posted", "cli:omar")
    assert colink.json("ledger", "journals", "--status", "posted") == {"items": [posted]}
    assert "it cannot be approved" in problem(colink, "ledger", "approve", id_, "--by", "omar")
    (account,) = colink.json("ledger", "accounts", "--account", AVAILABLE)["items"]
    assert account == {
        "account": AVAILABLE,
        "currency": "MYR",
        "type": "liability",
        "normal_side": "credit",
        "debits": 0,
        "credits": 1_250,
        "amount": 1_250,
    }
    table = colink.run("ledger", "accounts", "--account", "platform:")
    assert "platform:expense" in table
    assert "MYR 12.50" in table
    assert "payee:" not in table
    listed = colink.run("ledger", "journals")
    assert "goodwill" in listed

    mistaken = colink.run("ledger", "propose", *legs, "--reason", "twice")
    assert "somebody else approves it" in mistaken
    (pending,) = colink.json("ledger", "journals", "--status", "pending")["items"]
    assert pending["proposed_by"] == f"cli:{getuser()}", "who is logged in"
    told = colink.run("ledger", "reject", pending["id"], "--reason", "a copy")
    assert told == f"rejected {pending['id']}\n"
    (rejected,) = colink.json("ledger", "journals", "--status", "rejected")["items"]
    assert (rejected["note"], rejected["id"]) == ("a copy", pending["id"])


def test_a_month_that_is_over_is_closed_and_takes_nothing_more(colink: Terminal) -> None:
    assert "nothing is closed" in colink.run("ledger", "periods")
    assert colink.json("ledger", "periods") == {"items": []}
    closed = colink.json("ledger", "close", "2020-01", "--reason", "signed", "--by", "ina")
    assert (closed["open_from"], closed["closed_by"]) == ("2020-02-01T00:00:00Z", "cli:ina")
    told = colink.run("ledger", "close", "2020-02", "--reason", "signed too", "--by", "ina")
    assert told.startswith("closed up to 2020-02: the ledger is open from 2020-03-01")
    first, second = colink.json("ledger", "periods")["items"]
    assert (first["month"], second["month"], second["reason"]) == ("2020-01", "2020-02", "signed too")
    assert first["position"] < second["position"]
    assert "the ledger is open from 2020-03-01" in colink.run("ledger", "periods")

    assert "closed already" in problem(colink, "ledger", "close", "2020-01", "--reason", "again")
    month = f"{datetime.now(UTC):%Y-%m}"
    assert "cannot be closed before" in problem(colink, "ledger", "close", month, "--reason", "early")
    assert "write it as 2026-10" in problem(colink, "ledger", "close", "2020-13", "--reason", "none")
    legs = ("platform:expense=-5MYR", "processor:bank:cash=5MYR")
    late = ("--reason", "late", "--effective-at", "2020-02-29T00:00:00Z")
    assert "the first open day is 2020-03-01" in problem(colink, "ledger", "propose", *legs, *late)
    assert colink.json("ledger", "journals") == {"items": []}


def test_what_may_not_be_booked_is_refused_and_nothing_is_kept(colink: Terminal) -> None:
    for legs, told in (
        (("platform:expense=-5MYR", "platform:loss=4MYR"), "sum"),
        (("platform:expense=-5MYR", "platform:profit=5MYR"), "platform:profit"),
        (("platform:expense=-5MYR", f"payee:{AINA}:pending=5MYR"), "follows from orders and payouts"),
    ):
        assert told in problem(colink, "ledger", "propose", *legs, "--reason", "r")
    unknown = ("ledger", "propose", "platform:expense=-5MYR", "platform:loss=5MYR", "--reason", "r")
    assert "jrn_none" in problem(colink, *unknown, "--corrects", "jrn_none")
    for decision in ("approve", "reject"):
        assert "colink ledger journals shows those there are" in problem(colink, "ledger", decision, "bkg_none")
    assert colink.json("ledger", "journals") == {"items": []}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["close", "2020-01"], "--reason"),
        (["close", "--reason", "r"], "MONTH"),
        (["propose", "--reason", "r"], "ACCOUNT=AMOUNT"),
        (["propose", "platform:loss=5MYR"], "--reason"),
        (["propose", "platform:loss", "--reason", "r"], "write ACCOUNT=AMOUNT"),
        (["propose", "platform:loss=12.50MYR", "--reason", "r"], "minor units"),
        (["propose", "platform:loss=5", "--reason", "r"], "write ACCOUNT=AMOUNT"),
        (["propose", "=5MYR", "--reason", "r"], "write ACCOUNT=AMOUNT"),
        (["propose", "platform:loss=5MYR", "--reason", "r", "--effective-at", "now"], "2026-01-31T00:00:00Z"),
        (["approve"], "ID"),
        (["reject"], "ID"),
        (["journals", "--status", "lost"], "rejected"),
    ],
)
def test_wrong_use(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(WIRING, ["ledger", *arguments])
    captured = capsys.readouterr()
    assert (ended.value.code, captured.out) == (2, "")
    assert told in " ".join(captured.err.replace("│", " ").split())
