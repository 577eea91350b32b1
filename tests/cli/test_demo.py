"""`colink demo` plays its story for real; and the story itself, which is pure, is what it promises to be."""

from __future__ import annotations

import signal
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import CommandLine
from tests.projections.exports.other_tools import of_beancount, of_hledger

from colink.adapters.postgres.server import EmbeddedServer
from colink.cli.demo.checks import Ending, check_story
from colink.cli.demo.deliveries import Evidence, deliveries_of
from colink.cli.demo.expectations import ExpectedOrder, expectations_of
from colink.cli.demo.scenario import FEWEST_ORDERS, Fate, Scenario, tell
from colink.cli.demo.shop import Shop
from colink.cli.demo.shoppers import Traffic
from colink.projections.exports import ExportFormat

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
EVIDENCE = Evidence(click_id="clk_1", visitor_id="vis_00000001")


def delivered(scenario: Scenario) -> Counter[str]:
    """Deliveries by topic, copies counted."""
    topics: Counter[str] = Counter()
    for order in scenario.orders:
        for delivery in deliveries_of(order, EVIDENCE, placed_at=NOON, seed=scenario.seed):
            topics[delivery.topic] += delivery.copies
    return topics


def running_commands() -> list[str]:
    commands = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            commands.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return commands


def answered(order: ExpectedOrder, parts: tuple[int, int, int, int]) -> dict[str, Any]:
    """An order as the API shows it, as far as the story looks at it."""

    def money(amount: int) -> dict[str, Any]:
        return {"amount": amount, "currency": "MYR"}

    names = ("platform_fee", "creator_commission", "payment_fee", "seller_take")
    return {
        "external_id": order.external_id,
        "number": "#1001",
        "collected": money(order.collected),
        "cash_refunded": money(order.cash_refunded),
        "subtotal": money(order.subtotal),
        "refunded": money(order.reversed_base),
        "attribution": {"outcome": order.outcome, "creator_id": f"cre_{order.creator}"},
        "split": {name: money(part) for name, part in zip(names, parts, strict=True)},
    }


def test_plays_and_verifies_and_other_tools_agree(data_dir: Path, tmp_path: Path) -> None:
    told = CommandLine(data_dir=data_dir).json("demo", "--orders", "40", "--keep")

    assert told["ok"] is True
    assert told["orders"] == 40
    assert told["answers"]["bad signature"] == told["answers"]["rejected"] == 1
    assert told["answers"]["duplicate"] > 0
    assert sum(told["answers"].values()) == told["deliveries"]
    assert [check["name"] for check in told["expectations"] if not check["holds"]] == []
    assert told["verification"]["clean"] is True
    assert {result["status"] for result in told["verification"]["passes"]} == {"passed"}

    assert sum(balance["amount"] for balance in told["balances"]) == 0, "money is conserved"
    in_transit = [b["amount"] for b in told["balances"] if b["account"].endswith(":in_transit")]
    assert in_transit == [0, 0, 0, 0], "every payout arrived"
    assert [payout["status"] for payout in told["payouts"]] == ["paid"] * 4
    [cash] = [b["amount"] for b in told["balances"] if b["account"] == "processor:sandbox:cash"]
    assert cash == sum(payout["amount"]["amount"] for payout in told["payouts"])

    order = told["order"]
    reasons = [candidate["reason"] for candidate in order["attribution"]["candidates"]]
    assert sorted(reasons) == ["earlier_touch", "link_preview", "outranked_by_click", "winner"]
    assert [line["rule"]["scope"] for line in order["lines"]] == ["campaign", "product"]
    by_journal: dict[str, int] = defaultdict(int)
    for entry in order["entries"]:
        by_journal[entry["journal_id"]] += entry["amount"]
    assert set(by_journal.values()) == {0}
    assert {entry["kind"] for entry in order["entries"]} == {"sale", "refund", "cash_refund", "clearing"}
    assert [row["rank"] for row in told["leaderboard"]] == [1, 2, 3]
    assert told["statement"]["entries"]

    assert told["data_dir"] == "demo"
    with EmbeddedServer(data_dir / "demo").acquire():
        check_books(CommandLine(data_dir=data_dir / "demo"), tmp_path, balances=told["balances"])


def check_books(colink: CommandLine, folder: Path, *, balances: list[dict[str, Any]]) -> None:
    """The books as their owner exports them: hledger's strict check and bean-check pass, and every balance that
    either of them comes to is the one that the demo told, to the minor unit."""
    ours = {(each["account"], each["currency"]): each["amount"] for each in balances if each["amount"]}
    assert ours
    for form, theirs in ((ExportFormat.HLEDGER, of_hledger), (ExportFormat.BEANCOUNT, of_beancount)):
        book = folder / f"book.{form}"
        colink.run("audit", "export", "--format", form, "-o", str(book))
        assert theirs(book) == ours, form


def test_an_interrupted_demo_leaves_nothing_behind(data_dir: Path) -> None:
    demo = CommandLine(data_dir=data_dir).start("demo", "--orders", "40")
    try:
        assert demo.stdout is not None
        while "operator sets up" not in (line := demo.stdout.readline()):
            assert line, "the demo ended by itself"
        demo.send_signal(signal.SIGINT)
        assert demo.wait(timeout=60) == 130
    finally:
        demo.kill()
        demo.wait()
    assert [command for command in running_commands() if str(data_dir) in command] == []
    assert not (data_dir / "demo").exists(), "nothing is left without --keep, however it ends"


def test_the_usual_story_has_more_than_300_deliveries_of_every_topic() -> None:
    topics = delivered(tell(seed=1, orders=120))
    assert topics.total() > 300
    assert set(topics) == {
        "orders/create",
        "orders/paid",
        "orders/updated",
        "orders/cancelled",
        "orders/edited",
        "refunds/create",
    }


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_even_the_shortest_story_has_every_fate(seed: int) -> None:
    scenario = tell(seed=seed, orders=FEWEST_ORDERS)
    assert len(scenario.orders) == FEWEST_ORDERS
    assert {order.fate for order in scenario.orders} == set(Fate)
    assert any(order.returned_late for order in scenario.orders)
    assert scenario.showpiece.number == 1001


def test_a_seed_is_a_story() -> None:
    assert tell(seed=7, orders=50) == tell(seed=7, orders=50)
    assert delivered(tell(seed=7, orders=50)) == delivered(tell(seed=7, orders=50))
    assert tell(seed=7, orders=50) != tell(seed=8, orders=50)


def test_expectations_are_plain_arithmetic() -> None:
    """The explained order: 129.00 at 15 %, two of 79.05 at 10 %, tax of 6 % on top, 8.00 shipping; one comes back."""
    scenario = tell(seed=1, orders=FEWEST_ORDERS)
    expected = expectations_of(scenario).orders[str(scenario.showpiece.order_id)]
    assert expected.subtotal == 12_900 + 2 * 7_905
    assert expected.collected == 12_900 + 774 + 15_810 + 949 + 800
    assert expected.reversed_base == 7_905
    assert expected.cash_refunded == 7_905 + 474
    assert expected.parts is None, "what is reversed is divided among lines, which only the audit derives again"

    kept = replace(scenario, orders=(replace(scenario.showpiece, fate=Fate.KEPT),))
    [untouched] = expectations_of(kept).orders.values()
    assert untouched.parts == (1_436, 1_935 + 1_581, 906 + 100, 28_710 - 1_436 - 3_516 - 1_006)


@pytest.mark.parametrize("field", ["collected", "cash_refunded", "subtotal", "refunded"])
def test_one_sen_too_much_is_found(field: str) -> None:
    scenario = tell(seed=1, orders=FEWEST_ORDERS)
    kept = replace(scenario, orders=(replace(scenario.showpiece, fate=Fate.KEPT),))
    expected = expectations_of(kept)
    [order] = expected.orders.values()
    assert order.parts is not None
    shop = Shop(creators={"aina": "cre_aina"}, store_id="sto_1")
    right, wrong = answered(order, order.parts), answered(order, order.parts)
    wrong[field]["amount"] += 1

    def differing(document: dict[str, Any]) -> list[str]:
        ending = Ending(orders=[document], balances=[], payouts=[], own_purchase_statuses=[])
        checks = check_story(
            expected=expected, planned_answers={}, traffic=Traffic(), shop=shop, requested=[], ending=ending
        )
        [check] = [check for check in checks if check.name.startswith("orders that differ")]
        assert check.holds is (check.found == [])
        return list(check.found)

    assert differing(right) == []
    [difference] = differing(wrong)
    assert difference.startswith(f"order #1001: {field} should be")
