"""The promise: what only deliveries tell is told by a delivery that is kept, by each once, or it is found.

What was never delivered is recorded here as somebody would who has a program of his own: by the command, so that all
else is as it should be.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal

import pytest
from tests.adapters.stores.shopify_bodies import a_refund, an_order
from tests.projections.test_audit import position_of, verified
from tests.projections.test_audit_beside_the_log import deliver, of_inbox, subjects
from tests.projections.test_audit_of_facts import settle
from tests.projections.world import CALLER, MONDAY, STORE, World

from colink.application.ports import Caller
from colink.application.record_order import News, RecordOrder, StandaloneFacts, StandaloneRefund
from colink.cli.shopify_traffic import encoded
from colink.domain.audit.report import Kind, Pass, Status
from colink.domain.facts import Dispute, DisputeKind, DisputeStatus, FeeKind, OrderFacts, Tender
from colink.domain.settlements import SettledFee
from colink.domain.snapshots import Refund, TransactionStatus

pytestmark = pytest.mark.anyio


def a_refund_of(order: str, *, body_digest: str | None = None) -> StandaloneRefund:
    """All of it is given back, without lines."""
    refund = Refund(
        refund_id="made up",
        processed_at=MONDAY,
        lines=(),
        amount_only=Decimal("142.30"),
        transactions=(),
        detail=0,
        digest="0" * 64,
        currency="MYR",
    )
    return StandaloneRefund(order_external_id=order, refund=refund, body_digest=body_digest)


def a_gift_card() -> StandaloneFacts:
    tender = Tender(transaction_id="t1", amount=Decimal(100), status=TransactionStatus.SUCCESS, processed_at=MONDAY)
    return StandaloneFacts(order_external_id="4507", facts=OrderFacts(tenders=(tender,)))


def a_chargeback(order: str) -> StandaloneFacts:
    told = Dispute(
        dispute_id="d1",
        kind=DisputeKind.CHARGEBACK,
        status=DisputeStatus.NEEDS_RESPONSE,
        amount=Decimal(100),
        initiated_at=MONDAY,
        withdrawn_at=MONDAY,
    )
    return StandaloneFacts(order_external_id=order, facts=OrderFacts(disputes=(told,)))


async def make_up(world: World, news: News, caller: Caller = CALLER) -> None:
    await world.commerce.submit(RecordOrder(caller=caller, store=world.store, news=news))


def webhook(delivery_id: str) -> Caller:
    return Caller(actor=f"webhook:{STORE}", correlation_id=of_inbox(delivery_id))


@pytest.mark.parametrize(
    ("news", "event"),
    [
        (a_refund_of("4507"), "order.refund_recorded"),
        (a_refund_of("4507", body_digest="0" * 64), "order.refund_recorded"),
        (a_refund_of("99"), "order.refund_parked"),
        (a_gift_card(), "order.facts_recorded"),
        (a_chargeback("4507"), "order.facts_recorded"),
        (a_chargeback("99"), "order.facts_parked"),
    ],
    ids=[
        "refund",
        "refund with a digest",
        "refund before its order",
        "gift card",
        "dispute",
        "dispute before its order",
    ],
)
@pytest.mark.parametrize("version", ["today's", "the first"])
async def test_what_no_delivery_told(
    world: World, news: StandaloneRefund | StandaloneFacts, event: str, version: str
) -> None:
    """No version of the program took such things in otherwise."""
    await deliver(world, "orders/paid", an_order(code="AINA"), id_="wh.1")
    await make_up(world, news)
    if version == "the first":
        without = "regexp_replace(payload, ',\"(body_digest|class_version)\":[^}]*}$', '}')"
        assert world.tamper_with_log(
            f"UPDATE colink.events SET schema_version = 1, payload = {without} WHERE topic = '{event}'"
        ) == [1]
    order_id = f"ord_{STORE}.{news.order_external_id}"
    assert await subjects(world) == {(Kind.MISSING, await position_of(world, event), order_id)}


async def test_what_names_a_delivery_that_never_came(world: World) -> None:
    await deliver(world, "orders/paid", an_order(code="AINA"), id_="wh.1")
    await make_up(world, a_refund_of("4507", body_digest="0" * 64), webhook("wh.2"))
    refunded = await position_of(world, "order.refund_recorded")
    assert await subjects(world) == {(Kind.MISSING, refunded, of_inbox("wh.2"))}


@pytest.mark.parametrize("in_between", [True, False], ids=["later", "at once"])
async def test_what_names_a_delivery_that_told_something_else(world: World, in_between: bool) -> None:
    body = an_order(code="AINA")
    digest = hashlib.sha256(encoded(body)).hexdigest()
    await deliver(world, "orders/paid", body, id_="wh.1")
    if in_between:
        await deliver(world, "orders/paid", an_order(order_id=4508), id_="wh.2")
    await make_up(world, a_refund_of("4507", body_digest=digest), webhook("wh.1"))
    refunded = await position_of(world, "order.refund_recorded")
    seen = await subjects(world)
    assert (Kind.EXTRA, refunded, of_inbox("wh.1")) in seen
    if in_between:
        assert len(seen) == 1
        before = await verified(world, to_position=refunded - 1)
        assert before.findings == []
    else:  # the delivery names an event that was not the last it led to, besides
        assert {kind for kind, *_ in seen} == {Kind.EXTRA, Kind.CHANGED}


@pytest.mark.parametrize("size", [1, 2, 3, 5])
async def test_deliveries_verify_from_anywhere_to_anywhere(world: World, size: int) -> None:
    await deliver(world, "refunds/create", a_refund(), id_="wh.1")
    await deliver(world, "orders/paid", an_order(code="AINA"), id_="wh.2")
    await world.tell(a_chargeback("4507"))
    await settle(world, SettledFee(order_external_id="4507", kind=FeeKind.PAYMENT, amount=250))
    await settle(world, SettledFee(order_external_id="99", kind=FeeKind.PAYMENT, amount=250), reference="po_2")
    report = await verified(world)
    assert (report.findings, report.result(Pass.INBOX).status) == ([], Status.PASSED)
    assert report.result(Pass.INBOX).checked == 3
    for first in range(1, report.head + 1, size):
        part = await verified(world, from_position=first, to_position=min(first + size, report.head))
        assert part.result(Pass.INBOX).findings == []
