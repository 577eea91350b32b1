"""How the demo is told at a terminal: chapters while it plays, then what came of it. For 80 to 100 columns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from colink.cli.demo.checks import Check
from colink.cli.demo.explained import amount_text, named, plain_table, show_order, show_statement
from colink.cli.demo.scenario import CURRENCY, SHOP_DOMAIN
from colink.cli.demo.story import Played

WIDTH = 100
_MEANINGS = (
    ("store:", "collected, not yet settled to us"),
    ("platform:revenue", "platform fees earned"),
    ("processor:sandbox", "paid out through the sandbox"),
    ("processor:", "payment fees withheld"),
    (":pending", "earned, in its holding period or held"),
    (":in_transit", "reserved by a payout"),
    (":available", "cleared; below zero is owed back"),
)


def console_for_people(*, stderr: bool) -> Console:
    """At most `WIDTH` wide: longer lines are hard to read, and nothing here needs them."""
    console = Console(stderr=stderr, highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    return console


class Chapters:
    """Says what goes on: a spinner while it does, a line with its outcome and time when it is over."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def __call__(self, title: str) -> Iterator[Callable[[str], None]]:
        outcomes: list[str] = []
        started = time.perf_counter()
        with self._console.status(f"{title} ..."):
            yield outcomes.append
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(width=1)
        table.add_column(ratio=1)
        table.add_column(justify="right", width=7)
        table.add_row("[green]✓[/]", title, f"[dim]{time.perf_counter() - started:.1f} s[/]")
        for outcome in outcomes:
            table.add_row("", Text(outcome, style="dim"), "")
        self._console.print(table)


def introduce(console: Console, *, orders: int, seed: int) -> None:
    _heading(console, "CoLink demo: one day of trade, from click to payout")
    console.print(
        f"{orders} orders from seed {seed}, told over HTTP on this machine: a seller with a Shopify shop "
        f"({SHOP_DOMAIN}), three creators, their followers.\n",
        style="dim",
    )


def conclude(console: Console, played: Played) -> None:
    """Everything that there is to see when the story is over."""
    _show_balances(console, played)
    _heading(console, f"Order {played.order['number']}, from click to payout")
    show_order(console, played)
    _heading(console, "A creator's statement, read with Aina's own key")
    show_statement(console, played)
    _heading(console, "Leaderboard, by net revenue of all time")
    _show_leaderboard(console, played)
    _heading(console, "Verification: everything derived again from the log")
    _show_verification(console, played)


def show_next_steps(console: Console, *, kept_at: str | None, admin_key: str, later: str) -> None:
    _heading(console, "What to try next")
    if kept_at is not None:
        console.print("This story is kept. Go on with it, fifteen days later, as its operator:\n")
        console.print(
            f"  COLINK_DATA_DIR={kept_at} COLINK_CLOCK_OFFSET={later} colink up\n  operator's API key: {admin_key}\n",
            soft_wrap=True,
            markup=False,
        )
    steps = Table.grid(padding=(0, 0, 0, 2))
    steps.add_column(no_wrap=True)
    steps.add_column()
    if kept_at is None:
        steps.add_row("colink demo --keep", "play it again, and keep the data to look around in")
        steps.add_row("colink up", "a CoLink of your own: API, worker, database, sandbox payments")
    steps.add_row("http://127.0.0.1:8000/docs", "every call of the API, once it is up")
    steps.add_row("README.md", "a five-minute tour with curl for each kind of user")
    console.print(steps)
    console.print()


def _heading(console: Console, title: str) -> None:
    console.print()
    console.print(Rule(f"[bold]{escape(title)}[/]", align="left", style="cyan"))


def _show_balances(console: Console, played: Played) -> None:
    _heading(console, "Balances by account")
    table = plain_table()
    table.add_column("account", no_wrap=True)
    table.add_column("meaning", style="dim")
    table.add_column(CURRENCY, justify="right", no_wrap=True)
    ordered = sorted(
        played.balances, key=lambda balance: (balance["account"].startswith("payee:"), balance["account"])
    )
    for balance in ordered:
        if balance["amount"]:
            meaning = next((text for part, text in _MEANINGS if part in balance["account"]), "")
            table.add_row(named(balance["account"], played.shop), meaning, amount_text(balance["amount"]))
    table.add_section()
    table.add_row(
        "all accounts", "credit above zero", amount_text(sum(balance["amount"] for balance in played.balances))
    )
    console.print(table)


def _show_leaderboard(console: Console, played: Played) -> None:
    reported = {row["creator_id"]: row for row in played.report}
    table = plain_table()
    for name in ("rank", "creator"):
        table.add_column(name)
    for name in ("clicks", "views", "orders", f"net revenue, {CURRENCY}", f"commission, {CURRENCY}"):
        table.add_column(name, justify="right")
    for row in played.leaderboard:
        of_creator = reported.get(row["creator_id"], {})
        table.add_row(
            str(row["rank"]),
            row["handle"],
            *(str(of_creator.get(name, "")) for name in ("clicks", "views", "orders")),
            amount_text(row["value"]),
            amount_text(of_creator["commission"]["amount"]) if of_creator.get("commission") else "",
        )
    console.print(table)
    console.print("\nOrders that were never paid do not count here; a statement lists them too.", style="dim")


def _show_verification(console: Console, played: Played) -> None:
    table = plain_table()
    table.add_column("colink audit verify")
    table.add_column("checked", justify="right")
    table.add_column("result")
    for result in played.verification["passes"]:
        good = result["status"] == "passed"
        said = "[green]✓[/]" if good else f"[bold red]{result['status']}[/] {result['findings']} findings"
        table.add_row(result["pass"].replace("_", " "), f"{result['checked']:,}", said)
    console.print(table)
    console.print("\nThe story's own sums, worked out without CoLink:")
    console.print(_checks_table(played.checks))
    traffic = played.traffic
    console.print(
        f"\n{traffic.deliveries} deliveries at {traffic.per_second:.0f} a second, "
        f"{played.verification['head']} events, {played.seconds:.1f} s in all: "
        + ("[bold green]everything adds up[/]" if played.is_good else "[bold red]something is wrong[/]")
    )


def _checks_table(checks: Sequence[Check]) -> Table:
    table = Table.grid(padding=(0, 2))
    for check in checks:
        mark = "[green]✓[/]" if check.holds else "[bold red]✗[/]"
        if not check.holds:
            said = f"expected {check.expected}, found {check.found}"
        elif isinstance(check.expected, dict):
            said = ", ".join(f"{count} {what}" for what, count in check.expected.items())
        elif check.is_money:
            said = f"{CURRENCY} {amount_text(check.expected)}"
        else:
            said = ", ".join(map(str, check.expected)) if isinstance(check.expected, list) else str(check.expected)
        table.add_row(f" {mark}", check.name, Text(said or "none", style="dim"))
    return table
