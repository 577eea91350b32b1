"""The promise: Shopify's disputes and gift-card payments say in canonical form what they mean, or what is wrong."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.adapters.stores.shopify_bodies import PLACED_AT, a_refund

from colink.adapters.stores.shopify import ShopifyConnector
from colink.application.deliveries import Ignored, Translated
from colink.application.record_order import StandaloneFacts, StandaloneRefund
from colink.cli.shopify_traffic import encoded
from colink.domain.errors import InvalidInput
from colink.domain.facts import Dispute, DisputeKind, DisputeStatus, OrderFacts, Tender
from colink.domain.snapshots import TransactionStatus

SHOPIFY = ShopifyConnector(pepper=b"a pepper")
OPENED = datetime(2026, 3, 9, 4, 0, tzinfo=UTC)
CHARGEBACK: dict[str, Any] = {
    "id": 698735,
    "order_id": 4507,
    "type": "chargeback",
    "amount": "67.90",
    "currency": "MYR",
    "reason": "fraudulent",
    "network_reason_code": "4837",
    "status": "needs_response",
    "evidence_due_by": "2026-03-20T00:00:00+00:00",
    "evidence_sent_on": None,
    "finalized_on": None,
    "initiated_at": "2026-03-09T12:00:00+08:00",
}
CARD: dict[str, Any] = {
    "id": 389404469,
    "order_id": 4507,
    "kind": "sale",
    "gateway": "gift_card",
    "status": "success",
    "amount": "20.00",
    "currency": "MYR",
    "created_at": "2026-03-01T12:00:00+00:00",
    "processed_at": "2026-03-01T12:00:01+00:00",
    "test": False,
}


def told(topic: str, body: dict[str, Any]) -> Translated:
    return SHOPIFY.translate(topic, encoded(body))


def dispute_of(**changes: Any) -> Dispute:
    news = told("disputes/update", CHARGEBACK | changes)
    assert isinstance(news, StandaloneFacts)
    (dispute,) = news.facts.disputes
    return dispute


def test_a_chargeback_has_taken_its_money_when_it_is_opened() -> None:
    assert told("disputes/create", CHARGEBACK) == StandaloneFacts(
        order_external_id="4507",
        facts=OrderFacts(
            disputes=(
                Dispute(
                    dispute_id="698735",
                    kind=DisputeKind.CHARGEBACK,
                    status=DisputeStatus.NEEDS_RESPONSE,
                    amount=Decimal("67.90"),
                    initiated_at=OPENED,
                    withdrawn_at=OPENED,
                    currency="MYR",
                ),
            )
        ),
        body_digest=hashlib.sha256(encoded(CHARGEBACK)).hexdigest(),
    )


def test_of_an_inquiry_nothing_is_taken() -> None:
    assert dispute_of(type="inquiry").withdrawn_at is None


@pytest.mark.parametrize("end", ["2026-04-01", "2026-04-01T08:00:00+08:00"])
def test_the_end_is_a_time_or_a_day(end: str) -> None:
    closed = dispute_of(status="won", finalized_on=end)
    assert (closed.status, closed.closed_at) == (DisputeStatus.WON, datetime(2026, 4, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", None),
        ("type", "quarrel"),
        ("status", "closed"),
        ("amount", "-1.00"),
        ("amount", None),
        ("currency", "RM"),
        ("initiated_at", None),
        ("finalized_on", "2026-02-30"),
        ("finalized_on", "9999-12-31"),
    ],
)
def test_a_dispute_that_makes_no_sense_is_refused_by_the_field(field: str, value: str | None) -> None:
    with pytest.raises(InvalidInput) as refused:
        dispute_of(**{field: value})
    assert refused.value.field == field


def test_a_dispute_about_no_order_is_kept_and_ignored() -> None:
    assert isinstance(told("disputes/create", CHARGEBACK | {"order_id": None}), Ignored)


@pytest.mark.parametrize("kind", ["sale", "capture"])
def test_a_payment_by_gift_card_is_tender(kind: str) -> None:
    body = CARD | {"kind": kind}
    assert told("order_transactions/create", body) == StandaloneFacts(
        order_external_id="4507",
        facts=OrderFacts(
            tenders=(
                Tender(
                    transaction_id="389404469",
                    amount=Decimal("20.00"),
                    status=TransactionStatus.SUCCESS,
                    processed_at=PLACED_AT + timedelta(seconds=1),
                    currency="MYR",
                ),
            )
        ),
        body_digest=hashlib.sha256(encoded(body)).hexdigest(),
    )


@pytest.mark.parametrize(
    "changes",
    [{"gateway": "shopify_payments"}, {"kind": "authorization"}, {"kind": "refund"}, {"test": True}],
    ids=str,
)
def test_other_transactions_bring_no_news(changes: dict[str, Any]) -> None:
    assert isinstance(told("order_transactions/create", CARD | changes), Ignored)


@pytest.mark.parametrize("status", TransactionStatus)
def test_what_goes_back_onto_a_gift_card_is_no_cash_and_may_fail(status: TransactionStatus) -> None:
    body = a_refund()
    (transaction,) = body["transactions"]
    by_card = transaction | {"gateway": "gift_card", "status": status.value}
    news = told("refunds/create", body | {"transactions": [by_card]})
    assert isinstance(news, StandaloneRefund)
    assert news.body_digest is not None
    assert [(each.amount, each.status) for each in news.refund.transactions] == [(Decimal(0), status)]
    assert news.refund.lines


@given(
    body=st.fixed_dictionaries(
        {},
        optional={
            key: st.none() | st.text(max_size=5) | st.integers() | st.booleans() for key in {**CHARGEBACK, **CARD}
        },
    ),
    topic=st.sampled_from(["disputes/create", "order_transactions/create"]),
    base=st.sampled_from([CHARGEBACK, CARD]),
)
@settings(max_examples=300, deadline=None)
def test_no_body_does_worse_than_be_refused(body: dict[str, Any], topic: str, base: dict[str, Any]) -> None:
    try:
        news = told(topic, base | body)
    except InvalidInput:
        return
    assert isinstance(news, StandaloneFacts | Ignored)
