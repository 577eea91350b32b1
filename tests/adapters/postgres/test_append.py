"""How inline rows of several events fall together in one append: the later over the earlier, unchanged stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import psycopg
from eventsourcing.persistence import StoredEvent
from tests.adapters.postgres.commands import CALLER, NOON
from tests.adapters.postgres.conftest import Store

from colink.adapters.postgres.append import COMMERCE
from colink.adapters.postgres.prepared import Prepared, StampedEvent
from colink.projections.inline import DocumentRow, OrderRow, PayoutRow, Row

_ORDER = "select creator_id, claims, clears_at, placed_at, created_position, position from colink.orders"


def append(store: Store, stream_id: str, *rows: Sequence[Row], version: int = 1) -> None:
    """One event for each sequence of rows."""
    events = [
        StampedEvent.of(StoredEvent(stream_id, version + n, "some.topic", b'{"n":1}')) for n, _ in enumerate(rows)
    ]
    prepared = Prepared(events=events, rows=rows, caller=CALLER, answer="null")
    with psycopg.connect(store.app_dsn, autocommit=True) as connection:
        (answer,) = connection.execute(COMMERCE.append, COMMERCE.parameters([prepared], NOON)).fetchall()
    assert answer[1] is None


def test_an_order_row_takes_over_what_changed(store: Store) -> None:
    placed = OrderRow(order_id="ord_1", organization_id="org_1", store_id="sto_1", external_id="1001", placed_at=NOON)
    due = NOON + timedelta(days=14)
    append(
        store,
        "ord_1",
        [placed],
        [OrderRow(order_id="ord_1", creator_id="cre_1")],
        [OrderRow(order_id="ord_1", claims="[1]", clears_at=due)],
    )
    assert store.rows(_ORDER) == [("cre_1", "[1]", due, NOON, 1, 3)]

    # Without claims the due time stays, with them it is taken over, "" clears the creator.
    append(store, "ord_1", [OrderRow(order_id="ord_1", placed_at=due)], version=4)
    assert store.rows(_ORDER) == [("cre_1", "[1]", due, due, 1, 4)]
    append(store, "ord_1", [OrderRow(order_id="ord_1", creator_id="")], version=5)
    append(store, "ord_1", [OrderRow(order_id="ord_1", claims="[2]")], version=6)
    assert store.rows(_ORDER) == [(None, "[2]", None, due, 1, 6)]
    append(
        store,
        "ord_1",
        [OrderRow(order_id="ord_1", creator_id="")],
        [OrderRow(order_id="ord_1", creator_id="cre_2")],
        [OrderRow(order_id="ord_1", claims="[3]", clears_at=NOON)],
        version=7,
    )
    assert store.rows(_ORDER) == [("cre_2", "[3]", NOON, due, 1, 9)]


def test_a_payout_row_is_its_newest_state(store: Store) -> None:
    requested = PayoutRow(
        payout_id="pay_1", payee_id="cre_1", currency="MYR", amount=5, status="requested", stretches="[]"
    )
    append(store, "pay_1", [requested], [replace(requested, status="approved")])
    append(store, "pay_1", [replace(requested, status="paid")], version=3)
    assert store.rows("select status, created_position, position from colink.payouts") == [("paid", 1, 3)]


def test_a_key_that_a_document_gave_up_can_be_taken(store: Store) -> None:
    link = DocumentRow(kind="link", id="lnk_1", version=1, body="{}", key="raya")
    append(store, "lnk_1", [link], [replace(link, version=2, key="raya2026")])
    append(store, "lnk_2", [replace(link, id="lnk_2")])
    assert store.rows("select id, version, key from colink.documents where current order by id") == [
        ("lnk_1", 2, "raya2026"),
        ("lnk_2", 1, "raya"),
    ]


def test_terms_move_only_with_what_is_part_of_them(store: Store) -> None:
    row = DocumentRow(kind="store", id="sto_1", version=1, body="{}", organization_id="org_1")
    append(store, "sto_1", [row])
    assert store.rows("select * from colink.terms_heads") == []
    append(store, "sto_1", [replace(row, version=2, part_of_terms=True)], version=2)
    append(store, "sto_1", [replace(row, version=3)], version=3)
    assert store.rows("select * from colink.terms_heads") == [("org_1", 2)]
