"""The promise: whoever holds the public key can check over HTTP that an event is in the log and that the log was only
appended to; hashes of the log are for everybody, its events and leaves for those who may read all of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.adapters.postgres.sealed import SealedLog
from tests.api.shop import Shop, open_shop
from tests.conftest import TestDatabase
from tests.domain.sealing.oracle import root_of

from colink.adapters.postgres.provision import Database
from colink.application.sealing.keys import signature_is_good
from colink.application.sealing.proofs import parse, verify
from colink.domain.sealing.checkpoint import Checkpoint, VerifierKey, verified_checkpoint
from colink.domain.sealing.encoding import leaf_hashes
from colink.domain.sealing.merkle import ProofRejected, complete_root
from colink.projections.seals import SEALED_COLUMNS

pytestmark = pytest.mark.anyio


@pytest.fixture
async def shop(anyio_backend: str, database: TestDatabase, tmp_path: Path) -> AsyncIterator[Shop]:
    given = Database(owner_dsn=database.owner_dsn, app_dsn=database.app_dsn)
    async with open_shop(given, data_dir=tmp_path) as opened:
        yield opened


async def sell(shop: Shop, organizations: int) -> None:
    for _ in range(organizations):
        await shop.organization()
    while await shop.colink.seal():
        pass


async def leaves(shop: Shop) -> list[bytes]:
    async with shop.colink.pool.connection() as connection:
        cursor = await connection.execute(f"select {SEALED_COLUMNS} from colink.events order by position")
        return leaf_hashes(await cursor.fetchall())


async def public_key(shop: Shop) -> VerifierKey:
    told = await shop.get("/v1/audit/checkpoint", key=None, format="json")
    return VerifierKey.parse(told["public_keys"][-1])


async def test_before_anything_is_sealed_there_is_no_checkpoint(shop: Shop) -> None:
    problem = await shop.refused("GET", "/v1/audit/checkpoint", status=404, key=None)
    assert "nothing is sealed yet" in problem["detail"]
    await shop.refused("GET", "/v1/audit/proof?position=1", status=404)


async def test_everybody_reads_the_checkpoint_as_a_signed_note(shop: Shop) -> None:
    await sell(shop, 3)
    answer = await shop.send("GET", "/v1/audit/checkpoint", key=None)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    sealed = await leaves(shop)
    origin = f"colink/{shop.colink.installation.log_id}/commerce"
    expected = Checkpoint(origin=origin, size=len(sealed), root=root_of(sealed))
    assert verified_checkpoint(answer.text, await public_key(shop), check=signature_is_good) == expected

    for how in ({"params": {"format": "json"}}, {"headers": {"Accept": "application/json"}}):
        told = (await shop.send("GET", "/v1/audit/checkpoint", key=None, **how)).json()  # type: ignore[arg-type]  # either
        assert told["checkpoint"] == answer.text
        assert told["tree_size"] == len(sealed)
        assert told["signed_at"] == "2026-03-01T12:00:00Z"


async def test_every_event_is_proven_to_an_auditor(shop: Shop) -> None:
    auditor = await shop.key("auditor")
    await sell(shop, 9)
    key, sealed = await public_key(shop), await leaves(shop)
    for position in range(1, len(sealed) + 1):
        answer = await shop.send("GET", "/v1/audit/proof", key=auditor, params={"position": position})
        verified = verify(parse(answer.content), key=key)
        assert (verified.position, verified.tree_size) == (position, len(sealed))
    async with shop.colink.pool.connection() as connection:
        cursor = await connection.execute("select payload from colink.events where position = %s", (len(sealed),))
        assert verified.event is not None
        assert (verified.event.payload,) == await cursor.fetchone()


async def test_a_proof_in_an_older_tree(shop: Shop) -> None:
    await sell(shop, 2)
    older = (await shop.send("GET", "/v1/audit/checkpoint", key=None)).text
    size = (await shop.get("/v1/audit/checkpoint", format="json"))["tree_size"]
    await sell(shop, 2)
    proof = await shop.get("/v1/audit/proof", position=2, tree_size=size)
    assert proof["checkpoint"] == older
    assert verify(parse(msgspec.json.encode(proof)), checkpoint=older).position == 2
    between = await shop.get("/v1/audit/proof", position=2, tree_size=size + 1)
    assert between["checkpoint"] is None
    assert between["tree_size"] == size + 1


async def test_the_digest_of_a_key_is_in_no_proof(shop: Shop) -> None:
    await shop.key("finance")
    await sell(shop, 1)
    async with shop.colink.pool.connection() as connection:
        cursor = await connection.execute("select position from colink.events where topic = 'api_key.created'")
        positions = [position for (position,) in await cursor.fetchall()]
    assert len(positions) == 2
    for position in positions:
        answer = await shop.send("GET", f"/v1/audit/proof?position={position}")
        assert answer.json()["event"] is None
        assert verify(parse(answer.content), key=await public_key(shop)).position == position


async def test_everybody_can_check_that_the_log_was_only_appended_to(shop: Shop) -> None:
    await sell(shop, 3)
    kept = (await shop.send("GET", "/v1/audit/checkpoint", key=None)).text
    old = (await shop.get("/v1/audit/checkpoint", format="json"))["tree_size"]
    await sell(shop, 6)
    answer = await shop.send("GET", f"/v1/audit/consistency?from={old}", key=None)
    verified = verify(parse(answer.content), key=await public_key(shop), checkpoint=kept)
    assert (verified.from_size, verified.tree_size) == (old, len(await leaves(shop)))


async def test_the_tiles_are_the_tree(shop: Shop) -> None:
    """Some 600 events, so that there are full and partial tiles on two levels."""
    await fill(shop, 600)
    sealed = await leaves(shop)
    size = len(sealed)
    assert 512 < size < 768

    async def tile(path: str) -> bytes:
        answer = await shop.send("GET", f"/v1/audit/tile/{path}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/octet-stream"
        assert "immutable" in answer.headers["cache-control"]
        return answer.content

    assert await tile("0/000") == b"".join(sealed[:256])
    assert await tile("0/001") == b"".join(sealed[256:512])
    assert await tile(f"0/002.p/{size - 512}") == b"".join(sealed[512:])
    assert await tile("0/002.p/7") == b"".join(sealed[512:519])
    assert await tile("1/000.p/2") == complete_root(sealed[:256]) + complete_root(sealed[256:512])
    for missing in (
        "0/002",
        f"0/002.p/{size - 511}",
        "0/003.p/1",
        "1/000",
        "1/000.p/3",
        "2/000.p/1",
        "0/000.p/0",
        "0/000.p/256",
        "0/000.p/01",
        "0/0",
        "0/x000/001",
        "0/x001",
        "00/000",
        "-1/000",
        "64/000",
        "63/000.p/1",
        "0/x999/x999/x999/x999/x999/x999/999",
        "entries/000",
    ):
        problem = await shop.refused("GET", f"/v1/audit/tile/{missing}", status=404)
        assert problem["title"]


async def fill(shop: Shop, count: int) -> None:
    database: Any = shop.colink.database
    SealedLog(database, shop.colink.settings.data_dir / "unused").grow(count)
    while await shop.colink.seal():
        pass


@pytest.mark.parametrize("path", ["/v1/audit/proof?position=1", "/v1/audit/tile/0/000.p/1"])
async def test_events_and_leaves_are_for_those_who_read_the_whole_log(shop: Shop, path: str) -> None:
    organization = await shop.organization()
    creator = await shop.creator()
    await sell(shop, 1)
    for role in ("operator", "finance", "auditor"):
        assert (await shop.send("GET", path, key=await shop.key(role))).status_code == 200
    await shop.refused("GET", path, status=401, key=None)
    seller = await shop.key("seller", organization_id=organization["id"])
    await shop.refused("GET", path, status=403, key=seller)
    await shop.refused("GET", path, status=403, key=await shop.key("creator", payee_id=creator["id"]))


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("proof", 422, "position"),
        ("proof?position=0", 422, "position"),
        ("proof?position=x", 422, "position"),
        ("proof?position=99999", 404, "position"),
        ("proof?position=1&tree_size=99999", 404, "tree_size"),
        ("proof?position=3&tree_size=2", 404, "position"),
        (f"proof?position={2**63}", 422, "position"),
        ("consistency", 422, "from"),
        ("consistency?from=0", 422, "from"),
        ("consistency?from=99999", 422, "from"),
        ("consistency?from=1&to=99999", 404, "to"),
        ("consistency?from=3&to=2", 422, "from"),
        ("checkpoint?format=xml", 422, "format"),
    ],
)
async def test_what_cannot_be_proven(shop: Shop, query: str, status: int, field: str) -> None:
    await sell(shop, 4)
    problem = await shop.refused("GET", f"/v1/audit/{query}", status=status)
    assert problem.get("field", field) == field


async def test_a_proof_of_a_log_that_was_changed_since_does_not_verify(shop: Shop, database: TestDatabase) -> None:
    """The server answers as it must from what it finds; the proof gives it away."""
    await sell(shop, 4)
    key = await public_key(shop)
    SealedLog(database, Path("unused")).as_attacker("update colink.events set actor = 'nobody' where position = 3")
    answer = await shop.send("GET", "/v1/audit/proof?position=3")
    with pytest.raises(ProofRejected, match="not the one that was sealed"):
        verify(parse(answer.content), key=key)
