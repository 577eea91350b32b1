"""The whole way of an auditor on the command line: worker, checkpoint, proof, verification elsewhere."""

from __future__ import annotations

from pathlib import Path

import psycopg
from tests.cli.conftest import CommandLine, Shop


def test_from_the_log_to_a_proof_that_is_checked_elsewhere(shop: Shop, tmp_path: Path) -> None:
    colink = shop.colink
    assert "nothing is sealed yet" in colink.run("audit", "proof", "1", code=2).stderr
    done = colink.json("worker", "--once")["done"]
    checkpoint = colink.json("audit", "checkpoint")
    assert checkpoint["tree_size"] == checkpoint["sealed"] == checkpoint["head"] == done["sealing"]
    assert (checkpoint["lag"], checkpoint["alarm"]) == (0, None)
    (key,) = checkpoint["public_keys"]

    proof, note, grown = (tmp_path / name for name in ("proof.json", "note", "grown.json"))
    assert "written to" in colink.run("audit", "proof", "5", "-o", str(proof)).stdout
    nowhere = str(tmp_path / "none" / "proof.json")
    assert "cannot be written" in colink.run("audit", "proof", "5", "-o", nowhere, code=2).stderr
    note.write_text(checkpoint["checkpoint"])
    colink.run("audit", "consistency", "3", "-o", str(grown))

    # Where it is sealed the key is known; elsewhere it has to be given, and there is no database.
    assert "verified" in colink.run("audit", "verify-proof", str(proof)).stdout
    elsewhere = CommandLine(data_dir=tmp_path)
    assert "give the log's public key" in elsewhere.run("audit", "verify-proof", str(proof), code=2).stderr
    given = ("--public-key", key, "--checkpoint", str(note))
    verified = elsewhere.json("audit", "verify-proof", str(proof), *given)
    assert (verified["verified"], verified["position"], verified["signed_by"]) == (True, 5, key)
    refused = elsewhere.run("audit", "verify-proof", str(grown), *given, code=2).stderr
    assert "no checkpoint of the tree of 3 leaves" in refused
    assert sorted(tmp_path.iterdir()) == [grown, note, proof]

    proof.write_text(proof.read_text().replace('"leaf_index": 4', '"leaf_index": 5'))
    refusal = elsewhere.json("audit", "verify-proof", str(proof), "--public-key", key, code=1)
    assert refusal == {"verified": False, "reason": "the event at position 5 is not leaf 5"}

    # A new key signs what comes next; what is shown until then is the old one's.
    made = colink.json("audit", "new-key", "--yes")["public_key"]
    told = colink.run("audit", "checkpoint").stderr
    assert f"verify with the public key\n{key}\nthe next one will be signed with a new key\n{made}\n" in told
    note.write_bytes(b"\xff")
    refusal = elsewhere.json("audit", "verify-proof", str(grown), *given, code=1)
    assert refusal == {"verified": False, "reason": "the checkpoint given is no text"}


def test_a_log_that_was_rolled_back_is_refused_loudly_until_a_new_key_is_made(shop: Shop) -> None:
    colink = shop.colink
    colink.run("worker", "--once")
    size = colink.json("audit", "checkpoint")["tree_size"]
    with psycopg.connect(shop.database.superuser_dsn, autocommit=True) as connection:
        for table in ("events", "seals", "merkle_nodes", "checkpoints"):
            connection.execute(f"drop trigger append_only on colink.{table}".encode())
        connection.execute("truncate colink.checkpoints")
        connection.execute("delete from colink.seals where position > 3")
        connection.execute("delete from colink.events where position > 3")
        connection.execute("update colink.log_head set position = 3")
    failed = colink.json("worker", "--once", code=1)["failed"]
    assert f"a tree of {size} events was signed, but only 3 are sealed" in failed["sealing"]
    old = colink.json("audit", "checkpoint", code=1)["public_keys"]
    made = colink.json("audit", "new-key", "--yes")["public_key"]
    colink.run("worker", "--once")
    shown = colink.run("audit", "checkpoint")
    assert shown.stdout.startswith("colink/")
    assert made in shown.stderr
    assert "refused" not in shown.stderr
    assert old[0] not in shown.stderr
