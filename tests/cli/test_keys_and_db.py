"""The promise: the commands say what they did, to people and (`--json`) to machines, and end with the right code."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from getpass import getuser
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.conftest import TestDatabase

from colink.application.configure.access import key_digest
from colink.bootstrap import wiring
from colink.cli.app import run
from colink.domain.orders import OrderSplit
from colink.projections.leaderboard import Leaderboard
from colink.projections.versions import lock_key

WIRING = wiring()


class Terminal:
    """Runs the command line in this process, on a database that is given."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def run(self, *arguments: str, status: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            run(WIRING, arguments)
        said = self._capsys.readouterr()
        assert (ended.value.code or 0) == status, said
        return said.out if status == 0 or said.out else said.err

    def json(self, *arguments: str, status: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", status=status))


@pytest.fixture
def terminal(
    database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    monkeypatch.setenv("COLINK_DATABASE_URL", url(database.superuser_dsn))
    monkeypatch.setenv("COLINK_DATA_DIR", str(tmp_path))  # the signing keys of this database
    return Terminal(capsys)


def url(dsn: str) -> str:
    """The connection string of a socket as a URL, as COLINK_DATABASE_URL has it."""
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    return f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']}&port={parts['port']}"


def test_a_key_is_printed_once_and_kept_as_a_digest(terminal: Terminal, database: TestDatabase) -> None:
    made = terminal.json("keys", "create", "--role", "finance")
    assert made.keys() == {"id", "key", "role"}
    assert (made["role"], made["key"][:3], made["id"][:4]) == ("finance", "ck_", "key_")
    with psycopg.connect(database.app_dsn) as connection:
        row = connection.execute(
            "select body::jsonb ->> 'digest' from colink.documents where id = %s", (made["id"],)
        ).fetchone()
        log = connection.execute("select string_agg(payload, ' ') from colink.events").fetchone()
    assert row == (key_digest(made["key"]),)
    assert log is not None
    assert made["key"] not in log[0]
    said = terminal.run("keys", "create", "--role", "operator")
    assert said.splitlines()[0].startswith("ck_")


def test_keys_are_listed_and_revoked(terminal: Terminal) -> None:
    first = terminal.json("keys", "create", "--role", "finance", "--name", "desk 2", "--expires-in", "90d")
    assert first.keys() == {"id", "key", "role"}
    other = terminal.json("keys", "create", "--role", "auditor")
    listed = terminal.json("keys", "list")
    assert [(key["id"], key["role"], key["name"], key["revoked"]) for key in listed["items"]] == [
        (first["id"], "finance", "desk 2", None),
        (other["id"], "auditor", None, None),
    ]
    lives = [datetime.fromisoformat(listed["items"][0][at]) for at in ("created_at", "expires_at")]
    assert timedelta(days=90) - timedelta(minutes=1) < lives[1] - lives[0] <= timedelta(days=90)
    assert first["key"] not in json.dumps(listed)
    page = terminal.json("keys", "list", "--limit", "1")
    assert ([key["id"] for key in page["items"]], page["next_cursor"]) == ([first["id"]], first["id"])
    assert terminal.json("keys", "list", "--cursor", first["id"])["items"] == listed["items"][1:]

    ended = terminal.json("keys", "revoke", first["id"], "--reason", "left us")
    assert (ended["id"], ended["revoked"]["by"], ended["revoked"]["reason"]) == (
        first["id"],
        f"cli:{getuser()}",
        "left us",
    )
    assert terminal.json("keys", "revoke", first["id"]) == ended
    said = terminal.run("keys", "revoke", other["id"], "--by", "ravi")
    assert f"auditor key {other['id']} revoked at" in said
    assert "by cli:ravi" in said
    assert "no operator's key is left" in said
    assert terminal.json("keys", "list", "--standing")["items"] == []
    assert "revoked" in terminal.run("keys", "list")
    assert f"by cli:{getuser()}: left us" in terminal.run("keys", "list", "--role", "finance")
    assert "no such keys" in terminal.run("keys", "list", "--role", "seller")
    assert "no such key" in terminal.run("keys", "revoke", "key_none", status=2)
    assert "90d" in terminal.run("keys", "create", "--role", "finance", "--expires-in", "-1d", status=2)
    assert "--name must have" in terminal.run("keys", "create", "--role", "finance", "--name", "", status=2)


def test_wrong_use_ends_with_2_and_says_what_is_wrong(terminal: Terminal) -> None:
    assert "needs --organization" in terminal.run("keys", "create", "--role", "seller", status=2)
    assert "boss" in terminal.run("keys", "create", "--role", "boss", status=2)
    unknown = terminal.run("keys", "create", "--role", "creator", "--payee", "cre_none", status=2)
    assert "--payee 'cre_none' is unknown" in unknown
    assert "No such command" in terminal.run("fly", status=2)


def test_the_version_is_told(terminal: Terminal) -> None:
    assert terminal.run("--version") == f"colink {version('colink')}\n"


def test_a_verification_from_beyond_the_end_of_the_log_is_wrong_use(terminal: Terminal) -> None:
    assert terminal.json("audit", "verify", "--from", "1")["clean"], "an empty log too"
    terminal.run("keys", "create", "--role", "auditor")
    assert "give --from up to that" in terminal.run("audit", "verify", "--from", "999", status=2)


def test_no_balances_are_told_with_what_was_asked_for(terminal: Terminal) -> None:
    terminal.run("keys", "create", "--role", "auditor")
    asked = ("--account", "payee:cre_", "--as-of", "2026-01-31T00:00:00Z", "--at-position", "1")
    assert terminal.run("ledger", "balances", *asked).rstrip() == (
        "no balances: nothing was posted to an account that begins with 'payee:cre_', effective by "
        "2026-01-31T00:00:00Z, recorded up to position 1"
    )


def test_a_stopped_projection_is_resumed(terminal: Terminal, database: TestDatabase) -> None:
    terminal.run("keys", "create", "--role", "auditor")
    terminal.run("worker", "--once")
    with psycopg.connect(database.owner_dsn) as owner:
        owner.execute(
            "update colink.projection_checkpoints set position = 0, error = 'ValueError: apples', error_position = 1"
            " where projection = 'leaderboard' and log = 'commerce'"
        )
    assert "colink projections resume leaderboard" in terminal.run("projections", "list")
    assert terminal.json("worker", "--once", status=1)["parked"][0]["projection"] == "leaderboard"
    items = terminal.json("projections", "resume", "leaderboard")["items"]
    assert {item["projection"] for item in items} == {"leaderboard"}
    assert [(item["lag"], item["error"]) for item in items] == [(0, None)] * len(items)
    assert "attribution_report, leaderboard" in terminal.run("projections", "resume", "weather", status=2)


def test_a_projection_is_rebuilt(terminal: Terminal, database: TestDatabase) -> None:
    terminal.run("keys", "create", "--role", "auditor")
    terminal.run("worker", "--once")
    assert "leaderboard: readers use version 2 now" in terminal.run("projections", "rebuild", "leaderboard")
    rebuilt = terminal.json("projections", "rebuild", "leaderboard")
    assert (rebuilt["version"], rebuilt["live"], rebuilt["resumed"], rebuilt["passed"]) == (3, True, False, 1)
    listed = [item for item in terminal.json("projections", "list")["items"] if item["projection"] == "leaderboard"]
    assert listed == rebuilt["items"]
    assert {(item["version"], item["state"], item["lag"]) for item in listed} == {(3, "live", 0)}
    assert "attribution_report, leaderboard" in terminal.run("projections", "rebuild", "weather", status=2)
    with psycopg.connect(database.owner_dsn) as other:
        held = "select pg_advisory_lock(%s, %s)"
        other.execute(held, lock_key(Leaderboard()))
        assert "leaderboard is being rebuilt by another" in terminal.run(
            "projections", "rebuild", "leaderboard", status=2
        )


def test_a_rebuild_that_stops_says_where_and_ends_with_1(terminal: Terminal, database: TestDatabase) -> None:
    terminal.run("worker", "--once")
    with psycopg.connect(database.superuser_dsn) as superuser:
        superuser.execute(
            "insert into colink.events values"
            f" (1, 'ord_1', 1, 'order.split', {OrderSplit.class_version}, '{{}}', 'org_1', now(), 'a', 'c');"
            "update colink.log_head set position = 1"
        )
    said = terminal.run("projections", "rebuild", "leaderboard", status=1)
    assert "leaderboard: version 2 stopped at position 1 of the commerce log: ValidationError" in said
    assert "readers still use the version before" in said
    assert not terminal.json("projections", "rebuild", "leaderboard", status=1)["live"]


def test_a_moved_clock_is_refused_outside_demos(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLINK_CLOCK_OFFSET", "+15d")
    assert "COLINK_CLOCK_OFFSET" in terminal.run("keys", "create", "--role", "auditor", status=2)


def test_settings_that_cannot_be_are_named(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLINK_PAYOUT_APPROVAL", "sometimes")
    assert "COLINK_PAYOUT_APPROVAL" in terminal.run("db", "status", status=2)


def test_db_status_and_migrate(terminal: Terminal, make_database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = make_database(migrated=False)
    monkeypatch.setenv("COLINK_DATABASE_URL", url(empty.superuser_dsn))
    before = terminal.json("db", "status", status=1)
    assert before["current"] is None
    assert before["pending"]
    after = terminal.json("db", "migrate")
    assert after == {"current": before["head"], "head": before["head"], "pending": []}
    assert terminal.json("db", "status") == after
    assert f"schema version {before['head']}" in terminal.run("db", "status")
