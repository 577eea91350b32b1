"""Two things told in full at a terminal: one order from click to payout, and a creator's statement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from colink.cli.demo.scenario import AINA, CURRENCY, HOLD_DAYS, RULES, Rule
from colink.cli.demo.shop import Json, Shop
from colink.cli.demo.story import Played
from colink.domain.money import currency_exponent

_REASONS = {
    "winner": "the last click before buying",
    "supporting": "the same creator's, kept as evidence",
    "earlier_touch": "a later click was there",
    "outranked_by_click": "a click ranks before a view",
    "outranked_by_coupon": "a code ranks before a click",
    "link_preview": "loaded ahead, nobody looked",
    "bot": "a program, not a person",
}
_MOST_ORDERS = 8  # of a statement
_ACCOUNT = len("payee:seller:available")  # the longest name of an account in the story


def show_order(console: Console, played: Played) -> None:
    order = played.order
    console.print(
        f"{len(played.order_deliveries)} deliveries said: {_amount(order['collected'])} collected, "
        f"{_amount(order['cash_refunded'])} given back for one of its three pieces."
    )
    console.print("\n[bold]Whose sale is it?[/] What the shopper's browser had seen, in order of time:")
    console.print(_candidates(order, played.shop))
    console.print("\n[bold]Which rule, and who gets what?[/] Per line, net of what came back:")
    console.print(_lines(order, played.shop))
    console.print("\n[bold]Journals.[/] Double entry, credit above zero; each one sums to zero:")
    console.print(_journals(played.order_entries, played.shop))
    console.print(
        f"\n[bold]Payout.[/] After {HOLD_DAYS} days the money cleared and could be asked for. It left with:"
    )
    for payout in played.order_payouts:
        who = played.shop.names.get(payout["payee_id"], payout["payee_id"])
        console.print(f"  {who:<12} {payout['id']}  {_amount(payout['amount'])}  [green]{payout['status']}[/]")


def show_statement(console: Console, played: Played) -> None:
    entries = played.statement_entries
    by_kind: dict[str, int] = defaultdict(int)
    per_order: dict[str, int] = defaultdict(int)
    taken_back: dict[str, int] = defaultdict(int)
    statuses: dict[str, str] = {}
    for entry in entries:
        by_kind[entry["kind"]] += entry["amount"]
        if entry["order_id"] is not None:
            per_order[entry["order_id"]] += entry["amount"]
            taken_back[entry["order_id"]] += entry["amount"] if entry["kind"] == "refund" else 0
            statuses[entry["order_id"]] = entry["status"]
    table = plain_table()
    for name in ("order", "placed (UTC)", "credited by"):
        table.add_column(name)
    table.add_column("taken back", justify="right")
    table.add_column(f"commission, {CURRENCY}", justify="right")
    table.add_column("status")
    newest_last = sorted(played.statement_orders, key=lambda order: str(order["number"]))
    for order in newest_last[:_MOST_ORDERS]:
        table.add_row(
            order["number"],
            _moment(order["placed_at"]),
            order["attribution"]["outcome"],
            amount_text(taken_back[order["id"]]) if taken_back[order["id"]] else "",
            amount_text(per_order[order["id"]]),
            statuses.get(order["id"], "no money"),
        )
    rest = newest_last[_MOST_ORDERS:]
    if rest:
        back, earned = (sum(sums[order["id"]] for order in rest) for sums in (taken_back, per_order))
        table.add_row("", f"and {len(rest)} more", "", amount_text(back) if back else "", amount_text(earned), "")
    console.print(table)
    console.print()
    totals = Table.grid(padding=(0, 2))
    totals.add_column()
    totals.add_column(justify="right")
    available = sum(b["amount"] for b in played.statement_balances if b["account"].endswith(":available"))
    pending = sum(b["amount"] for b in played.statement_balances if b["account"].endswith(":pending"))
    totals.add_row("  earned by sales", amount_text(by_kind["sale"]))
    totals.add_row("  taken back by refunds", amount_text(by_kind["refund"]))
    totals.add_row("  paid out", amount_text(by_kind["payout_paid"]))
    totals.add_row("  [bold]left: available[/]", f"[bold]{amount_text(available)}[/]")
    totals.add_row("  [bold]left: pending[/]", f"[bold]{amount_text(pending)}[/]")
    console.print(totals)
    if available < 0:
        console.print(f"\n{AINA.name} owes this much for what came back after the payout: the next one is netted.")


def plain_table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold cyan")


def named(text: str, shop: Shop) -> str:
    """An account or id with names in place of ids."""
    for id_, name in shop.names.items():
        text = text.replace(id_, name)
    return text


def _candidates(order: Json, shop: Shop) -> Table:
    table = plain_table()
    for name in ("time (UTC)", "what", "creator", "verdict"):
        table.add_column(name)
    for candidate in sorted(order["attribution"]["candidates"], key=lambda each: str(each["occurred_at"])):
        source = candidate["link_id"] or candidate["campaign_id"] or candidate["coupon_id"]
        reason = _REASONS.get(candidate["reason"], "")
        verdict = f"[bold green]{candidate['reason']}[/]" if candidate["accepted"] else candidate["reason"]
        table.add_row(
            _moment(candidate["occurred_at"], precise=True),
            f"{candidate['kind']}, {named(source or '', shop)}",
            shop.names.get(candidate["creator_id"], candidate["creator_id"]),
            f"{verdict}: {reason}" if reason else verdict,
        )
    return table


def _lines(order: Json, shop: Shop) -> Table:
    table = plain_table()
    table.add_column("line", no_wrap=True)
    table.add_column("rule")
    for name in ("base", "came back", "platform", "creator", "payment", "seller"):
        table.add_column(name, justify="right")
    for line in order["lines"]:
        table.add_row(
            f"{line['quantity']} x {shop.names.get(line['sku_id'], line['sku_id'])}",
            _rule(line["rule"], order, shop),
            *(
                amount_text(line[part]["amount"])
                for part in (
                    "subtotal",
                    "refunded",
                    "platform_fee",
                    "creator_commission",
                    "payment_fee",
                    "seller_take",
                )
            ),
        )
    table.add_section()
    split = order["split"]
    table.add_row(
        "order",
        "",
        amount_text(order["subtotal"]["amount"]),
        amount_text(order["refunded"]["amount"]),
        *(
            amount_text(split[part]["amount"])
            for part in ("platform_fee", "creator_commission", "payment_fee", "seller_take")
        ),
    )
    return table


def _rule(rule: Mapping[str, Any] | None, order: Json, shop: Shop) -> str:
    """The rule's terms: the one of its scope that is made for the credited creator, else the general one."""
    if rule is None:
        return "none"
    creator = shop.names.get(order["attribution"]["creator_id"])
    matching = [known for known in RULES if known.scope == rule["scope"] and _is_for(known, creator)]
    matching.sort(key=lambda known: known.creator is None)
    terms = matching[0] if matching else None
    if terms is None:
        return str(rule["scope"])
    worth = f"{(terms.rate_bps or 0) / 100:g}%" if terms.fixed is None else f"{amount_text(terms.fixed)} a unit"
    return f"{rule['scope']} {worth}" + (f" ({terms.creator.handle})" if terms.creator else "")


def _is_for(rule: Rule, handle: str | None) -> bool:
    return rule.creator is None or rule.creator.handle == handle


def _journals(entries: Sequence[Json], shop: Shop) -> Table:
    table = plain_table()
    for name in ("effective (UTC)", "journal", "account"):
        table.add_column(name, no_wrap=True, min_width=_ACCOUNT if name == "account" else None)
    table.add_column("purpose")
    table.add_column(CURRENCY, justify="right", no_wrap=True)
    journals: dict[str, dict[tuple[str, str], int]] = defaultdict(lambda: defaultdict(int))
    heads: dict[str, tuple[str, str]] = {}
    for entry in entries:
        heads[entry["journal_id"]] = (entry["effective_at"], entry["kind"])
        journals[entry["journal_id"]][entry["account"], entry["purpose"]] += entry["amount"]
    for journal_id, legs in journals.items():
        when, kind = heads[journal_id]
        for index, ((account, purpose), amount) in enumerate(legs.items()):
            head = (_moment(when), kind.replace("_", " ")) if index == 0 else ("", "")
            table.add_row(*head, named(account, shop), purpose.replace("_", " "), amount_text(amount))
        table.add_section()
    return table


def _moment(text: str, *, precise: bool = False) -> str:
    moment = datetime.fromisoformat(text)
    return f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03}" if precise else f"{moment:%Y-%m-%d %H:%M:%S}"


def _amount(money: Mapping[str, Any]) -> str:
    return f"{money['currency']} {amount_text(money['amount'])}"


def amount_text(amount: int) -> str:
    """Minor units of the story's currency in major ones, without the currency."""
    exponent = currency_exponent(CURRENCY)
    return f"{Decimal(amount).scaleb(-exponent):,.{exponent}f}"
