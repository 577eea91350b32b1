"""Money from a sale to a payout by commands alone, and what an auditor sees of it, intact and damaged."""

from __future__ import annotations

from getpass import getuser
from typing import Any

import psycopg
from tests.cli.conftest import Shop
from tests.projections.world import AINA, ORGANIZATION, STORE


def balances(shop: Shop, *options: str) -> dict[str, int]:
    items: list[dict[str, Any]] = shop.colink.json("ledger", "balances", *options)["items"]
    assert all(item["currency"] == "MYR" for item in items)
    return {item["account"]: item["amount"] for item in items}


def test_from_sale_to_payout(shop: Shop) -> None:
    colink = shop.colink
    work = colink.json("worker", "--once")
    assert (work["failed"], work["unfinished"], work["parked"]) == ({}, False, [])
    assert work["done"]["clearing"] == 2
    assert work["done"]["projection:attribution_report"] > 0
    assert work["done"]["projection:leaderboard"] > 0
    assert work["done"]["payouts"] == 0, "nobody asked for a payout"
    assert balances(shop) == {
        f"store:{STORE}:clearing": -19_000,
        "platform:revenue": 950,
        f"payee:{AINA}:pending": 0,
        f"payee:{AINA}:available": 1_900,
        f"payee:{ORGANIZATION}:pending": 0,
        f"payee:{ORGANIZATION}:available": 16_150,
    }
    assert balances(shop, "--as-of", "2019-12-31T23:59:59Z") == {}
    cleared = colink.run("ledger", "balances", "--account", "payee:").stdout
    assert "MYR 161.50" in cleared
    assert "MYR 180.50" in cleared, "the sum"

    requested = colink.json("payouts", "run")["items"]
    assert {(item["payee_id"], item["status"], item["amount"]["amount"]) for item in requested} == {
        (AINA, "requested", 1_900),
        (ORGANIZATION, "requested", 16_150),
    }
    ids = [item["id"] for item in requested]
    assert {item["status"] for item in colink.json("payouts", "approve", *ids)["items"]} == {"approved"}
    paid = colink.json("worker", "--once")
    assert (paid["failed"], paid["unfinished"]) == ({}, False), "it waited for the sandbox"
    listed = colink.run("payouts", "list", "--status", "paid").stdout
    assert all(id_ in listed for id_ in ids)
    first = colink.json("payouts", "list", "--limit", "1")
    second = colink.json("payouts", "list", "--limit", "1", "--cursor", str(first["next_cursor"]))
    assert [item["id"] for item in first["items"] + second["items"]] == ids
    assert second["next_cursor"] is None
    assert "MYR 19.00" in listed
    again = colink.json("payouts", "approve", ids[0], code=2)
    assert (again["items"], again["refused"][0]["type"]) == ([], "urn:colink:problem:payout-state")
    assert balances(shop, "--account", f"payee:{AINA}") == {
        f"payee:{AINA}:available": 0,
        f"payee:{AINA}:in_transit": 0,
        f"payee:{AINA}:pending": 0,
    }

    report = colink.json("audit", "verify")
    assert (report["clean"], report["findings"], report["from"]) == (True, [], 1)
    assert report["to"] == report["head"] > 0
    assert {result["status"] for result in report["passes"]} == {"passed"}
    traced = colink.json("audit", "trace", f"ord_{STORE}.2")
    assert traced["kind"] == "order"
    assert {payout["id"] for payout in traced["payouts"]} == set(ids)
    assert sum(entry["amount"] for entry in traced["entries"]) == 0
    tree = colink.run("audit", "trace", ids[0]).stdout
    assert f"ord_{STORE}.1, ord_{STORE}.2" in tree
    assert "payout.paid" in tree


def test_orders_are_held_released_and_credited_by_people(shop: Shop) -> None:
    colink, order = shop.colink, f"ord_{STORE}.1"
    held = colink.json("orders", "hold", order, "--reason", "odd address", "--payee", AINA, "--by", "siti")
    [hold] = held["holds"]
    assert (hold["payee_id"], hold["reason"], hold["by"]) == (AINA, "odd address", "cli:siti")
    colink.json("worker", "--once")
    assert balances(shop, "--account", f"payee:{AINA}") == {
        f"payee:{AINA}:available": 400,
        f"payee:{AINA}:pending": 1_500,
    }
    assert f"of {AINA}" in colink.run("orders", "hold", order, "--reason", "again", "--payee", AINA).stdout
    assert "reason must" in colink.run("orders", "release", order, "--reason", " ", "--payee", AINA, code=2).stderr
    assert "nothing of" in colink.run("orders", "release", order, "--reason", "fine", code=2).stderr, "the order's"
    released = colink.json("orders", "release", order, "--reason", "fine", "--payee", AINA)
    assert released["holds"] == []
    colink.json("worker", "--once")
    refused = colink.json("orders", "reattribute", order, "--reason", "hers", code=2)
    assert refused["type"] == "urn:colink:problem:order-has-cleared"
    assert "there is no order" in colink.run("orders", "hold", "ord_none", "--reason", "x", code=2).stderr
    by = [event["payload"].get("by") for event in colink.json("audit", "trace", order)["events"]]
    assert [who for who in by if who] == ["cli:siti", f"cli:{getuser()}"]


def test_verification_names_the_position_of_what_was_changed(shop: Shop) -> None:
    with psycopg.connect(shop.database.owner_dsn) as owner:

        def one(query: str) -> tuple[Any, ...]:
            row = owner.execute(query.encode()).fetchone()
            assert row is not None
            return row

        changed, deleted = one("select min(position), max(position) from colink.entries")
        owner.execute("update colink.entries set amount = amount + 1 where position = %s and ordinal = 0", (changed,))
        owner.execute("delete from colink.entries where position = %s and ordinal = 1", (deleted,))
        owner.execute("update colink.balances set amount = amount + 1 where account = 'platform:revenue'")
        newest = one("select max(position) from colink.entries where account = 'platform:revenue'")[0]

    report = shop.colink.json("audit", "verify", code=1)
    assert not report["clean"]
    assert {(found["pass"], found["kind"], found["position"]) for found in report["findings"]} == {
        ("entries", "changed", changed),
        ("entries", "missing", deleted),
        ("balances", "changed", newest),
    }
    statuses = {result["pass"]: result["status"] for result in report["passes"]}
    assert {name for name, status in statuses.items() if status == "failed"} == {"entries", "balances"}

    told = shop.colink.run("audit", "verify", "--to", str(changed), code=1).stdout
    assert f"position {changed} entries:" in told
    assert f"colink audit trace {changed}" in told, "what to do next"
