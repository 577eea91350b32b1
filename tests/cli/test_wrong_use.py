"""Wrong use ends with exit code 2 and says on stderr what would be right; nothing is opened for it. With --json what
was refused is one problem on stdout too, whatever the command and whatever was wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typer
from tests.cli.conftest import CommandLine

from colink.cli.app import build_cli, run
from colink.cli.wiring import Wiring
from colink.config import load_settings
from colink.domain.errors import ColinkError, Conflict, InvalidInput, NotFound


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


WRONG = [
    (["no-such-command"], "No such command", None),
    (["keys", "create"], "--role", "--role"),
    (["db", "restore"], "FOLDER", "FOLDER"),
    (["audit", "verify", "--from", "0"], "--from", "--from"),
    (["audit", "trace"], "ID", "ID"),
    (["ledger", "balances", "--as-of", "yesterday"], "such as 2026-01-31T00:00:00Z", "--as-of"),
    (["ledger", "balances", "--at-position", "-1"], "--at-position", "--at-position"),
    (["ledger", "balances", "--at-positon", "1"], "--at-positon", "--at-positon"),
    (["payouts", "approve"], "ID", "ID..."),
    (["payouts", "list", "--status", "lost"], "in_transit", "--status"),
    (["up", "--port", "99999"], "--port", "--port"),
]


def refused_as_json(wiring: Wiring, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    with pytest.raises(SystemExit) as ended:
        run(wiring, [*arguments, "--json"])
    captured = capsys.readouterr()
    assert ended.value.code == 2
    problem = json.loads(captured.out)
    assert problem["type"].startswith("urn:colink:problem:")
    assert problem["title"]
    assert " ".join(problem["detail"].split()) in " ".join(captured.err.split()), "people read it too"
    return problem


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield *path, name


EVERY_COMMAND = list(commands(typer.main.get_command(build_cli(WIRING))))


@pytest.mark.parametrize("path", EVERY_COMMAND, ids=" ".join)
def test_every_command_refuses_in_one_document(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    problem = refused_as_json(WIRING, [*path, "--no-such-option"], capsys)
    assert problem["field"] == "--no-such-option"


@pytest.mark.parametrize(("arguments", "told", "field"), WRONG)
def test_wrong_use_as_a_document(
    arguments: list[str], told: str, field: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = refused_as_json(WIRING, arguments, capsys)
    assert problem["type"] == "urn:colink:problem:wrong-use"
    assert (problem.get("field"), told in problem["detail"]) == (field, True)


@pytest.mark.parametrize(
    ("error", "slug", "field"),
    [
        (InvalidInput("that is none", field="at_position"), "invalid-input", "at_position"),
        (NotFound("there is no [such] thing"), "not-found", None),
        (Conflict("that is so already"), "conflict", None),
        (psycopg.OperationalError("connection refused"), "unavailable", None),
    ],
    ids=["invalid", "not found", "conflict", "no database"],
)
def test_what_cannot_be_done_as_a_document(
    error: ColinkError | psycopg.Error, slug: str, field: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    def cannot(*_: object) -> Any:
        raise error

    problem = refused_as_json(replace(WIRING, open_colink=cannot), ["ledger", "balances"], capsys)
    assert problem["type"] == f"urn:colink:problem:{slug}"
    assert (problem.get("field"), str(error) in problem["detail"]) == (field, True)


@pytest.mark.parametrize(("arguments", "told", "field"), WRONG)
def test_wrong_use(arguments: list[str], told: str, field: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(WIRING, arguments)
    captured = capsys.readouterr()
    assert ended.value.code == 2
    assert captured.out == ""
    assert field is None or field.strip(".") in captured.err
    words = " ".join(captured.err.replace("│", " ").split())
    assert told in words


def test_a_wrong_setting_is_named(data_dir: Path) -> None:
    colink = CommandLine(data_dir=data_dir, settings={"COLINK_PAYOUT_SCHEDULE": "daily"})
    told = colink.run("worker", "--once", "--json", code=2)
    problem = json.loads(told.stdout)
    assert problem["type"] == "urn:colink:problem:wrong-setting"
    assert "COLINK_PAYOUT_SCHEDULE" in problem["detail"]
    assert "COLINK_PAYOUT_SCHEDULE" in told.stderr
    assert list(data_dir.iterdir()) == []
