"""Verification derives disputes, tender, stated fees and settlements again, and finds what was changed of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from tests.projections.test_audit import found, position_of, verified
from tests.projections.world import AINA, CALLER, MONDAY, STORE, World

from colink.adapters.postgres import migrations
from colink.application import settlements
from colink.application.clear_order import ClearOrder
from colink.application.record_order import StandaloneFacts
from colink.application.settlements import RecordSettlement
from colink.domain.audit.report import Kind, Pass
from colink.domain.facts import Dispute, DisputeKind, DisputeStatus, FeeKind, OrderFacts, Tender
from colink.domain.settlements import SettledFee
from colink.domain.snapshots import TransactionStatus

pytestmark = pytest.mark.anyio

MIGRATIONS = Path(migrations.__path__[0]) / "sql"
ORDER = f"ord_{STORE}.1"
OPENED = MONDAY + timedelta(hours=1)


async def tell(world: World, facts: OrderFacts, *, number: int = 1) -> None:
    await world.tell(StandaloneFacts(order_external_id=str(number), facts=facts))


def dispute(status: DisputeStatus, *, fee: Decimal | None = None) -> OrderFacts:
    told = Dispute(
        dispute_id="d1",
        kind=DisputeKind.CHARGEBACK,
        status=status,
        amount=Decimal("77.77"),
        initiated_at=OPENED,
        withdrawn_at=OPENED,
        closed_at=OPENED + timedelta(days=9) if status is DisputeStatus.WON else None,
        fee=fee,
        currency="MYR",
    )
    return OrderFacts(disputes=(told,))


async def settle(world: World, *fees: SettledFee, reference: str = "po_1") -> None:
    await world.commerce.submit(
        RecordSettlement(
            caller=CALLER,
            store=world.store,
            reference=reference,
            currency="MYR",
            gross=10_000,
            fee=2_500,
            settled_at=MONDAY,
            fees=fees,
        )
    )


async def a_disputed_business(world: World) -> None:
    """A card paid part of order 1, which is disputed and won, and a statement shows what it cost; the fee of order 3
    waits for it."""
    card = Tender(transaction_id="t1", amount=Decimal("20.00"), status=TransactionStatus.SUCCESS, processed_at=MONDAY)
    await tell(world, OrderFacts(tenders=(card,)))
    await world.order(1, 10_000, 5_000, creator=AINA)
    await world.order(2, 4_000, creator=AINA)
    await tell(world, dispute(DisputeStatus.UNDER_REVIEW, fee=Decimal(15)))
    await settle(
        world,
        SettledFee(order_external_id="1", kind=FeeKind.PAYMENT, amount=333),
        SettledFee(order_external_id="1", kind=FeeKind.DISPUTE, amount=1600),
        SettledFee(order_external_id="3", kind=FeeKind.PAYMENT, amount=77),
    )
    await world.order(3, 900, creator=None)
    await tell(world, dispute(DisputeStatus.WON))
    world.clock.time = datetime(2026, 5, 1, tzinfo=UTC)
    for number in (1, 2, 3):
        await world.commerce.submit(ClearOrder(caller=CALLER, order_id=f"ord_{STORE}.{number}"))


async def change(world: World, position: int, old: str, new: str) -> None:
    statement = f"UPDATE colink.events SET payload = replace(payload, '{old}', '{new}') WHERE position = {position}"
    before = await world.rows("SELECT payload FROM colink.events WHERE position = %s", position)
    assert world.tamper_with_log(statement) == [1]
    assert await world.rows("SELECT payload FROM colink.events WHERE position = %s", position) != before


async def test_a_disputed_business_is_clean(world: World) -> None:
    await a_disputed_business(world)
    report = await verified(world)
    assert report.findings == []
    kinds = await world.rows("SELECT DISTINCT kind FROM colink.entries ORDER BY kind")
    assert {"dispute_fee", "settlement", "refund", "cash_refund", "clearing"} <= {kind for (kind,) in kinds}


@pytest.mark.parametrize(
    ("nth", "old", "new"),
    [
        (1, '"amount":"77.77"', '"amount":"66.77"'),
        (1, '"fee":"15"', '"fee":"14"'),
        (2, '"amount":333', '"amount":332'),
        (3, '"status":"won"', '"status":"lost"'),
    ],
    ids=["disputed", "its fee", "stated fee", "how it ended"],
)
async def test_a_fact_that_was_changed_leads_to_another_split(world: World, nth: int, old: str, new: str) -> None:
    await a_disputed_business(world)
    fact = await position_of(world, "order.facts_recorded", nth=nth)
    rows = await world.rows(
        "SELECT position FROM colink.events WHERE topic = 'order.split' AND stream_id = %s AND position > %s"
        " ORDER BY position",
        ORDER,
        fact,
    )
    await change(world, fact, old, new)
    findings = [each for each in (await verified(world)).findings if each.kind is Kind.DERIVED_DIFFERENTLY]
    assert rows[0][0] in {each.position for each in findings}
    assert min(each.position for each in findings) == rows[0][0]


async def test_tender_that_was_changed(world: World) -> None:
    await a_disputed_business(world)
    await change(world, await position_of(world, "order.facts_parked"), '"amount":"20.00"', '"amount":"10.00"')
    findings = [each for each in (await verified(world)).findings if each.kind is Kind.DERIVED_DIFFERENTLY]
    assert min(each.position for each in findings) == await position_of(world, "order.split")


async def test_a_settlement_that_was_changed_has_another_journal(world: World) -> None:
    await a_disputed_business(world)
    settled = await position_of(world, "settlement.recorded")
    await change(world, settled, '"gross":10000', '"gross":9000')
    findings = found(await verified(world))
    assert (Pass.DERIVATION, Kind.DERIVED_DIFFERENTLY, settled + 1) in findings
    assert (Pass.DOCUMENTS, Kind.CHANGED, settled) in findings


async def test_a_fee_that_was_stated_and_never_told_and_one_told_and_never_stated(world: World) -> None:
    await a_disputed_business(world)
    settled = await position_of(world, "settlement.recorded")
    parked = await position_of(world, "order.facts_parked", nth=2)
    await change(world, settled, '"amount":77', '"amount":78')
    findings = found(await verified(world))
    assert (Pass.DERIVATION, Kind.MISSING, settled) in findings
    assert (Pass.DERIVATION, Kind.EXTRA, parked) in findings


async def test_settlements_of_before_disputes_could_be_named_verify_and_their_rows_say_so(world: World) -> None:
    """As version 1 of their events was stored, and version 2 of what they told orders; then the migration of rows."""
    await a_disputed_business(world)
    _, _, update = (MIGRATIONS / "0015_fees_of_disputes.sql").read_text().partition("\n\n")
    named = ',"dispute_id":null'
    assert world.tamper_with_log(
        "UPDATE colink.events SET schema_version = 1, payload ="
        f" replace(replace(payload, '{named}', ''), ',\"class_version\":2', '') WHERE topic = 'settlement.recorded'",
        "UPDATE colink.events SET schema_version = 2, payload ="
        f" replace(replace(payload, '{named}', ''), '\"class_version\":3', '\"class_version\":2')"
        " WHERE topic LIKE 'order.facts_%'",
    ) == [1, 5]
    world.tamper(f"UPDATE colink.documents SET body = replace(body, '{named}', '') WHERE kind = 'settlement'", update)
    report = await verified(world)
    assert report.findings == []
    assert report.result(Pass.DOCUMENTS).checked > 0


async def test_a_settlements_journal_that_follows_from_none(world: World) -> None:
    await a_disputed_business(world)
    journal = await position_of(world, "settlement.recorded") + 1
    world.tamper_with_log(
        f"UPDATE colink.events SET stream_id = 'jrn_stl_{STORE}.po_9.settled',"
        f" payload = replace(payload, 'po_1', 'po_9') WHERE position = {journal}"
    )
    findings = found(await verified(world))
    assert (Pass.DERIVATION, Kind.EXTRA, journal) in findings
    assert (Pass.DERIVATION, Kind.MISSING, journal - 1) in findings


def back(amount: int, *, kind: FeeKind = FeeKind.DISPUTE, dispute_id: str | None = None) -> SettledFee:
    return SettledFee(order_external_id="1", kind=kind, amount=-amount, dispute_id=dispute_id)


def believe_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a program that forgot to ask what was taken before."""
    monkeypatch.setattr(settlements, "check_gives_back_no_more_than_was_taken", lambda *_: None)


@pytest.mark.parametrize(
    ("fee", "too_much"),
    [
        (back(1_600), False),
        (back(1_601), True),
        (back(333, kind=FeeKind.PAYMENT), False),
        (back(334, kind=FeeKind.PAYMENT), True),
        (back(1_600, dispute_id="d1"), False),
        (back(1_601, dispute_id="d1"), True),
    ],
)
async def test_a_settlement_that_gives_back_a_fee_that_nobody_took(
    world: World, monkeypatch: pytest.MonkeyPatch, fee: SettledFee, too_much: bool
) -> None:
    await a_disputed_business(world)
    believe_statements(monkeypatch)
    await settle(world, fee, reference="po_2")
    position = await position_of(world, "settlement.recorded", nth=2)
    expected = {(Pass.DERIVATION, Kind.OVERDRAWN, position)} if too_much else set()
    assert found(await verified(world)) == expected
    assert found(await verified(world, from_position=position)) == expected
    # What was taken only later is not there to be given back.
    await settle(world, SettledFee(order_external_id="1", kind=fee.kind, amount=2_000), reference="po_3")
    assert found(await verified(world)) == expected


async def test_a_settlement_of_a_program_that_did_not_ask_what_was_taken_is_not_accused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 1 of the event was recorded before anybody asked."""
    await a_disputed_business(world)
    believe_statements(monkeypatch)
    await settle(world, back(100_000), reference="po_2")
    position = await position_of(world, "settlement.recorded", nth=2)
    assert found(await verified(world)) == {(Pass.DERIVATION, Kind.OVERDRAWN, position)}
    for old, new in ((',"dispute_id":null', ""), (',"class_version":2', "")):
        await change(world, position, old, new)
    world.tamper_with_log(f"UPDATE colink.events SET schema_version = 1 WHERE position = {position}")
    assert (await verified(world)).findings == []
