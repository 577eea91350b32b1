"""A trace as people read it: what it says of payouts is true of the money that was looked at."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from colink.cli.trace_tree import trace_tree
from colink.projections.audit.trace import Trace, TracedEvent, TraceKind
from colink.projections.payouts import FiledPayout


def told(found: Trace) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(trace_tree(found))
    return console.file.getvalue()  # type: ignore[attr-defined]  # it is the one made above


def traced(kind: TraceKind, **more: Any) -> Trace:
    return Trace(subject="x", kind=kind, **more)


def payout(status: str) -> FiledPayout:
    return FiledPayout(
        payout_id="pyt_1",
        payee_id="cre_1",
        currency="MYR",
        amount=1_500,
        tax=0,
        status=status,
        stretches_json="[]",
        created_position=7,
        position=9,
    )


def event(topic: str, payload: str, *, stream: str = "pyt_1") -> TracedEvent:
    return TracedEvent(
        position=9,
        stream_id=stream,
        version=4,
        topic=topic,
        recorded_at=datetime(2026, 3, 2, tzinfo=UTC),
        actor="worker",
        correlation_id="cor_1",
        causation_id=None,
        payload=payload,
    )


def test_only_money_that_was_looked_at_is_said_to_be_in_no_payout() -> None:
    assert "payout" not in told(traced(TraceKind.RECORD))
    assert "none of this money is in a payout" in told(traced(TraceKind.ORDER, followed=True))
    assert "none of what is shown is in a payout" in told(traced(TraceKind.ACCOUNT, followed=True, cut_off=True))
    assert "none of" not in told(traced(TraceKind.ORDER, followed=True, payouts=[payout("paid")]))


@pytest.mark.parametrize(
    ("status", "events", "line"),
    [
        (
            "failed",
            [event("payout.failed", '{"failure_code":"account_closed"}')],
            "failed MYR 15.00 to cre_1, pyt_1: account_closed",
        ),
        ("rejected", [event("payout.rejected", '{"reason":"twice"}')], "rejected MYR 15.00 to cre_1, pyt_1: twice"),
        ("failed", [event("payout.failed", '{"failure_code":null}')], "failed MYR 15.00 to cre_1, pyt_1\n"),
        ("failed", [event("payout.failed", "{")], "failed MYR 15.00 to cre_1, pyt_1\n"),
        ("failed", [], "failed MYR 15.00 to cre_1, pyt_1\n"),
        ("paid", [event("payout.held", '{"reason":"a doubt"}')], "paid MYR 15.00 to cre_1, pyt_1\n"),
        (
            "failed",
            [event("payout.failed", '{"failure_code":"x"}', stream="pyt_2")],
            "failed MYR 15.00 to cre_1, pyt_1\n",
        ),
    ],
)
def test_why_a_payout_failed(status: str, events: list[TracedEvent], line: str) -> None:
    found = traced(TraceKind.PAYOUT, payouts=[payout(status)], events=events)
    assert line in "\n".join(each.rstrip() for each in told(found).splitlines()) + "\n"
