"""The promises: nothing personal is readable in a dump of the database, nor in its files; who may read it does; after
an erasure nobody does, anywhere, and the log still verifies. What was not erased by an event of the log is missed.

The person's data is planted with markers that occur nowhere else, and looked for in several encodings.
"""

from __future__ import annotations

import base64
import io
import json
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pyarrow.parquet as parquet
import pytest
from psycopg.conninfo import conninfo_to_dict
from tests.api.sale import MUG, TSHIRT, Sale, another_order, finish_payout, make_sale, pay_by, request_payout
from tests.api.shop import Shop
from tests.conftest import TestDatabase, data_dir_of

from colink.adapters.postgres.binaries import packaged_programs
from colink.application.ports import Caller
from colink.application.privacy.erasure import ErasePerson
from colink.cli.shopify_traffic import order_body
from colink.domain.audit.report import Kind, Pass, Report
from colink.domain.payouts import ProviderOutcome
from colink.projections.audit import verify
from colink.projections.exports import ExportFormat, export

pytestmark = pytest.mark.anyio

CREATOR = {"handle": "zylkene.quorl", "display_name": "Zylkène Quorl", "email": "zylkene.quorl@creators.example"}
ACCOUNT = {"account_holder": "Zylkène Fennimore Quorl", "account_number": "MY77-4410-0099-8123"}
BUYER = {
    "email": "Wexforda.Plimm@buyers.example",
    "name": "Wexforda Plimm",
    "phone": "+60-17-5550-4410",
    "address": "14 Jalan Umbrella Quince",
    "browser_ip": "203.0.113.214",
}


def planted(of: dict[str, str]) -> list[str]:
    return [*of.values(), *(value.lower() for value in of.values())]


def forms(text: str) -> Iterator[bytes]:
    """The text as it may stand in a dump or a file: plain, escaped, in hexadecimal, in base64 wherever it begins."""
    raw = text.encode()
    yield raw
    yield json.dumps(text).strip('"').encode()
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + raw)
        yield coded[4 if shift else 0 : -4]  # but for what depends on its neighbours


def found_in(haystack: bytes, of: dict[str, str]) -> list[str]:
    return [text for text in planted(of) if any(form in haystack for form in forms(text))]


def dump_of(database: TestDatabase) -> bytes:
    at = conninfo_to_dict(database.superuser_dsn)
    done = subprocess.run(
        [packaged_programs() / "pg_dump", "--format=plain", f"--dbname={database.superuser_dsn}"],
        stdout=subprocess.PIPE,
        check=True,
    )
    assert b"COPY colink.inbox" in done.stdout, at
    return done.stdout


def files_of(database: TestDatabase) -> bytes:
    """The tables as they lie on the disk, dead rows and all."""
    with psycopg.connect(database.superuser_dsn, autocommit=True) as connection:
        connection.execute("checkpoint")
        rows = connection.execute(
            "select pg_read_binary_file(pg_relation_filepath(c.oid)) from pg_class c join pg_namespace n"
            " on n.oid = c.relnamespace where c.relkind in ('r', 't', 'i')"
            " and (n.nspname like 'colink%' or n.nspname = 'pg_toast') and pg_relation_size(c.oid) > 0"
        ).fetchall()
    return b"".join(bytes(row[0]) for row in rows)


async def deliver(shop: Shop, store: Any, *, order_id: int, **changes: Any) -> tuple[str, bytes]:
    """An order of the buyer, with everything a platform tells of one: its inbox id and its bytes."""
    person = BUYER | changes
    body = order_body(
        order_id=order_id,
        number=order_id,
        currency="MYR",
        placed_at=shop.clock.now(),
        items=[MUG],
        email=person["email"],
    )
    body["client_details"]["browser_ip"] = person["browser_ip"]
    body["phone"] = person["phone"]
    body["note"] = f"ring at {person['name']}"
    body["shipping_address"] = {"name": person["name"], "address1": person["address"], "phone": person["phone"]}
    raw = json.dumps(body, ensure_ascii=False).encode()
    answer = await shop.deliver(store, "orders/paid", raw)
    assert answer["status"] in {"accepted", "rejected"}
    kept = (await shop.get("/v1/inbox", store_id=store["id"]))["items"]
    return kept[-1]["id"], raw


async def read_everything(shop: Shop) -> str:
    """All that people and machines are told, as one text."""
    told: list[Any] = []
    for path in ("/v1/creators", "/v1/payout-accounts", "/v1/inbox", "/v1/links", "/v1/payouts"):
        told.append(await shop.get(path, limit="200"))
    told.append(await shop.get("/v1/events", after="0", limit="200"))
    for creator in told[0]["items"]:
        for form in ("json", "csv", "html"):
            asked = {"payee_id": creator["id"], "from": "2026-01-01T00:00:00Z", "to": "2027-01-01T00:00:00Z"}
            told.append((await shop.send("GET", "/v1/statements", params=asked | {"format": form})).text)
    for delivery in told[2]["items"]:
        told.append((await shop.send("GET", f"/v1/inbox/{delivery['id']}/body")).text)
    told += [await exported(shop, form) for form in ExportFormat]
    told.append(await exported(shop, ExportFormat.NDJSON, events=True))
    return json.dumps(told, ensure_ascii=False)


async def exported(shop: Shop, form: ExportFormat, **asked: bool) -> str:
    async with shop.colink.pool.connection() as connection:
        pieces = [piece async for piece in export(connection, form, **asked)]
    assert any(pieces)
    if form is not ExportFormat.PARQUET:
        return b"".join(pieces).decode()
    return str(parquet.read_table(io.BytesIO(b"".join(pieces))).to_pylist())


async def verified(shop: Shop) -> Report:
    async with shop.colink.pool.connection() as connection:
        return await verify(connection, shop.colink.decode, outside=shop.colink.outside())


async def erase(shop: Shop, person_id: str, **more: Any) -> Any:
    return await shop.post(f"/v1/people/{person_id}/erase", {"reason": "request 17"}, status=200, **more)


@pytest.fixture
async def sale(shop: Shop) -> Sale:
    return await make_sale(shop)


async def test_nothing_personal_is_readable_in_the_database_and_whoever_may_reads_it(
    shop: Shop, database: TestDatabase
) -> None:
    organization = await shop.organization()
    store, creator = await shop.store(organization), await shop.creator(**CREATOR)
    account = {"payee_id": creator["id"], "rail": "sandbox", "currency": "MYR", "details": ACCOUNT}
    registered = await shop.post("/v1/payout-accounts", account)
    accepted, raw = await deliver(shop, store, order_id=501)
    rejected, _ = await deliver(shop, store, order_id=-7)

    assert (creator["handle"], creator["display_name"]) == (CREATOR["handle"], CREATOR["display_name"])
    assert await shop.get(f"/v1/creators/{creator['id']}") == creator
    assert registered["details"] == ACCOUNT
    assert (await shop.get("/v1/payout-accounts"))["items"] == [registered]
    finance, auditor = await shop.key("finance"), await shop.key("auditor")
    assert (await shop.get("/v1/payout-accounts", key=finance))["items"][0]["details"] == ACCOUNT
    assert (await shop.get("/v1/payout-accounts", key=auditor))["items"][0]["details"] is None
    assert (await shop.send("GET", f"/v1/inbox/{accepted}/body")).content == raw
    seller = await shop.key("seller", organization_id=organization["id"])
    other = await shop.key("seller", organization_id=(await shop.organization())["id"])
    assert (await shop.send("GET", f"/v1/inbox/{accepted}/body", key=seller)).content == raw
    await shop.refused("GET", f"/v1/inbox/{accepted}/body", key=other, status=404)
    await shop.refused("GET", f"/v1/inbox/{accepted}/body", key=auditor, status=403)
    assert found_in((await shop.send("GET", f"/v1/inbox/{rejected}/body")).content, BUYER)

    for at_rest in (dump_of(database), files_of(database)):
        assert accepted.partition(".")[2].encode() in at_rest  # it is there, and can be looked through
        for of in (CREATOR, ACCOUNT, BUYER):
            assert found_in(at_rest, of) == []
    assert (await verified(shop)).clean


async def test_after_an_erasure_nobody_can_read_anything_and_the_log_verifies(
    shop: Shop, database: TestDatabase, sale: Sale
) -> None:
    await pay_by(shop, ProviderOutcome.PAID)
    creator = await shop.creator(**CREATOR)
    link = await shop.link(creator, campaign_id=sale.campaign["id"])
    account = {"payee_id": creator["id"], "rail": "sandbox", "currency": "MYR", "details": ACCOUNT}
    await shop.post("/v1/payout-accounts", account)
    paid, _ = await deliver(shop, sale.store, order_id=501)
    rejected, _ = await deliver(shop, sale.store, order_id=-7)
    click = await shop.follow(link)
    earned = await shop.order(sale.store, order_id=502, items=[TSHIRT], click_id=click, email=BUYER["email"])
    await shop.refund(sale.store, order_id=501, refund_id=9, amount_only="1.00")
    another, raw = await deliver(shop, sale.store, order_id=601, **dict.fromkeys(BUYER, "else@buyers.example"))
    await shop.hold_ends(earned["order_id"])
    payout = await shop.post("/v1/payouts", {"payee_id": creator["id"], "currency": "MYR"})
    problem = await shop.refused("POST", f"/v1/people/{creator['id']}/erase", {"reason": "request 17"}, status=409)
    assert (problem["type"], payout["id"] in problem["detail"]) == ("urn:colink:problem:payout-under-way", True)
    await finish_payout(sale, payout)
    before = await sale.balances()
    assert found_in((await read_everything(shop)).encode(), BUYER | CREATOR | ACCOUNT)

    people = (await shop.post("/v1/people/find", {"email": f" {BUYER['email'].upper()}"}, status=200))["items"]
    [buyer] = people
    assert (buyer["kind"], buyer["owners"]) == ("buyer", 3)  # two orders, and what was rejected
    found = (await shop.post("/v1/people/find", {"email": CREATOR["email"]}, status=200))["items"]
    assert found == [{"person_id": creator["id"], "kind": "creator", "owners": 1}]
    assert (await erase(shop, buyer["person_id"]))["owners"] == 3
    assert (await erase(shop, creator["id"]))["owners"] == 1

    told = await read_everything(shop)
    for at_rest in (told.encode(), dump_of(database), files_of(database)):
        for of in (CREATOR, ACCOUNT, BUYER):
            assert found_in(at_rest, of) == []
    for gone in (paid, rejected):
        assert (await shop.refused("GET", f"/v1/inbox/{gone}/body", status=410))[
            "type"
        ] == "urn:colink:problem:erased"
    await shop.refused("POST", f"/v1/inbox/{rejected}/replay", status=410)
    assert (await shop.send("GET", f"/v1/inbox/{another}/body")).content == raw
    label = (await shop.get(f"/v1/creators/{creator['id']}"))["handle"]
    assert label == f"erased-{creator['id'][-8:]}"
    await shop.colink.engine.catch_up("leaderboard")
    board = await shop.get("/v1/leaderboards", organization_id=sale.organization["id"])
    assert label in [row["handle"] for row in board["items"]]
    assert (await shop.post("/v1/people/find", {"email": BUYER["email"]}, status=200))["items"] == []

    assert await sale.balances() == before
    report = await verified(shop)
    assert report.clean, report.findings
    # The payee's account, as registered and as approved, and two texts of the profile; a body that led to no event.
    assert (report.result(Pass.PERSONAL).erased, report.result(Pass.INBOX).erased) == (5, 3)


async def test_nothing_new_begins_with_an_erased_payee(sale: Sale) -> None:
    shop = sale.shop
    await another_order(sale, cleared=50_000)
    requested = await request_payout(sale, sale.creator)
    await pay_by(shop, ProviderOutcome.PAID)
    await finish_payout(sale, requested)
    await erase(shop, sale.creator["id"])
    account = {"payee_id": sale.creator["id"], "rail": "sandbox", "currency": "MYR", "details": ACCOUNT}
    for path, body in (
        ("/v1/payout-accounts", account),
        ("/v1/payouts", {"payee_id": sale.creator["id"], "currency": "MYR"}),
    ):
        problem = await shop.refused("POST", path, body, status=409)
        assert problem["type"] == "urn:colink:problem:person-erased"
    assert (await verified(shop)).clean


async def test_recording_an_erasure_is_destroying_the_keys(sale: Sale, database: TestDatabase) -> None:
    """One transaction: there is no moment in which a process could be killed between the two."""
    shop, creator_id = sale.shop, sale.creator["id"]
    with psycopg.connect(database.app_dsn, autocommit=True) as other:
        kept = "select count(*) from colink.private_values where owner_id = %s"
        assert other.execute(kept, [creator_id]).fetchone() == (1,)
        caller = Caller(actor="cli", correlation_id="test")
        command = ErasePerson(caller=caller, person_id=creator_id, owners=(creator_id,), reason="request 17")
        await shop.colink.commerce.submit(command)
        assert other.execute(kept, [creator_id]).fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute("delete from colink.private_values")
    assert (await verified(shop)).clean


async def test_an_erasure_that_overtakes_a_submission_gives_the_money_back(sale: Sale) -> None:
    """Erased after the check for payouts under way, before the provider heard of it: the attempt fails for good."""
    shop, creator = sale.shop, sale.creator
    await another_order(sale, cleared=50_000)
    requested = await request_payout(sale, creator)
    await shop.post(f"/v1/payouts/{requested['id']}/approve", key=await shop.key("finance"), status=200)
    before = (await sale.balances(payee_id=creator["id"]))[f"payee:{creator['id']}:in_transit"]
    caller = Caller(actor="cli", correlation_id="test")
    owners = (creator["id"],)
    await shop.colink.commerce.submit(
        ErasePerson(caller=caller, person_id=creator["id"], owners=owners, reason="request 17")
    )
    await pay_by(shop, ProviderOutcome.PAID)
    await shop.colink.payout_desk().run()
    assert (await shop.get(f"/v1/payouts/{requested['id']}"))["status"] == "failed"
    assert (await sale.balances(payee_id=creator["id"]))[f"payee:{creator['id']}:available"] == before
    assert (await verified(shop)).clean


async def test_only_operators_find_and_erase(sale: Sale) -> None:
    shop, creator = sale.shop, sale.creator
    keys = [await shop.key(role) for role in ("finance", "auditor")]
    keys.append(await shop.key("seller", organization_id=sale.organization["id"]))
    keys.append(await shop.key("creator", payee_id=creator["id"]))
    for key in keys:
        await shop.refused("POST", f"/v1/people/{creator['id']}/erase", {"reason": "no"}, key=key, status=403)
        await shop.refused("POST", "/v1/people/find", {"email": "a@b.example"}, key=key, status=403)
    for nobody in ("cre_nobody", "byr_" + "0" * 64, "ord_sto.1"):
        await shop.refused("POST", f"/v1/people/{nobody}/erase", {"reason": "request 17"}, status=404)
    problem = await shop.refused("POST", f"/v1/people/{creator['id']}/erase", {"reason": " "}, status=422)
    assert problem["field"] == "reason"
    assert (await shop.get(f"/v1/creators/{creator['id']}"))["display_name"] == "Aina"


async def test_an_erasure_is_repeated_safely(sale: Sale) -> None:
    shop, creator = sale.shop, sale.creator
    path, body = f"/v1/people/{creator['id']}/erase", {"reason": "request 17"}
    answers = [await shop.send("POST", path, body, headers={"Idempotency-Key": "e-1"}) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    await shop.refused("POST", path, body, status=404)  # there is nothing left


async def test_what_comes_to_be_known_of_a_buyer_later_is_new_and_can_be_erased_too(sale: Sale) -> None:
    shop = sale.shop
    first, _ = await deliver(shop, sale.store, order_id=501)
    [buyer] = (await shop.post("/v1/people/find", {"email": BUYER["email"]}, status=200))["items"]
    await erase(shop, buyer["person_id"])
    shop.clock.time += timedelta(minutes=1)
    later, raw = await deliver(shop, sale.store, order_id=501)
    assert (await shop.send("GET", f"/v1/inbox/{later}/body")).content == raw
    await shop.refused("GET", f"/v1/inbox/{first}/body", status=410)
    assert (await verified(shop)).clean
    assert (await erase(shop, buyer["person_id"]))["owners"] == 1
    await shop.refused("GET", f"/v1/inbox/{later}/body", status=410)
    assert (await verified(shop)).clean


async def test_a_key_that_nobody_erased_is_missed(sale: Sale, database: TestDatabase) -> None:
    shop = sale.shop
    _, _ = await deliver(shop, sale.store, order_id=501)
    with psycopg.connect(database.superuser_dsn) as superuser:
        superuser.execute("delete from colink.private_values where name like 'key:%'")
    found = {(finding.audit_pass, finding.kind) for finding in (await verified(shop)).findings}
    assert found == {(Pass.PERSONAL, Kind.MISSING), (Pass.INBOX, Kind.MISSING)}


async def test_a_key_that_comes_back_after_an_erasure_is_a_finding(sale: Sale, database: TestDatabase) -> None:
    shop, creator = sale.shop, sale.creator
    with psycopg.connect(database.superuser_dsn) as superuser:
        superuser.execute("create table kept as select * from colink.private_values")
        superuser.commit()
        await erase(shop, creator["id"])
        superuser.execute("insert into colink.private_values select * from kept on conflict do nothing")
    found = {(finding.audit_pass, finding.kind, finding.subject) for finding in (await verified(shop)).findings}
    assert found == {(Pass.PERSONAL, Kind.EXTRA, creator["id"])}
    assert await shop.colink.privacy.keep_erasures() == 1  # the worker clears up
    assert (await verified(shop)).clean


async def test_sealed_text_in_the_place_of_another_is_refused(sale: Sale, database: TestDatabase) -> None:
    """Bodies of two deliveries, and names of two creators, change places, each with its key's row untouched."""
    shop = sale.shop
    one, _ = await deliver(shop, sale.store, order_id=501)
    two, _ = await deliver(shop, sale.store, order_id=502)
    ben = await shop.creator(handle="ben", display_name="Ben")
    with psycopg.connect(database.superuser_dsn) as superuser:
        superuser.execute("alter table colink.inbox disable trigger all")
        superuser.execute(
            "update colink.inbox i set body = o.body from colink.inbox o"
            " where i.delivery_id <> o.delivery_id and i.order_id in (%s, %s) and o.order_id in (%s, %s)",
            [f"ord_{sale.store['id']}.{n}" for n in (501, 502, 501, 502)],
        )
        superuser.execute(
            "update colink.documents d set body = replace(d.body, d.id, o.id) from colink.documents o"
            " where d.kind = 'creator' and o.kind = 'creator' and d.id <> o.id"
        )
    for id_ in (one, two):
        answer = await shop.send("GET", f"/v1/inbox/{id_}/body")
        assert (answer.status_code, found_in(answer.content, BUYER)) == (500, [])
    answer = await shop.send("GET", f"/v1/creators/{ben['id']}")
    assert answer.status_code == 500
    found = {(finding.audit_pass, finding.kind) for finding in (await verified(shop)).findings}
    assert {(Pass.INBOX, Kind.CHANGED), (Pass.DOCUMENTS, Kind.CHANGED)} <= found


async def test_an_erasure_that_a_restored_backup_does_not_know_is_made_again(
    sale: Sale, database: TestDatabase
) -> None:
    """The key folder remembers: here the database goes back to before the erasure by its own rows."""
    shop, creator = sale.shop, sale.creator
    remembered = data_dir_of(database.owner_dsn) / "keys" / shop.colink.installation.log_id / "people" / "erased"
    with psycopg.connect(database.superuser_dsn) as superuser:
        superuser.execute("create table kept as select * from colink.private_values")
        superuser.commit()
        await erase(shop, creator["id"])
        assert creator["id"] in remembered.read_text()
        superuser.execute("alter table colink.events disable trigger all")
        superuser.execute("delete from colink.events where topic = 'person.erased'")
        superuser.execute("delete from colink.documents where kind = 'erased_person'")
        superuser.execute("update colink.log_head set position = position - 1")
        for trigger in ("append_only", "destroy_keys"):
            superuser.execute(f"alter table colink.events enable always trigger {trigger}")
        superuser.execute("insert into colink.private_values select * from kept on conflict do nothing")
    assert (await shop.get(f"/v1/creators/{creator['id']}"))["display_name"] == "Aina"
    await shop.colink.privacy.keep_erasures()
    assert (await shop.get(f"/v1/creators/{creator['id']}"))["display_name"].startswith("erased-")
    assert (await verified(shop)).clean
    assert await shop.colink.privacy.keep_erasures() == 0


async def test_a_new_master_key_opens_what_the_old_one_sealed_and_the_old_one_is_gone(sale: Sale) -> None:
    shop = sale.shop
    kept, raw = await deliver(shop, sale.store, order_id=501)
    old = shop.colink.person_keys.keys()
    assert await shop.colink.privacy.rotate(settle=0) > 0
    new = shop.colink.person_keys.keys()
    assert new.current != old.current
    assert list(new.masters) == [new.current]
    assert new.fingerprint == old.fingerprint
    assert (await shop.send("GET", f"/v1/inbox/{kept}/body")).content == raw
    assert (await shop.get(f"/v1/creators/{sale.creator['id']}"))["display_name"] == "Aina"
    later, raw = await deliver(shop, sale.store, order_id=502)
    assert (await shop.send("GET", f"/v1/inbox/{later}/body")).content == raw
    assert (await verified(shop)).clean


async def test_a_handle_is_taken_and_found_though_it_is_sealed(shop: Shop) -> None:
    await shop.creator(**CREATOR)
    problem = await shop.refused("POST", "/v1/creators", CREATOR, status=409)
    assert problem["field"] == "handle"
    campaign = await shop.campaign(await shop.organization())
    answer = await shop.http.get(f"/v1/views/{campaign['slug']}.gif?creator={CREATOR['handle']}")
    assert answer.status_code == 200


async def test_registering_the_same_account_again_changes_nothing(sale: Sale) -> None:
    """Equal details are known by their keyed digest: an approved payout stays good."""
    shop = sale.shop
    account = {"payee_id": sale.creator["id"], "rail": "sandbox", "currency": "MYR", "details": ACCOUNT}
    first = await shop.post("/v1/payout-accounts", account)
    events = len((await shop.get("/v1/events", after="0", limit="200"))["items"])
    assert await shop.post("/v1/payout-accounts", account) == first
    assert len((await shop.get("/v1/events", after="0", limit="200"))["items"]) == events
    changed = account | {"details": ACCOUNT | {"account_number": "another"}}
    assert (await shop.post("/v1/payout-accounts", changed))["details"]["account_number"] == "another"
