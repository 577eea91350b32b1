"""Promise: `colink simulate` says what a seed found, as JSON too, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import CommandLine


def test_a_seed_that_finds_nothing(data_dir: Path) -> None:
    document = CommandLine(data_dir=data_dir).json("simulate", "--seed", "3", "--steps", "60")

    assert (document["clean"], document["shortest"]) == (True, None)
    (item,) = document["items"]
    assert (item["seed"], item["steps"], item["failure"]) == (3, 60, None)
    assert item["command"] == "colink simulate --seed 3 --steps 60"
    assert not list(data_dir.glob("simulation-*"))
