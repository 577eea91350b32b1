"""`colink demo` plays its story for real; and the story itself, which is pure, is what it promises to be."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.cli.conftest import CommandLine

from colink.cli.demo.checks import Check
from colink.cli.demo.deliveries import Evidence, deliveries_of
from colink.cli.demo.expectations import expectations_of
from colink.cli.demo.scenario import FEWEST_ORDERS, Fate, Scenario, tell

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
EVIDENCE = Evidence(click_id="clk_1", visitor_id="vis_00000001")


def delivered(scenario: Scenario) -> Counter[str]:
    """Deliveries by topic, copies counted."""
    topics: Counter[str] = Counter()
    for order in scenario.orders:
        for delivery in deliveries_of(order, EVIDENCE, placed_at=NOON, seed=scenario.seed):
            topics[delivery.topic] += delivery.copies
    return topics


def test_plays_and_verifies(data_dir: Path) -> None:
    told = CommandLine(data_dir=data_dir).json("demo", "--orders", "40")

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

    assert told["data_dir"] is None
    assert not (data_dir / "demo").exists(), "nothing is left without --keep"


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
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(data_dir) not in running
    assert not (data_dir / "demo").exists()


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


def test_a_check_compares_both_sides() -> None:
    assert Check(name="sum", expected=0, found=0).holds
    assert not Check(name="sum", expected=0, found=1).holds
