"""A checkpoint that an auditor kept convicts a log that was cut short with everything that told of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psycopg
from tests.cli.conftest import COLINK, Shop

SHORTER_BY = 4
AUDITORS_GUIDE = Path(__file__).parents[2] / "docs" / "auditor.md"


def cut_short(shop: Shop) -> int:
    """With all rights on the database; where the log ends now."""
    tables = ("events", "seals", "merkle_nodes", "checkpoints", "checkpoint_keys")
    with psycopg.connect(shop.database.superuser_dsn) as connection:
        for table in tables:
            connection.execute(f"alter table colink.{table} disable trigger append_only".encode())
        [(end,)] = connection.execute(
            "update colink.log_head set position = position - %s returning position", [SHORTER_BY]
        )
        for table, column in (("events", "position"), ("seals", "position"), ("checkpoints", "tree_size")):
            connection.execute(f"delete from colink.{table} where {column} > %s".encode(), [end])
        connection.execute("update colink.checkpoint_keys set tree_size = least(tree_size, %s)", [end])
        for table in tables:
            connection.execute(f"alter table colink.{table} enable always trigger append_only".encode())
    return int(end)


def test_a_checkpoint_kept_elsewhere(shop: Shop, tmp_path: Path) -> None:
    colink = shop.colink
    chain = ("audit", "verify", "--only", "chain", "--only", "seal")
    colink.run("worker", "--once")
    note = tmp_path / "note"
    note.write_text(colink.json("audit", "checkpoint")["checkpoint"])
    report = colink.json(*chain, "--checkpoint", str(note))
    assert (report["clean"], report["unsealed"]) == (True, 0)
    assert [result["pass"] for result in report["passes"]] == ["chain", "seal"]
    refused = colink.run("audit", "verify", "--checkpoint", str(note), "--to", "5", code=2).stderr
    assert "a checkpoint is about the whole log" in refused

    with psycopg.connect(shop.database.superuser_dsn) as connection:
        connection.execute("alter table colink.events disable trigger append_only")
        connection.execute("update colink.events set actor = actor || '?' where position = 3")
    told = colink.run("audit", "verify", "--only", "seal", "--checkpoint", str(note), code=1).stdout
    assert "position 3 chain: event 3 is not what was sealed" in told, "what was signed over begins with the events"
    with psycopg.connect(shop.database.superuser_dsn) as connection:
        connection.execute("update colink.events set actor = left(actor, -1) where position = 3")

    end = cut_short(shop)
    in_folder = colink.json(*chain, code=1)["findings"]
    assert [(found["kind"], found["position"]) for found in in_folder] == [("missing", end + 1)]
    assert str(colink.data_dir) in in_folder[0]["message"], "the sealer kept what it signed last"
    for path in (colink.data_dir / "keys").rglob("*"):
        if path.is_file() and path.parent.name != "people":  # what personal data is sealed with is another thing
            path.unlink()
    assert colink.json(*chain)["clean"], "nothing is left that knows better"
    told = colink.run(*chain, "--checkpoint", str(note), code=1).stdout
    assert f"position {end + 1} seal: the checkpoint in {note} has {end + SHORTER_BY} events" in told


def test_a_checkpoint_is_kept_and_verified_with_as_the_auditor_is_told(shop: Shop) -> None:
    colink = shop.colink
    colink.run("worker", "--once")
    told = [line.partition("#")[0].strip() for line in AUDITORS_GUIDE.read_text("utf-8").splitlines()]
    keep, verify = "colink audit checkpoint > kept.txt", "colink audit verify --checkpoint kept.txt"
    assert (told.count(keep), told.count(verify)) == (1, 1)

    def in_shell(command: str, *, code: int = 0) -> subprocess.CompletedProcess[str]:
        environment = colink.environment | {"PATH": f"{COLINK.parent}{os.pathsep}{colink.environment['PATH']}"}
        done = subprocess.run(
            ["bash", "-c", command],
            check=False,
            capture_output=True,
            text=True,
            env=environment,
            cwd=colink.data_dir,
            timeout=120,
        )
        assert done.returncode == code, (command, done.stdout, done.stderr)
        return done

    kept = colink.data_dir / "kept.txt"
    said = in_shell(keep).stderr
    note = kept.read_text("utf-8")
    assert note == colink.json("audit", "checkpoint")["checkpoint"]
    assert colink.json("audit", "checkpoint")["public_keys"][0] in said
    assert "nothing found" in in_shell(verify).stdout

    other = "A" if note[-20] != "A" else "B"
    kept.write_text(f"{note[:-20]}{other}{note[-19:]}", "utf-8")
    found = in_shell(verify, code=1).stdout
    assert "the checkpoint in kept.txt is none of this log: the signature of the checkpoint is wrong" in found
    for none in ("", "nothing is signed yet\n", note.replace("\n\n", "\n"), "\0"):
        kept.write_text(none, "utf-8")
        refusal = in_shell(verify, code=2)
        assert "kept.txt holds no checkpoint as `colink audit checkpoint` prints it" in refusal.stderr
        assert refusal.stdout == ""
    refused = colink.json("audit", "verify", "--public-key", "kept.txt", code=2)
    assert (refused["field"], refused["type"]) == ("--public-key", "urn:colink:problem:invalid-input")


def test_a_lost_row_about_a_report_stops_nothing(shop: Shop) -> None:
    colink = shop.colink
    colink.run("worker", "--once")
    with psycopg.connect(shop.database.superuser_dsn) as connection:
        connection.execute("delete from colink.projection_versions where projection = 'leaderboard'")
    report = colink.json("audit", "verify", code=1)
    assert "version 1 of leaderboard is read, and nothing is known of it" in [
        found["message"] for found in report["findings"] if found["pass"] == "projections"
    ]
    assert {each["status"] for each in report["passes"]} <= {"passed", "partial", "failed"}
