"""Finance keeps the accounts of sellers from the command line: what they paid, what bounced, what was billed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.api.sale import MUG, myr
from tests.api.seller import OWED, Seller, make_seller
from tests.api.shop import MovableClock, open_shop
from tests.cli.test_keys_and_db import Terminal, url
from tests.conftest import TestDatabase, data_dir_of

from colink.adapters.postgres.provision import Database

AT = ("--received-at", "2020-02-03T02:00:00Z")
BACK = ("--reason", "refer to drawer", "--returned-at", "2020-02-06T02:00:00Z")


@pytest.fixture
def colink(database: TestDatabase, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    monkeypatch.setenv("COLINK_DATABASE_URL", url(database.superuser_dsn))
    monkeypatch.setenv("COLINK_DATA_DIR", str(data_dir_of(database.owner_dsn)))
    return Terminal(capsys)


@pytest.fixture
def sold(
    database: TestDatabase, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[str, list[str]]:
    """A seller, and his two orders of January 2020."""
    monkeypatch.setattr("tests.api.shop.MovableClock", lambda: MovableClock(time=datetime(2020, 1, 20, tzinfo=UTC)))

    async def sell() -> tuple[Seller, list[str]]:
        given = Database(owner_dsn=database.owner_dsn, app_dsn=database.app_dsn)
        async with open_shop(given) as shop:
            seller = await make_seller(shop)
            return seller, [await seller.order(1), await seller.order(2, items=[MUG])]

    seller, orders = asyncio.run(sell())
    capsys.readouterr()  # what the service logged is no command's output
    return seller.organization["id"], orders


def problem(colink: Terminal, *arguments: str) -> tuple[str, str | None]:
    refused = colink.json(*arguments, status=2)
    return refused["type"].rpartition(":")[2], refused.get("field")


def settled(colink: Terminal, seller: str) -> dict[str, int]:
    """What is owed, and the credit of the account."""
    [balance] = colink.json("ledger", "balances", "--account", f"seller:{seller}:receivable")["items"]
    [account] = colink.json("sellers", "accounts", "--organization", seller)["items"]
    return {"owed": -balance["amount"], "credit": account["credit"]["amount"]}


def test_a_payment_is_recorded_shown_and_returned(colink: Terminal, sold: tuple[str, list[str]]) -> None:
    seller, orders = sold
    assert colink.json("sellers", "payments") == {"items": [], "next_cursor": None}
    assert "no payments" in colink.run("sellers", "payments")
    pay = ("sellers", "pay", seller, f"{OWED}MYR", "MBB-1", *AT, "--order", orders[0], "--by", "ravi")
    paid = colink.json(*pay)
    assert paid == {
        "id": f"spm_{seller}.MBB-1",
        "organization_id": seller,
        "amount": myr(OWED),
        "reference": "MBB-1",
        "received_at": "2020-02-03T02:00:00Z",
        "invoice_id": None,
        "order_ids": [orders[0]],
        "returned": None,
    }
    assert colink.json(*pay) == paid, "the same again changes nothing"
    assert settled(colink, seller) == {"owed": 337, "credit": 0}
    assert colink.json("sellers", "show", paid["id"]) == paid
    assert colink.json("sellers", "payments", "--organization", seller)["items"] == [paid]
    assert f"MYR {OWED / 100:.2f}" in colink.run("sellers", "payments")

    back = colink.json("sellers", "return", paid["id"], *BACK)
    assert back["returned"] == {"returned_at": "2020-02-06T02:00:00Z", "reason": "refer to drawer"}
    assert colink.json("sellers", "return", paid["id"], *BACK) == back
    assert settled(colink, seller) == {"owed": OWED + 337, "credit": 0}
    assert "2020-02-06" in colink.run("sellers", "payments")
    shown = colink.run("sellers", "show", paid["id"])
    assert "refer to drawer" in shown
    other = ("--reason", "another", *BACK[2:])
    assert problem(colink, "sellers", "return", paid["id"], *other) == ("payment-returned", None)
    assert colink.json("audit", "verify", "--only", "receivables")["findings"] == []


def test_a_month_is_billed_by_hand_or_by_the_worker_and_paid(colink: Terminal, sold: tuple[str, list[str]]) -> None:
    seller, orders = sold
    bill = ("sellers", "invoice", seller, "myr", "--period", "2020-01")
    invoice = colink.json(*bill)
    assert (invoice["period"], invoice["due"]) == ("2020-01", myr(OWED + 337))
    assert invoice["lines"] == [
        {"order_id": orders[0], "amount": myr(OWED)},
        {"order_id": orders[1], "amount": myr(337)},
    ]
    assert colink.json(*bill) == invoice
    assert colink.json("sellers", "show", invoice["id"]) == invoice
    assert orders[1] in colink.run("sellers", "show", invoice["id"])
    [listed] = colink.json("sellers", "invoices", "--organization", seller)["items"]
    assert listed == {name: told for name, told in invoice.items() if name != "lines"}
    assert "2020-01" in colink.run("sellers", "invoices")
    colink.json("sellers", "pay", seller, f"{OWED + 337 + 5}MYR", "MBB-1", *AT, "--invoice", invoice["id"])
    assert settled(colink, seller) == {"owed": -5, "credit": 5}
    [account] = colink.json("sellers", "accounts")["items"]
    assert colink.json("sellers", "show", account["id"]) == account
    assert "MYR 0.05" in colink.run("sellers", "accounts")


def test_the_worker_bills_by_itself(colink: Terminal, sold: tuple[str, list[str]]) -> None:
    seller, _ = sold
    work = colink.json("worker", "--once")
    assert work["failed"] == {}
    assert work["done"]["seller_invoices"] >= 1
    invoices: list[dict[str, Any]] = colink.json("sellers", "invoices", "--limit", "1")["items"]
    assert (invoices[0]["organization_id"], invoices[0]["period"]) == (seller, "2020-01")
    assert invoices[0]["charged"] == myr(OWED + 337)


def test_what_cannot_be_is_refused_and_names_the_field(colink: Terminal, sold: tuple[str, list[str]]) -> None:
    seller, orders = sold
    pay = ("sellers", "pay", seller)
    for arguments, said in (
        ((*pay, "0MYR", "MBB-1", *AT), ("invalid-input", "amount.amount")),
        ((*pay, "fiveMYR", "MBB-1", *AT), ("wrong-use", "AMOUNT")),
        ((*pay, "5QQQ", "MBB-1", *AT), ("invalid-input", "amount.currency")),
        ((*pay, "5SGD", "MBB-1", *AT), ("invalid-input", "amount.currency")),
        ((*pay, "5MYR", " ", *AT), ("invalid-input", "reference")),
        ((*pay, "5MYR", "MBB-1", *AT, "--order", "ord_none"), ("invalid-input", "order_ids[0]")),
        ((*pay, "5MYR", "MBB-1", *AT, "--order", orders[0], "--invoice", "inv_1"), ("invalid-input", "--order")),
        ((*pay, "5MYR", "MBB-1", *AT, "--invoice", "inv_1"), ("invalid-input", "invoice_id")),
        (("sellers", "pay", "org_none", "5MYR", "MBB-1", *AT), ("invalid-input", "organization_id")),
        (("sellers", "return", "spm_none", *BACK), ("not-found", None)),
        (("sellers", "show", "ord_1"), ("not-found", None)),
        (("sellers", "invoice", seller, "MYR", "--period", "2020-13"), ("invalid-input", "period")),
        (("sellers", "invoice", seller, "QQQ"), ("invalid-input", "currency")),
        (("sellers", "invoice", "org_none", "MYR"), ("invalid-input", "organization_id")),
    ):
        assert problem(colink, *arguments) == said, arguments
    assert colink.json("sellers", "accounts")["items"] == []
