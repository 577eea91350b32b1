"""An auditor follows money both ways: from an order to the payout it went into, and from a payout, an entry or a
position back to the order, its events and the deliveries that told of it."""

from __future__ import annotations

import importlib
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest
from tests.projections.world import AINA, CALLER, MONDAY, STORE, World

from colink.application.clear_order import ClearOrder
from colink.application.deliveries import inbox_id
from colink.application.ports import Caller, Delivery, DeliveryStatus
from colink.domain.aggregates import Event
from colink.domain.errors import NotFound
from colink.domain.payout_accounts import PayoutAccountDetails, Rail
from colink.domain.payout_funds import Funds
from colink.domain.payout_journals import journals_of
from colink.domain.payouts import Payout, PayoutChanged, PayoutRequested
from colink.domain.snapshots import OrderSnapshot
from colink.projections.audit import Trace, trace, verify
from colink.projections.audit.trace import TraceKind

pytestmark = pytest.mark.anyio

tracing = importlib.import_module("colink.projections.audit.trace")  # its package has a function of that name
FIRST, SECOND = f"ord_{STORE}.1", f"ord_{STORE}.2"


async def traced(world: World, subject: str) -> Trace:
    async with world.pool.connection() as conn:
        return await trace(conn, subject)


async def a_paid_creator(world: World) -> None:
    """Order 1 came by a delivery, both orders cleared, and the commission of order 1 (15.00) is reserved."""
    command = world.snapshot_command(1, 10_000, 5_000)
    assert isinstance(command.news, OrderSnapshot)
    command = replace(
        command,
        caller=Caller(actor=f"webhook:{STORE}", correlation_id=inbox_id(STORE, "dlv-1")),
        news=replace(command.news, digest=sha256(b"{}").hexdigest()),
    )
    delivery = Delivery(
        source=STORE,
        delivery_id="dlv-1",
        topic="orders/paid",
        headers={},
        body=b"{}",
        received_at=MONDAY,
        status=DeliveryStatus.ACCEPTED,
        order_id=FIRST,
    )
    await world.commerce.submit(replace(command, delivery=delivery, delivery_key=(STORE, "dlv-1")))
    await world.order(2, 4_000)
    world.clock.time = MONDAY + timedelta(days=20)
    for order_id in (FIRST, SECOND):
        await world.commerce.submit(ClearOrder(caller=CALLER, order_id=order_id))
    await reserve(world, "pay_1", 1_500)


async def reserve(world: World, payout_id: str, amount: int) -> None:
    account = PayoutAccountDetails(
        id="pac_1", payee_id=AINA, rail=Rail.SANDBOX, currency="MYR", details=(), organization_id=None
    )
    funds = Funds(payee_id=AINA, currency="MYR", balance=1_900, version=2, credited=1_900, taken=())
    payout = Payout.request(payout_id, funds=funds, account=account, amount=amount, by="test", at=world.clock.now())
    events: list[Event] = payout.new_events()
    journals = [
        journal
        for event in list(events)
        if isinstance(event, PayoutRequested | PayoutChanged)
        for posted in journals_of(event)
        for journal in posted.new_events()
    ]
    await world.record(*events, *journals)


async def test_from_an_order_to_its_payout(world: World) -> None:
    await a_paid_creator(world)
    found = await traced(world, FIRST)
    assert found.kind is TraceKind.ORDER
    topics = [event.topic for event in found.events]
    assert topics == [
        "order.placed",
        "order.attributed",
        "order.split",
        "journal.posted",
        "order.cleared",
        "journal.posted",
    ]
    assert [(delivery.source, delivery.delivery_id) for delivery in found.deliveries] == [(STORE, "dlv-1")]
    assert sum(entry.amount for entry in found.entries) == 0
    assert [payout.payout_id for payout in found.payouts] == ["pay_1"]
    assert (await traced(world, SECOND)).payouts == [], "its money is behind what the payout took"


async def test_from_a_payout_back_to_orders_and_deliveries(world: World) -> None:
    await a_paid_creator(world)
    found = await traced(world, "pay_1")
    assert found.kind is TraceKind.PAYOUT
    assert found.orders == [FIRST]
    assert sorted(entry.amount for entry in found.entries if entry.order_id == FIRST) == [500, 1_000]
    assert [entry.amount for entry in found.entries if entry.payout_id == "pay_1"] == [-1_500, 1_500]
    assert [delivery.delivery_id for delivery in found.deliveries] == ["dlv-1"]
    assert "payout.requested" in [event.topic for event in found.events]


async def test_from_a_pending_entry_to_the_payout_it_became(world: World) -> None:
    await a_paid_creator(world)
    [(position, ordinal)] = await world.rows(
        "SELECT position, ordinal FROM colink.entries WHERE account = %s AND amount = 1000", f"payee:{AINA}:pending"
    )
    found = await traced(world, f"ent_{position}.{ordinal}")
    assert [entry.cursor for entry in found.entries] == [(position, ordinal)]
    assert found.orders == [FIRST]
    assert [payout.payout_id for payout in found.payouts] == ["pay_1"]


async def test_an_account_and_a_position(world: World) -> None:
    await a_paid_creator(world)
    account = await traced(world, f"payee:{AINA}:available")
    assert account.orders == [FIRST, SECOND]
    assert [entry.amount for entry in account.entries] == [1_000, 500, 400, -1_500]
    position = next(event.position for event in account.events if event.topic == "journal.posted")
    event = await traced(world, str(position))
    assert (event.kind, event.subject, event.orders) == (TraceKind.EVENT, str(position), [FIRST])


async def test_from_a_delivery_a_journal_and_a_payee(world: World) -> None:
    await a_paid_creator(world)
    delivery = await traced(world, inbox_id(STORE, "dlv-1"))
    assert (delivery.kind, delivery.orders) == (TraceKind.DELIVERY, [FIRST])
    assert [payout.payout_id for payout in delivery.payouts] == ["pay_1"]
    [(journal_id,)] = await world.rows(
        "SELECT stream_id FROM colink.events WHERE topic = 'journal.posted' ORDER BY position LIMIT 1"
    )
    journal = await traced(world, journal_id)
    assert (journal.kind, journal.orders) == (TraceKind.JOURNAL, [FIRST])
    payee = await traced(world, AINA)
    assert (payee.kind, payee.orders) == (TraceKind.PAYEE, [FIRST, SECOND])
    assert [payout.payout_id for payout in payee.payouts] == ["pay_1"]


@pytest.mark.parametrize(
    "subject",
    [
        "dlv_x.y",
        "dlv_",
        "jrn_none",
        "cre_none",
        "ord_nobody",
        "999999",
        "ent_1.77",
        "ent_x",
        "payee:nobody:available",
    ],
)
async def test_what_is_not_there_is_not_found(world: World, subject: str) -> None:
    with pytest.raises(NotFound, match="nothing in the log"):
        await traced(world, subject)


async def test_what_is_cut_off_is_said_of_deliveries_and_payouts_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await a_paid_creator(world)
    await reserve(world, "pay_2", 400)
    columns = "source, topic, headers, body, received_at, recorded_at, status, answer, order_id"
    world.tamper_with_log(
        f"INSERT INTO colink.inbox (delivery_id, {columns}) SELECT 'dlv-2', {columns} FROM colink.inbox"
    )
    for limit, told in ((100, (2, False)), (2, (2, False)), (1, (1, True))):
        monkeypatch.setattr(tracing, "LIMIT", limit)
        found = Trace(subject=FIRST, kind=TraceKind.ORDER)
        async with world.pool.connection() as conn:
            assert len(await tracing._deliveries(conn, found, [FIRST])) == told[0]
        assert found.cut_off is told[1]
        shown = await traced(world, f"payee:{AINA}:in_transit")
        assert (len(shown.payouts), shown.cut_off) == told


async def test_a_payout_is_found_behind_more_than_are_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await a_paid_creator(world)
    await reserve(world, "pay_2", 400)
    places = {"pay_1": '[{"start":0,"end":1500}]', "pay_2": '[{"start":1500,"end":1900}]'}
    world.tamper(
        *(f"UPDATE colink.payouts SET stretches = '{at}' WHERE payout_id = '{id_}'" for id_, at in places.items())
    )
    found = await traced(world, SECOND)
    monkeypatch.setattr(tracing, "LIMIT", 1)
    async with world.pool.connection() as conn:
        payouts = await tracing._payouts_holding(conn, found, found.entries)
    assert [payout.payout_id for payout in payouts] == ["pay_2"]
    assert not found.cut_off


async def test_payouts_are_looked_for_of_a_payees_money_alone(world: World) -> None:
    await a_paid_creator(world)
    for subject in (FIRST, SECOND, AINA, f"payee:{AINA}:available"):
        assert (await traced(world, subject)).followed, subject
    for subject in ("rul_1", "platform:revenue", "cpn_aina"):
        assert not (await traced(world, subject)).followed, subject


async def test_verification_sees_two_payouts_of_the_same_money(world: World) -> None:
    await a_paid_creator(world)
    async with world.pool.connection() as conn:
        assert (await verify(conn, world.mapper.event)).clean
    await reserve(world, "pay_2", 400)
    async with world.pool.connection() as conn:
        report = await verify(conn, world.mapper.event)
    [(position,)] = await world.rows("SELECT created_position FROM colink.payouts WHERE payout_id = 'pay_2'")
    assert [(f.audit_pass, f.kind, f.position, f.subject) for f in report.findings] == [
        ("payouts", "overlap", position, "pay_2")
    ]
