"""What a shop told us and we could not use is found and read again by commands."""

from __future__ import annotations

import asyncio
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict
from tests.api.shop import open_shop
from tests.cli.conftest import CommandLine
from tests.conftest import TestDatabase

from colink.adapters.postgres.provision import Database
from colink.cli.shopify_traffic import Item

MUG = Item(line_id=12, title="Mug", price="22.50", product_id=72, variant_id=82, sku="MUG")


async def deliver(database: TestDatabase, data_dir: Path) -> None:
    at = Database(owner_dsn=database.owner_dsn, app_dsn=database.app_dsn)
    async with open_shop(at, data_dir=data_dir) as shop:
        store = await shop.store(await shop.organization())
        await shop.order(store, items=[MUG], order_id=1)
        told = await shop.order(store, items=[MUG], order_id=2, currency="ZZZ")
        assert told["status"] == "rejected"


def test_a_rejected_delivery_is_listed_and_read_again(database: TestDatabase, data_dir: Path) -> None:
    asyncio.run(deliver(database, data_dir))
    at = conninfo_to_dict(database.superuser_dsn)
    url = f"postgresql://{at['user']}@/{at['dbname']}?host={at['host']}&port={at['port']}"
    colink = CommandLine(data_dir=data_dir, settings={"COLINK_DATABASE_URL": url})

    [rejected] = colink.json("inbox", "list", "--status", "rejected")["items"]
    assert rejected["problem"]["detail"].startswith("unknown currency 'ZZZ'")
    again = colink.json("inbox", "replay", rejected["id"], code=1)
    assert (again["id"], again["status"]) == (rejected["id"], "rejected")
    people = colink.run("inbox", "list", "--limit", "1").stdout
    assert "accepted" in people
    assert "colink inbox list --after 1" in people
    assert "no such delivery" in colink.run("inbox", "replay", "dlv_nothing.here", code=2).stderr
