"""The money of an order as of one moment: who is owed what, line by line. Semantics sections 2 (refunds), 4 and 5.

Data flow: snapshots and refunds known at the moment -> what of each line is reversed -> platform fee, commission,
payment fee -> what is owed (N) to each payee per line, what of it is held for the buyer, and the other accounts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from colink.simulation.model.amounts import half_even, shared_out

Facts = dict[str, Any]
ClaimKey = tuple[str | None, str]
"""Line (None: no line) and payee."""


def reversed_parts(
    lines: Sequence[Facts],
    refunds: Sequence[Facts],
    *,
    taxes_included: bool,
    all_of_it: bool,
    disputed: int,
    left_of_cash: int,
) -> list[int]:
    """What of each line's base is reversed. `disputed`: taken by a dispute; `left_of_cash`: collected less what was
    refunded."""
    if all_of_it:
        return [line["base"] for line in lines]
    left = {line["id"]: line["base"] for line in lines}
    units_refunded: dict[str, int] = {}
    for refund in refunds:
        for line_id, quantity, _, _ in refund["lines"]:
            units_refunded[line_id] = units_refunded.get(line_id, 0) + quantity
    for line in lines:
        if line["current"] is not None and line["quantity"]:
            gone = line["quantity"] - line["current"] - units_refunded.get(line["id"], 0)
            if gone > 0:
                left[line["id"]] -= min(half_even(line["base"] * gone, line["quantity"]), left[line["id"]])
    for line in lines:
        if line["no_base"]:
            del left[line["id"]]  # what is no base, such as a tip, takes none with it when it is given back
    pool = sum(_taken_from_own_lines(refund, left, taxes_included=taxes_included) for refund in refunds)
    pool += sum(refund["amount_only"] for refund in refunds if not _all_failed(refund))
    remaining = [left.get(line["id"], 0) for line in lines]
    remaining = _without(min(pool, sum(remaining)), remaining)
    if disputed:
        all_left = sum(remaining)
        share = half_even(disputed * all_left, left_of_cash) if left_of_cash > 0 else all_left
        remaining = _without(min(share, all_left), remaining)
    return [line["base"] - rest for line, rest in zip(lines, remaining, strict=True)]


def _without(amount: int, remaining: Sequence[int]) -> list[int]:
    return [rest - part for rest, part in zip(remaining, shared_out(amount, remaining), strict=True)]


def _taken_from_own_lines(refund: Facts, left: dict[str, int], *, taxes_included: bool) -> int:
    """Lowers what is left of the refund's lines; returns what did not fit into them."""
    excess = 0
    for line_id, _, subtotal, tax in refund["lines"]:
        if line_id in left:
            amount = subtotal - (tax if taxes_included else 0)
            taken = min(amount, left[line_id])
            left[line_id] -= taken
            excess += amount - taken
    own = {told[0] for told in refund["lines"]}
    for line_id, rest in left.items():  # in line order
        if line_id in own:
            taken = min(excess, rest)
            left[line_id] = rest - taken
            excess -= taken
    return excess


def _all_failed(refund: Facts) -> bool:
    statuses = [status for status, _ in refund["transactions"].values()]
    return bool(statuses) and all(status in {"failure", "error"} for status in statuses)


def cash_refunded(refunds: Sequence[Facts]) -> int:
    return sum(
        amount for refund in refunds for status, amount in refund["transactions"].values() if status == "success"
    )


def money_at(
    snapshots: Sequence[Facts],
    refunds: Sequence[Facts],
    *,
    terms: Facts,
    creator: str | None,
    rule_of: Callable[[Facts], Facts | None],
    gift_cards: int = 0,
    dispute: tuple[str, int] = ("none", 0),
    stated_fee: int | None = None,
    dispute_fee: int | None = None,
) -> Facts | None:
    """None where nothing was paid in full. `terms`: organization, fee_bps, keeps_fee, fee_rate_bps, fee_fixed,
    platform_collected, store. `rule_of` a line: `{id, rate_bps | fixed}`, None for no commission. In what comes back,
    `held` is what the buyer is owed, before any release; `billed` says by line what a seller who collects himself is
    posted of the sale and of refunds."""
    paid = [each for each in snapshots if each["paid_in_full"]]
    if not paid:
        return None
    carrying = paid[-1]
    lines, collected = carrying["lines"], max(max(each["total"] for each in paid) - gift_cards, 0)
    over = snapshots[-1]["gone"] or carrying["status"] == "refunded"
    refunded = cash_refunded(refunds)
    disputed = dispute[1] if dispute[0] == "counts" else 0
    reversed_ = reversed_parts(
        lines,
        refunds,
        taxes_included=carrying["taxes_included"],
        all_of_it=over,
        disputed=disputed,
        left_of_cash=collected - refunded,
    )
    bases = [line["base"] for line in lines]
    fees = shared_out(half_even(sum(bases) * terms["fee_bps"], 10_000), bases)
    rules = [rule_of(line) if creator else None for line in lines]
    commissions = _commissions(lines, bases, fees, rules)
    payment_fee = half_even(collected * terms["fee_rate_bps"], 10_000) + terms["fee_fixed"] if collected else 0
    if stated_fee is not None:
        payment_fee = stated_fee
    payment_fees, without_line = _payment_fees(payment_fee, bases)
    cash = refunded + disputed
    owed: dict[ClaimKey, int] = {}
    billed: dict[tuple[str, str], int] = {}
    seller = terms["organization"]
    shown, fee_earned, commission_earned = {}, 0, 0
    for n, line in enumerate(lines):
        base, gone = bases[n], reversed_[n]
        fee_back = half_even(fees[n] * gone, base) if base and not terms["keeps_fee"] else 0
        commission_back = half_even(commissions[n] * gone, base) if base else 0
        fee, commission = fees[n] - fee_back, commissions[n] - commission_back
        take = base - gone - fee - commission - payment_fees[n]
        fee_earned += fee
        commission_earned += commission
        shown[line["id"]] = (base, gone, fee, commission, payment_fees[n], take)
        if creator:
            owed[line["id"], creator] = commission
        if terms["platform_collected"]:
            owed[line["id"], seller] = take
        else:
            billed["sale", line["id"]] = -fees[n] - commissions[n]
            billed["refund", line["id"]] = fee_back + commission_back
    others = {"platform:revenue": fee_earned}
    held: dict[ClaimKey, int] = {}
    if terms["platform_collected"]:
        passed = collected - sum(bases) + sum(reversed_) - cash - without_line
        pass_through: ClaimKey = (None, seller)
        owed[pass_through] = passed
        held[pass_through] = max(passed if over else min(passed, sum(reversed_) - cash), 0)
        charged = dispute_fee or 0
        others[f"store:{terms['store']}:clearing"] = cash - collected + charged
        others[f"payee:{seller}:available"] = -charged
        others["processor:shopify:fees"] = payment_fee
    else:
        others[f"seller:{seller}:receivable"] = -fee_earned - commission_earned
    return {
        "owed": owed,
        "held": held,
        "others": others,
        "billed": billed,
        "lines": shown,
        "rules": {line["id"]: rule for line, rule in zip(lines, rules, strict=True)},
        "collected": collected,
        "cash": cash,
    }


def _commissions(
    lines: Sequence[Facts], bases: Sequence[int], fees: Sequence[int], rules: Sequence[Facts | None]
) -> list[int]:
    """Rates on the sum of the lines that share a rule version; fixed amounts line by line."""
    commissions = [0] * len(lines)
    for rule in {rule["id"]: rule for rule in rules if rule is not None}.values():
        own = [n for n, each in enumerate(rules) if each is not None and each["id"] == rule["id"]]
        if rule["rate_bps"] is None:
            for n in own:
                commissions[n] = max(min(lines[n]["quantity"] * rule["fixed"], bases[n] - fees[n]), 0)
            continue
        total = half_even(sum(bases[n] for n in own) * rule["rate_bps"], 10_000)
        if rule["cap"] is not None:
            total = min(total, rule["cap"])
        for n, part in zip(own, shared_out(total, [bases[n] for n in own]), strict=True):
            commissions[n] = part
    return commissions


def _payment_fees(total: int, bases: Sequence[int]) -> tuple[list[int], int]:
    """The fee of each line, and what has no line to go to."""
    if sum(bases):
        return shared_out(total, bases), 0
    if bases:
        return [total, *[0] * (len(bases) - 1)], 0
    return [], total
