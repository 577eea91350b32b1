"""Verification of what is kept beside the commerce log: deliveries, the tracking log and its touches, heads of terms,
answers of idempotent commands. Each thing changed behind its keeper's back is found where it is."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from tests.adapters.stores.shopify_bodies import TSHIRT, a_refund, an_order
from tests.person_keys import keys
from tests.projections.test_audit import found, position_of, verified
from tests.projections.world import AINA, BUDI, CALLER, MONDAY, ORGANIZATION, STORE, World

from colink.adapters.postgres.inbox import PostgresInbox
from colink.adapters.stores.shopify import ShopifyConnector
from colink.application.configure.organizations import RegisterOrganization
from colink.application.deliveries import Arrival, Translated, receive_delivery, replay_delivery
from colink.application.ports import Idempotency
from colink.application.store_directory import StoreAccess
from colink.cli.shopify_traffic import encoded
from colink.domain.audit.report import Kind, Pass, Status
from colink.domain.errors import InvalidInput
from colink.domain.organizations import Platform
from colink.projections.person_keys import wrapped_keys

pytestmark = pytest.mark.anyio

SHOPIFY = ShopifyConnector(pepper=b"a pepper")


class OneStore:
    """A StoreDirectory of the world's store."""

    def __init__(self, world: World) -> None:
        self._access = StoreAccess(details=world.store, webhook_secrets=())

    async def store(self, store_id: str) -> StoreAccess | None:
        return self._access if store_id == STORE else None


class NotYetUnderstood(ShopifyConnector):
    def translate(self, topic: str, body: bytes) -> Translated:
        raise InvalidInput(f"{topic} of {len(body)} bytes is more than is understood so far")


async def deliver(
    world: World,
    topic: str,
    body: dict[str, Any] | bytes,
    *,
    id_: str,
    connector: ShopifyConnector = SHOPIFY,
) -> None:
    raw = body if isinstance(body, bytes) else encoded(body)
    await world.rows("SELECT colink.adopt_person_keys(%s)", keys().fingerprint)
    arrival = Arrival(topic=topic, delivery_id=id_, headers={}, body=raw, received_at=MONDAY)
    await receive_delivery(arrival, store=world.store, connector=connector, bus=world.commerce, keys=keys)


async def deliveries(world: World) -> None:
    """A snapshot, one that tells nothing new, a refund by itself, one that is ignored, one that is rejected, and a
    snapshot of another order."""
    await deliver(world, "orders/paid", an_order(code="AINA"), id_="wh.1")
    await deliver(world, "orders/paid", an_order(code="AINA"), id_="wh.2")
    await deliver(world, "refunds/create", a_refund(), id_="wh.3")
    await deliver(world, "carts/update", {}, id_="wh.4")
    await deliver(world, "orders/paid", b"{", id_="wh.5")
    await deliver(world, "orders/paid", an_order(items=(TSHIRT,), order_id=4508), id_="wh.6")


def of_inbox(id_: str) -> str:
    return f"dlv_{STORE}.{id_.replace('.', '%2E')}"


async def subjects(world: World) -> set[tuple[Kind, int, str]]:
    """The findings of the pass `inbox`; of no other, but of keys to bodies that are gone."""
    report = await verified(world)
    others = [finding for finding in report.findings if finding.audit_pass is not Pass.INBOX]
    assert {(finding.audit_pass, finding.kind) for finding in others} <= {(Pass.PERSONAL, Kind.EXTRA)}
    found_there = report.result(Pass.INBOX).findings
    return {(finding.kind, finding.position, finding.subject) for finding in found_there}


async def test_deliveries_as_they_came_have_no_findings(world: World) -> None:
    await deliveries(world)
    assert await world.rows("SELECT delivery_id, status, position IS NULL FROM colink.inbox ORDER BY seq") == [
        ("wh.1", "accepted", False),
        ("wh.2", "accepted", True),
        ("wh.3", "accepted", False),
        ("wh.4", "ignored", True),
        ("wh.5", "rejected", True),
        ("wh.6", "accepted", False),
    ]
    report = await verified(world)
    assert report.findings == []
    assert report.clean
    assert report.result(Pass.INBOX).checked == 3


async def forge(world: World, id_: str, order_id: str) -> None:
    """Another body, sealed with the very key that sealed the first: only a digest in the log tells."""
    place = of_inbox(id_)
    async with world.pool.connection() as conn:
        [wrapped] = (await wrapped_keys(conn, [(order_id, place)])).values()
    sealed = keys().unwrapped(wrapped).seal_body(b"{}", place=place)
    [changed] = world.tamper_with_log(
        f"UPDATE colink.inbox SET body = '\\x{sealed.hex()}' WHERE delivery_id = '{id_}'"
    )
    assert changed == 1


async def test_a_changed_body(world: World) -> None:
    await deliveries(world)
    placed = await position_of(world, "order.placed", nth=2)
    await forge(world, "wh.6", f"ord_{STORE}.4508")

    assert await subjects(world) == {(Kind.CHANGED, placed, of_inbox("wh.6"))}

    report = await verified(world, to_position=placed - 1)
    assert report.clean, "what happened before is as it was"


def a_dispute(order_id: int) -> dict[str, Any]:
    told = {"type": "chargeback", "amount": "10.00", "currency": "MYR", "status": "needs_response"}
    return told | {"id": 1, "order_id": order_id, "initiated_at": MONDAY.isoformat()}


def a_payment_by_gift_card(order_id: int) -> dict[str, Any]:
    told = {"kind": "sale", "gateway": "gift_card", "status": "success", "amount": "5.00", "currency": "MYR"}
    return told | {"id": 2, "order_id": order_id, "processed_at": MONDAY.isoformat(), "test": False}


@pytest.mark.parametrize(
    ("topic", "body", "event"),
    [
        ("refunds/create", a_refund(), "order.refund_recorded"),
        ("refunds/create", a_refund(order_id=99), "order.refund_parked"),
        ("disputes/create", a_dispute(4507), "order.facts_recorded"),
        ("disputes/create", a_dispute(99), "order.facts_parked"),
        ("order_transactions/create", a_payment_by_gift_card(4507), "order.facts_recorded"),
    ],
    ids=["refund", "refund before its order", "dispute", "dispute before its order", "gift card"],
)
async def test_a_changed_body_of_what_is_told_beside_snapshots(
    world: World, topic: str, body: dict[str, Any], event: str
) -> None:
    await deliver(world, "orders/paid", an_order(), id_="wh.1")
    await deliver(world, topic, body, id_="wh.2")
    told = await position_of(world, event)
    report = await verified(world)
    assert (report.findings, report.result(Pass.INBOX).status) == ([], Status.PASSED)
    await forge(world, "wh.2", f"ord_{STORE}.{body['order_id']}")
    assert await subjects(world) == {(Kind.CHANGED, told, of_inbox("wh.2"))}


async def test_bodies_of_which_no_event_names_a_digest_are_counted_and_later_ones_must_be_named(world: World) -> None:
    """Version 1 of those events had none. What is recorded today has one, or somebody took it away."""
    await deliver(world, "orders/paid", an_order(), id_="wh.1")
    await deliver(world, "refunds/create", a_refund(), id_="wh.2")
    await deliver(world, "disputes/create", a_dispute(99), id_="wh.3")
    without = "regexp_replace(payload, ',\"body_digest\":\"[0-9a-f]*\"', '')"
    telling = "topic IN ('order.refund_recorded', 'order.facts_parked')"
    assert world.tamper_with_log(f"UPDATE colink.events SET payload = {without} WHERE {telling}") == [2]
    assert await subjects(world) == {
        (Kind.MISSING, await position_of(world, "order.refund_recorded"), of_inbox("wh.2")),
        (Kind.MISSING, await position_of(world, "order.facts_parked"), of_inbox("wh.3")),
    }
    first = "schema_version = 1, payload = regexp_replace(payload, ',\"class_version\":[0-9]+}$', '}')"
    assert world.tamper_with_log(f"UPDATE colink.events SET {first} WHERE {telling}") == [2]
    await forge(world, "wh.2", f"ord_{STORE}.4507")
    report = await verified(world)
    inbox = report.result(Pass.INBOX)
    assert (report.findings, inbox.status, inbox.checked) == ([], Status.PARTIAL, 3)
    assert inbox.reason == "of 2 bodies no event names the digest"


async def test_a_deleted_snapshot_and_a_deleted_refund(world: World) -> None:
    await deliveries(world)
    placed = await position_of(world, "order.placed")
    refunded = await position_of(world, "order.refund_recorded")
    assert world.tamper_with_log("DELETE FROM colink.inbox WHERE delivery_id IN ('wh.1', 'wh.3')") == [2]
    assert await subjects(world) == {
        (Kind.MISSING, placed, of_inbox("wh.1")),
        (Kind.MISSING, refunded, of_inbox("wh.3")),
    }


async def test_deliveries_that_name_other_events_and_orders(world: World) -> None:
    await deliveries(world)
    placed = await position_of(world, "order.placed")
    [(last,), (other_last,)] = await world.rows(
        "SELECT position FROM colink.inbox WHERE delivery_id IN ('wh.1', 'wh.6') ORDER BY seq"
    )
    world.tamper_with_log(
        "UPDATE colink.inbox SET position = position - 1 WHERE delivery_id = 'wh.1'",
        "UPDATE colink.inbox SET order_id = 'ord_none' WHERE delivery_id = 'wh.2'",
        f"UPDATE colink.inbox SET position = {placed} WHERE delivery_id = 'wh.3'",
        "UPDATE colink.inbox SET status = 'rejected' WHERE delivery_id = 'wh.6'",
    )
    assert await subjects(world) == {
        (Kind.CHANGED, last - 1, of_inbox("wh.1")),
        (Kind.DANGLING, 0, of_inbox("wh.2")),
        (Kind.CHANGED, 0, of_inbox("wh.2")),  # what it was answered says another order
        (Kind.DANGLING, placed, of_inbox("wh.3")),
        (Kind.CHANGED, await position_of(world, "order.placed", nth=2), of_inbox("wh.6")),
        (Kind.CHANGED, other_last, of_inbox("wh.6")),  # where it led to, it says it was accepted
    }


async def test_a_delivery_that_names_no_event_any_more(world: World) -> None:
    await deliveries(world)
    placed = await position_of(world, "order.placed")
    assert world.tamper_with_log("UPDATE colink.inbox SET position = NULL WHERE delivery_id = 'wh.1'") == [1]
    assert await subjects(world) == {(Kind.CHANGED, placed, of_inbox("wh.1"))}


async def test_a_delivery_that_was_read_again_is_verified_too(world: World) -> None:
    await deliver(world, "orders/paid", an_order(), id_="wh.1", connector=NotYetUnderstood(pepper=b"a pepper"))
    assert await world.rows("SELECT status FROM colink.inbox") == [("rejected",)]
    recorded = await replay_delivery(
        of_inbox("wh.1"),
        caller=CALLER,
        inbox=PostgresInbox(world.pool, keys),
        stores=OneStore(world),
        connectors={Platform.SHOPIFY: SHOPIFY},
        bus=world.commerce,
    )
    assert recorded.answer["status"] == "accepted"
    report = await verified(world)
    assert (report.findings, report.result(Pass.INBOX).checked) == ([], 1)

    placed = await position_of(world, "order.placed")
    assert world.tamper_with_log("UPDATE colink.inbox SET body = '{}'") == [1]
    assert await subjects(world) == {(Kind.CHANGED, placed, of_inbox("wh.1"))}


async def test_the_inbox_gone(world: World) -> None:
    await deliveries(world)
    world.tamper("ALTER TABLE colink.inbox RENAME TO inbox_gone")
    report = await verified(world)
    assert report.result(Pass.INBOX).status is Status.INCOMPLETE
    assert report.result(Pass.SPLIT).status is Status.PASSED
    assert not report.clean


async def three_clicks(world: World) -> None:
    for number in range(3):
        await world.touch(AINA, occurred_at=MONDAY + timedelta(minutes=number), visitor_id="vis_1")


async def test_touches_as_they_were_recorded_have_no_findings(world: World) -> None:
    await three_clicks(world)
    report = await verified(world)
    assert report.clean
    assert report.result(Pass.TRACKING).checked == 3
    part = await verified(world, to_position=2)
    assert part.result(Pass.TRACKING).status is Status.NOT_IN_RANGE


@pytest.mark.parametrize(
    ("change", "findings"),
    [
        (f"UPDATE colink.touches SET creator_id = '{BUDI}' WHERE position = 2", {(Kind.CHANGED, 2)}),
        ("UPDATE colink.touches SET occurred_at = now() WHERE position = 3", {(Kind.CHANGED, 3)}),
        ("UPDATE colink.touches SET position = 7 WHERE position = 3", {(Kind.CHANGED, 3)}),
        ("DELETE FROM colink.touches WHERE position = 1", {(Kind.MISSING, 1)}),
        (
            "INSERT INTO colink.touches VALUES ('clk_9', 'click', '', '', '', '', '', now(), '', 2, '2026-03-02')",
            {(Kind.EXTRA, 2)},
        ),
        ("DELETE FROM colink.tracking_events WHERE position = 2", {(Kind.GAP, 2), (Kind.EXTRA, 2)}),
        ("DELETE FROM colink.tracking_events WHERE position = 3", {(Kind.GAP, 3), (Kind.EXTRA, 3)}),
        ("UPDATE colink.tracking_head SET position = 2", {(Kind.HEAD_DIFFERS, 3)}),
        (
            "UPDATE colink.tracking_events SET recorded_at = recorded_at - interval '1 s' WHERE position = 2",
            {(Kind.TIME_GOES_BACK, 2), (Kind.EXTRA, 2)},
        ),
        (
            "UPDATE colink.touches SET recorded_at = recorded_at + interval '1 s' WHERE position = 2",
            {(Kind.EXTRA, 2)},
        ),
        ("UPDATE colink.tracking_events SET version = 2 WHERE position = 2", {(Kind.GAP, 2)}),
        ("UPDATE colink.tracking_events SET payload = '{' WHERE position = 2", {(Kind.UNREADABLE, 2)}),
        (
            f"UPDATE colink.tracking_events SET payload = replace(payload, '{AINA}', '{BUDI}') WHERE position = 2",
            {(Kind.CHANGED, 2)},
        ),
    ],
)
async def test_a_changed_tracking_log_or_touch(world: World, change: str, findings: set[tuple[Kind, int]]) -> None:
    await three_clicks(world)
    assert world.tamper_with_log(change) == [1]
    assert found(await verified(world)) == {(Pass.TRACKING, kind, position) for kind, position in findings}


async def test_a_tracking_log_that_cannot_be_read_is_incomplete(world: World) -> None:
    await three_clicks(world)
    world.tamper("ALTER TABLE colink.touches RENAME TO touches_gone")
    report = await verified(world)
    assert report.result(Pass.TRACKING).status is Status.INCOMPLETE
    assert not report.clean


async def test_changed_heads_of_terms(world: World) -> None:
    last = await position_of(world, "coupon.created", nth=2)
    where = f"WHERE organization_id = '{ORGANIZATION}'"
    assert world.tamper(f"UPDATE colink.terms_heads SET position = position - 1 {where}") == [1]
    assert found(await verified(world)) == {(Pass.TERMS_HEADS, Kind.CHANGED, last)}

    assert world.tamper(f"DELETE FROM colink.terms_heads {where}") == [1]
    assert found(await verified(world)) == {(Pass.TERMS_HEADS, Kind.MISSING, last)}

    world.tamper("INSERT INTO colink.terms_heads VALUES ('org_x', 3)")
    assert found(await verified(world)) == {
        (Pass.TERMS_HEADS, Kind.MISSING, last),
        (Pass.TERMS_HEADS, Kind.EXTRA, 3),
    }


async def test_changed_answers_of_idempotent_commands(world: World) -> None:
    for number, id_ in enumerate(("org_8", "org_9")):
        key = Idempotency(scope="key_1", key=f"k{number}", request_digest="d")
        await world.commerce.submit(
            RegisterOrganization(caller=CALLER, idempotency=key, id=id_, name="Kedai", platform_fee_bps=500)
        )
    assert (await verified(world)).clean
    first = await position_of(world, "organization.registered", nth=2)
    world.tamper_with_log(
        "UPDATE colink.idempotency_keys SET answer = replace(answer, 'org_8', 'org_9') WHERE key = 'k0'",
        "UPDATE colink.idempotency_keys SET answer = '{' WHERE key = 'k1'",
    )
    assert found(await verified(world)) == {
        (Pass.IDEMPOTENCY, Kind.DANGLING, first),
        (Pass.IDEMPOTENCY, Kind.UNREADABLE, first + 1),
    }


async def test_keys_of_idempotent_commands_that_are_gone_moved_or_forged(world: World) -> None:
    """The log names each with the events of its command; those recorded before keys were named have none."""
    before = await position_of(world, "organization.registered")
    for number, id_ in enumerate(("org_8", "org_9")):
        key = Idempotency(scope="key_1", key=f"k {number}.", request_digest="d")
        await world.commerce.submit(
            RegisterOrganization(caller=CALLER, idempotency=key, id=id_, name="Kedai", platform_fee_bps=500)
        )
    first = await position_of(world, "organization.registered", nth=2)
    [(cause,)] = await world.rows("SELECT causation_id FROM colink.events WHERE position = %s", first)
    assert cause == "idk_" + hashlib.sha256(b"key_1\x1fk 0.").hexdigest()[:32]
    copy = "INSERT INTO colink.idempotency_keys SELECT scope, 'x', 'd', '{}', e.position, e.recorded_at"
    world.tamper_with_log(f"{copy} FROM colink.idempotency_keys, colink.events e WHERE e.position = {before} LIMIT 1")
    assert found(await verified(world)) == set(), "what is older names no key"
    world.tamper_with_log(f"UPDATE colink.idempotency_keys SET position = {first + 1}, key = 'x2' WHERE key = 'x'")
    assert found(await verified(world)) == {(Pass.IDEMPOTENCY, Kind.DANGLING, first + 1)}
    world.tamper_with_log(
        "DELETE FROM colink.idempotency_keys WHERE key IN ('x2', 'k 0.')",
        "UPDATE colink.idempotency_keys SET position = NULL WHERE key = 'k 1.'",
    )
    assert found(await verified(world)) == {
        (Pass.IDEMPOTENCY, Kind.MISSING, first),
        (Pass.IDEMPOTENCY, Kind.MISSING, first + 1),
    }
