"""Finance books from the command line what providers settled, with the fees of single orders, and looks at it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import CommandLine, Shop
from tests.cli.test_wrong_use import WIRING, refused_as_json
from tests.projections.world import ORGANIZATION, STORE

ONE = ("settlements", "record", STORE, "po_1", "--gross", "19000MYR", "--fee", "650MYR")
AT = ("--settled-at", "2026-01-31T00:00:00Z", "--by", "ravi")


def myr(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": "MYR"}


def balances(colink: CommandLine) -> dict[str, int]:
    return {each["account"]: each["amount"] for each in colink.json("ledger", "balances")["items"]}


def test_a_settlement_is_booked_once_listed_and_shown(shop: Shop) -> None:
    colink = shop.colink
    assert "no settlements" in colink.run("settlements", "list").stdout
    before = balances(colink)
    fees = ("--payment-fee", "1=600MYR", "--dispute-fee", "2/dp_1=50MYR", "--received-by", "maybank")
    told = colink.json(*ONE, *AT, *fees)
    assert told == {
        "id": f"stl_{STORE}.po_1",
        "organization_id": ORGANIZATION,
        "store_id": STORE,
        "platform": "shopify",
        "reference": "po_1",
        "received_by": "maybank",
        "currency": "MYR",
        "gross": myr(19_000),
        "fee": myr(650),
        "settled_at": "2026-01-31T00:00:00Z",
        "fees": [
            {"order_external_id": "1", "kind": "payment", "amount": myr(600), "dispute_id": None},
            {"order_external_id": "2", "kind": "dispute", "amount": myr(50), "dispute_id": "dp_1"},
        ],
    }
    assert colink.json(*ONE, *AT, *fees) == told, "the same again changes nothing"
    after = balances(colink)
    assert after["processor:maybank:cash"] == 650 - 19_000
    assert after[f"store:{STORE}:clearing"] == before[f"store:{STORE}:clearing"] + 19_000 + 50
    assert after["processor:shopify:fees"] == 600 - 650
    assert after[f"payee:{ORGANIZATION}:available"] == -50
    problem = colink.json(*ONE[:-1], "651MYR", *AT, *fees, code=2)
    assert (problem["type"], problem["field"]) == ("urn:colink:problem:conflict", "reference")
    for arguments, field in (
        ((*ONE[:2], "sto_none", *ONE[3:], *AT), "STORE"),
        ((*ONE[:3], "po_3", *ONE[4:], *AT, "--received-by", "May Bank"), "received_by"),
        (("settlements", "show", "stl_none.x"), None),
    ):
        assert colink.json(*arguments, code=2).get("field") == field
    assert balances(colink) == after

    assert colink.json("settlements", "show", told["id"]) == told
    shown = colink.run("settlements", "show", told["id"]).stdout
    assert "MYR 190.00" in shown
    assert "order 2: dispute dp_1 fee MYR 0.50" in shown
    assert colink.json("settlements", "list", "--organization", ORGANIZATION)["items"] == [told]
    assert colink.json("settlements", "list", "--organization", "org_none")["items"] == []
    second = colink.json(*ONE[:3], "po_2", *ONE[4:], *AT)
    first = colink.json("settlements", "list", "--limit", "1")
    assert (first["items"], first["next_cursor"]) == ([told], told["id"])
    rest = colink.json("settlements", "list", "--cursor", first["next_cursor"])
    assert (rest["items"], rest["next_cursor"]) == ([second], None)
    assert colink.json("audit", "verify")["clean"]


def test_fees_come_from_a_table_too(shop: Shop, tmp_path: Path) -> None:
    colink, table = shop.colink, tmp_path / "fees.csv"
    table.write_text("order_external_id,kind,amount,dispute_id\n1,payment,600,\n\n2,dispute,50,dp_1\n")
    told = colink.json(*ONE, *AT, "--fees", str(table), "--payment-fee", "2=1MYR")
    assert [(each["order_external_id"], each["amount"], each["dispute_id"]) for each in told["fees"]] == [
        ("2", myr(1), None),
        ("1", myr(600), None),
        ("2", myr(50), "dp_1"),
    ]
    for text, line in (
        ("order_external_id,kind,amount\n1,payment,600\n1,payment\n", "line 3"),
        ("order_external_id,kind,amount\n1,bank,600\n", "line 2"),
        ("order_external_id,kind,amount\n1,payment,6.00\n", "line 2"),
        ("1,payment,600\n", "the first line names the columns"),
    ):
        table.write_text(text)
        problem = colink.json(*ONE[:3], "po_2", *ONE[4:], *AT, "--fees", str(table), code=2)
        assert problem["field"] == "--fees"
        assert line in problem["detail"]
    assert len(colink.json("settlements", "list")["items"]) == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (("--gross", "190.00MYR"), "--gross"),
        (("--gross", "1" * 5_000 + "MYR"), "--gross"),
        (("--fee", "1SGD"), "--fee"),
        (("--payment-fee", "1=1SGD"), "--payment-fee"),
        (("--payment-fee", "=1MYR"), "--payment-fee"),
        (("--dispute-fee", "1/=1MYR"), "--dispute-fee"),
        (("--settled-at", "2026-01-31"), "--settled-at"),
        (("--fees", "nowhere.csv"), "--fees"),
    ],
)
def test_what_makes_no_sense_names_its_option(
    changes: tuple[str, str], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And opens nothing."""
    assert refused_as_json(WIRING, [*ONE, *AT, *changes], capsys)["field"] == field
