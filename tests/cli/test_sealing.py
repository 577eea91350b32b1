"""The whole way of an auditor on the command line: worker, checkpoint, proof, verification elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
from tests.cli.conftest import CommandLine, Shop


def test_from_the_log_to_a_proof_that_is_checked_elsewhere(shop: Shop, tmp_path: Path) -> None:
    colink = shop.colink
    assert "nothing is signed yet" in colink.run("audit", "checkpoint").stdout
    assert "nothing is sealed yet" in colink.run("audit", "proof", "1", code=2).stderr
    done = colink.json("worker", "--once")["done"]
    checkpoint = colink.json("audit", "checkpoint")
    assert checkpoint["tree_size"] == checkpoint["sealed"] == checkpoint["head"] == done["sealing"]
    assert (checkpoint["lag"], checkpoint["alarm"]) == (0, None)
    (key,) = checkpoint["public_keys"]
    shown = colink.run("audit", "checkpoint").stdout
    assert shown.startswith(checkpoint["checkpoint"])
    assert key in shown

    proof = tmp_path / "proof.json"
    assert "written to" in colink.run("audit", "proof", "5", "-o", str(proof)).stdout
    assert colink.json("audit", "proof", "5") == json.loads(proof.read_text())

    # Where it is sealed the key is known; elsewhere it has to be given, and there is no database.
    assert "verified" in colink.run("audit", "verify-proof", str(proof)).stdout
    elsewhere = CommandLine(data_dir=tmp_path)
    assert "give the log's public key" in elsewhere.run("audit", "verify-proof", str(proof), code=2).stderr
    verified = elsewhere.json("audit", "verify-proof", str(proof), "--public-key", key)
    assert (verified["verified"], verified["position"], verified["signed_by"]) == (True, 5, key)
    assert list(tmp_path.iterdir()) == [proof]
    note = tmp_path / "note"
    note.write_text(checkpoint["checkpoint"])
    assert elsewhere.json("audit", "verify-proof", str(proof), "--checkpoint", str(note))["position"] == 5

    proof.write_text(proof.read_text().replace('"leaf_index": 4', '"leaf_index": 5'))
    refused = elsewhere.json("audit", "verify-proof", str(proof), "--public-key", key, code=1)
    assert refused == {"verified": False, "reason": "the event at position 5 is not leaf 5"}
    assert "not leaf 5" in elsewhere.run("audit", "verify-proof", str(proof), "--public-key", key, code=1).stdout
    proof.write_text("{}")
    assert "not a proof" in elsewhere.run("audit", "verify-proof", str(proof), "--public-key", key, code=1).stdout
    wrong_key = elsewhere.run("audit", "verify-proof", str(proof), "--public-key", "x", code=2)
    assert "form name+id+base64" in wrong_key.stderr

    grown = tmp_path / "grown.json"
    colink.run("audit", "consistency", "3", str(checkpoint["tree_size"]), "-o", str(grown))
    assert "no checkpoint of the tree of 3 leaves" in colink.run("audit", "verify-proof", str(grown), code=2).stderr


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
    told = colink.run("audit", "checkpoint", code=1).stdout
    assert "sealing was refused" in told
    old = colink.json("audit", "checkpoint", code=1)["public_keys"]
    made = colink.json("audit", "new-key", "--yes")["public_key"]
    colink.run("worker", "--once")
    after = colink.json("audit", "checkpoint")
    assert (after["tree_size"] >= 3, after["alarm"]) == (True, None)
    assert after["public_keys"] == [*old, made]
