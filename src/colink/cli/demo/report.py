"""The played story as one document, for `--json`. Amounts are minor units."""

from __future__ import annotations

from typing import Any

from colink.cli.demo.scenario import CURRENCY
from colink.cli.demo.story import Played


def document(played: Played, *, kept_at: str | None) -> dict[str, Any]:
    traffic = played.traffic
    return {
        "ok": played.is_good,
        "seed": played.scenario.seed,
        "currency": CURRENCY,
        "orders": len(played.orders),
        "clicks": traffic.clicks,
        "views": traffic.views,
        "set_aside": traffic.set_aside,
        "deliveries": traffic.deliveries,
        "deliveries_per_second": round(traffic.per_second, 1),
        "answers": dict(traffic.answers),
        "balances": played.balances,
        "order": {
            **played.order,
            "entries": played.order_entries,
            "deliveries": played.order_deliveries,
            "payouts": played.order_payouts,
        },
        "statement": {
            "orders": played.statement_orders,
            "entries": played.statement_entries,
            "balances": played.statement_balances,
        },
        "payouts": played.payouts,
        "leaderboard": played.leaderboard,
        "report": played.report,
        "expectations": [
            {"name": check.name, "expected": check.expected, "found": check.found, "holds": check.holds}
            for check in played.checks
        ],
        "verification": played.verification,
        "seconds": round(played.seconds, 2),
        "data_dir": kept_at,
    }
