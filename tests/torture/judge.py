"""What must hold of a machine after whatever happened to it, judged by what its clients were told (load.Answers)."""

from __future__ import annotations

import sqlite3
import time

import httpx
from tests.torture.load import Answers
from tests.torture.machine import PATIENCE, Machine
from tests.torture.shop import BASE, COMMISSION, PLATFORM_FEE, Shop

_BALANCES = "select account, currency, amount, debits, credits, credited, version, position from colink.balances"
_FOLDED = """
    select account, currency, sum(amount), coalesce(sum(amount) filter (where amount < 0), 0),
           coalesce(sum(amount) filter (where amount > 0), 0),
           coalesce(sum(amount) filter (where credited_after is not null), 0), count(*), max(position)
      from colink.entries group by account, currency
"""
_PAYOUTS = "select payout_id, amount, status from colink.payouts"


def settle(machine: Machine) -> None:
    """Wait until the worker has nothing left to do: reports caught up, orders cleared, payouts final,
    the whole log sealed and signed."""
    deadline = time.monotonic() + PATIENCE
    while (left := _left(machine)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left, f"the worker does not finish: {left}\n{machine.words('worker')}"


def _left(machine: Machine) -> str:
    try:
        ready = httpx.get(f"{machine.url}/readyz", timeout=PATIENCE, trust_env=False)
    except httpx.TransportError as error:
        return f"no answer: {error}"
    if ready.status_code != 200:
        return ready.text
    behind = [one for one in ready.json()["projections"] if one["lag"] or one["parked"]]
    if behind:
        return f"projections behind: {behind}"
    due = machine.value("select count(*) from colink.orders where clears_at <= now()")
    if due:
        return f"{due} orders to clear"
    unsealed = machine.value("select (select position from colink.log_head) - max(tree_size) from colink.checkpoints")
    if unsealed != 0:
        return f"{unsealed} events without a signed checkpoint"
    open_payouts = [row for row in machine.rows(_PAYOUTS) if row[2] != "paid"]
    return f"payouts not paid: {open_payouts[:3]}" if open_payouts else ""


def judge(machine: Machine, shop: Shop, answers: Answers) -> None:
    """Every answered command is there exactly once, unanswered ones at most once, and everything adds up."""
    assert answers.findings == []
    _log_is_sound(machine)
    _deliveries(machine, shop, answers)
    _clicks(machine, answers)
    _links(machine, answers)
    _payouts(machine, answers)
    code, report = machine.colink("audit", "verify")
    assert (code, report["clean"], report["findings"]) == (0, True, [])


def _log_is_sound(machine: Machine) -> None:
    for table, head in (("events", "log_head"), ("tracking_events", "tracking_head")):
        count, last, at_head = machine.rows(
            f"select count(*), coalesce(max(position), 0), (select position from colink.{head}) from colink.{table}"
        )[0]
        assert count == last == at_head, f"positions of {table} have gaps"
    assert sorted(machine.rows(_BALANCES)) == sorted(machine.rows(_FOLDED))
    assert machine.rows("select currency from colink.entries group by currency having sum(amount) <> 0") == []
    keys = "select scope, key from colink.idempotency_keys group by scope, key having count(*) > 1"
    assert machine.rows(keys) == []


def _deliveries(machine: Machine, shop: Shop, answers: Answers) -> None:
    """What was told to be kept is kept; and money moved once for each order that is kept, by the shop's own sums."""
    kept = {delivery_id for (delivery_id,) in machine.rows("select delivery_id from colink.inbox")}
    assert answers.deliveries <= kept
    orders = {name.removeprefix("order-") for name in kept if name.startswith("order-")}
    refunds = {name.removeprefix("refund-") for name in kept if name.startswith("refund-")}
    alive = len(orders - refunds)
    assert _sum(machine, "account = 'platform:revenue'") == alive * PLATFORM_FEE
    assert _sum(machine, "payee_id = %s", shop.creator_id) == alive * COMMISSION - _paid(machine, shop.creator_id)
    assert _sum(machine, "account = %s", f"store:{shop.store_id}:clearing") == -alive * BASE


def _sum(machine: Machine, where: str, *values: object) -> int:
    return int(machine.value(f"select coalesce(sum(amount), 0)::bigint from colink.entries where {where}", *values))


def _paid(machine: Machine, payee_id: str) -> int:
    query = "select coalesce(sum(amount), 0)::bigint from colink.payouts where status = 'paid' and payee_id = %s"
    return int(machine.value(query, payee_id))


def _clicks(machine: Machine, answers: Answers) -> None:
    """A redirect has no identity before its answer, so those without one are only counted."""
    recorded = [stream for (stream,) in machine.rows("select stream_id from colink.tracking_events")]
    assert len(recorded) == len(set(recorded)) <= answers.tried["click"]
    assert answers.clicks <= set(recorded)


def _links(machine: Machine, answers: Answers) -> None:
    query = "select body::jsonb->>'destination', id from colink.documents where kind = 'link' and current"
    made: dict[str, list[str]] = {}
    for destination, link_id in machine.rows(query):
        made.setdefault(f"link-{destination.rpartition('/')[2]}", []).append(link_id)
    assert all(len(ids) == 1 for ids in made.values())
    assert {key: made.get(key) for key in answers.links} == {key: [id_] for key, id_ in answers.links.items()}


def _payouts(machine: Machine, answers: Answers) -> None:
    """Each payout belongs to one key, none to a key that was refused, and the provider has each of them once."""
    payouts = {id_: amount for id_, amount, _ in machine.rows(_PAYOUTS)}
    keys = dict(
        machine.rows("select key, answer::jsonb->>'id' from colink.idempotency_keys where key like 'payout-%%'")
    )
    assert sorted(keys.values()) == sorted(payouts)
    assert {key: keys.get(key) for key in answers.payouts} == answers.payouts
    assert not answers.payouts_refused & set(keys)
    book = machine.data_dir / "sandbox" / "book.sqlite"
    with sqlite3.connect(f"file:{book}?mode=ro", uri=True) as connection:
        paid = connection.execute("select metadata_payout, amount from payouts").fetchall()
    assert sorted(paid) == sorted(payouts.items())
