"""The promise: what HTTP says about a delivery is what became of it, and nothing unsigned leaves more than a count.

The bus remembers here and decides nothing; what is recorded, and how often, is tested on the real PostgreSQL.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from tests.adapters.stores.shopify_bodies import SECRET, a_refund, an_order, signed
from tests.person_keys import keys, opened

from colink.adapters.stores.shopify import ShopifyConnector
from colink.api.webhooks import MAX_BODY, Webhooks
from colink.application.deliveries import KeepDelivery, inbox_id, replay_delivery
from colink.application.ports import Caller, Command, Delivery, DeliveryStatus, Recorded
from colink.application.record_order import RecordOrder, StandaloneRefund
from colink.application.store_directory import CachedStores, StoreAccess
from colink.cli.shopify_traffic import SignedDelivery, encoded, signature
from colink.domain.errors import ColinkError, ConcurrentUpdate, Conflict, NotFound, Unavailable
from colink.domain.organizations import Platform, Settlement, StoreDetails
from colink.domain.snapshots import OrderSnapshot

AT = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
STORE = StoreDetails(
    id="sto_1",
    organization_id="org_1",
    platform=Platform.SHOPIFY,
    name="Test shop",
    settlement=Settlement.PLATFORM_COLLECTED,
)
ORDER_ID = "ord_sto_1.4507"
CONNECTORS = {Platform.SHOPIFY: ShopifyConnector(pepper=b"a pepper")}


class Outside:
    """Everything the route asks of the outside: a bus that remembers, stores, a clock, a counter."""

    def __init__(self) -> None:
        self.commands: list[RecordOrder | KeepDelivery] = []
        self.answers: dict[tuple[str, str], Mapping[str, Any]] = {}
        self.refusals: list[ColinkError] = []
        self.access = StoreAccess(details=STORE, webhook_secrets=(SECRET,))
        self.asked = 0
        self.time = 0.0
        self.rejections: list[tuple[str, str]] = []

    async def submit(self, command: Command) -> Recorded:
        assert isinstance(command, (RecordOrder, KeepDelivery))
        if self.refusals:
            raise self.refusals.pop()
        key = command.delivery_key
        if key in self.answers:
            return Recorded(answer=self.answers[key], replayed=True)
        self.commands.append(command)
        answer: Mapping[str, Any] = (
            command.answer
            if isinstance(command, KeepDelivery)
            else {"status": "accepted", "order_id": command.order_id}
        )
        if key is not None:
            self.answers[key] = answer
        return Recorded(answer=answer, position=1)

    async def store(self, store_id: str) -> StoreAccess | None:
        self.asked += 1
        return self.access if store_id == STORE.id else None

    def now(self) -> datetime:
        return AT

    async def count(self, *, source: str, reason: str) -> None:
        self.rejections.append((source, reason))

    async def delivery(self, *, source: str, delivery_id: str) -> Delivery | None:
        kept = [opened(command.delivery) for command in self.commands if command.delivery is not None]
        return next((each for each in kept if (each.source, each.delivery_id) == (source, delivery_id)), None)

    @property
    def kept(self) -> Delivery:
        """The delivery of the only command."""
        (command,) = self.commands
        assert command.delivery is not None
        return opened(command.delivery)


@pytest.fixture
def outside() -> Outside:
    return Outside()


@pytest.fixture
def route(outside: Outside) -> Webhooks:
    return Webhooks(
        bus=outside,
        stores=CachedStores(outside, monotonic=lambda: outside.time),
        connectors=CONNECTORS,
        clock=outside,
        rejections=outside,
        keys=keys,
    )


def post(
    route: Webhooks,
    delivery: SignedDelivery,
    *,
    path: str = "/webhooks/shopify/sto_1",
    method: str = "POST",
    content: Any = None,
) -> httpx.Response:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=route), base_url="http://test") as client:
            body = delivery.body if content is None else content
            return await client.request(method, path, headers=dict(delivery.headers), content=body)

    return asyncio.run(send())


class TestSignedDeliveries:
    def test_an_order_is_recorded_with_its_delivery(self, route: Webhooks, outside: Outside) -> None:
        sent = signed("orders/paid", an_order(), webhook_id="wh-7")
        answer = post(route, sent)
        assert (answer.status_code, answer.json()) == (200, {"status": "accepted", "order_id": ORDER_ID})
        (command,) = outside.commands
        assert isinstance(command, RecordOrder)
        assert isinstance(command.news, OrderSnapshot)
        assert command.store == STORE
        assert command.caller == Caller(actor="webhook:sto_1", correlation_id="dlv_sto_1.wh-7")
        assert command.delivery_key == ("sto_1", "wh-7")
        assert outside.kept == Delivery(
            source="sto_1",
            delivery_id="wh-7",
            topic="orders/paid",
            headers={
                "x-shopify-topic": "orders/paid",
                "x-shopify-webhook-id": "wh-7",
                "x-shopify-event-id": sent.headers["X-Shopify-Event-Id"],
                "x-shopify-shop-domain": "test-shop.myshopify.com",
                "x-shopify-api-version": "2026-10",
                "x-shopify-triggered-at": "2026-03-01T12:00:00+00:00",
                "x-shopify-hmac-sha256": sent.headers["X-Shopify-Hmac-Sha256"],
                "content-type": "application/json",
            },
            body=sent.body,
            received_at=AT,
            status=DeliveryStatus.ACCEPTED,
            order_id=ORDER_ID,
        )

    def test_a_refund_on_its_own_goes_to_its_order(self, route: Webhooks, outside: Outside) -> None:
        answer = post(route, signed("refunds/create", a_refund()))
        assert answer.json() == {"status": "accepted", "order_id": ORDER_ID}
        (command,) = outside.commands
        assert isinstance(command, RecordOrder)
        assert isinstance(command.news, StandaloneRefund)

    def test_the_same_delivery_again_is_a_duplicate(self, route: Webhooks, outside: Outside) -> None:
        sent = signed("orders/paid", an_order())
        post(route, sent)
        answer = post(route, sent)
        assert (answer.status_code, answer.json()) == (200, {"status": "duplicate", "order_id": ORDER_ID})
        assert len(outside.commands) == 1

    def test_an_edit_is_kept_and_ignored(self, route: Webhooks, outside: Outside) -> None:
        sent = signed("orders/edited", {"order_edit": {"order_id": 4507}})
        answer = post(route, sent)
        assert (answer.status_code, answer.json()["status"]) == (200, "ignored")
        assert (outside.kept.status, outside.kept.body) == (DeliveryStatus.IGNORED, sent.body)
        assert post(route, sent).json() == answer.json()

    def test_what_cannot_be_used_is_kept_byte_for_byte(self, route: Webhooks, outside: Outside) -> None:
        body = an_order()
        body["line_items"][1]["quantity"] = -1
        sent = signed("orders/paid", body)
        answer = post(route, sent)
        problem = {
            "type": "urn:colink:problem:invalid-input",
            "title": "A field is not valid",
            "status": 422,
            "detail": "expected a whole number between 0 and 10^9",
            "field": "line_items[1].quantity",
        }
        assert (answer.status_code, answer.json()) == (200, {"status": "rejected", "problem": problem})
        assert (outside.kept.status, outside.kept.problem) == (DeliveryStatus.REJECTED, problem)
        assert outside.kept.body == sent.body
        assert post(route, sent).json() == answer.json()

    @pytest.mark.parametrize("raw", [b"{", b"\xff\xfe", b"id=1"])
    def test_what_is_no_json_is_kept_and_answered_400(self, route: Webhooks, outside: Outside, raw: bytes) -> None:
        sent = signed("orders/paid", raw)
        for _ in range(2):
            answer = post(route, sent)
            assert answer.status_code == 400
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["type"] == "urn:colink:problem:unreadable-body"
        assert (outside.kept.status, outside.kept.body) == (DeliveryStatus.REJECTED, raw)

    def test_later_deliveries_are_unaffected(self, route: Webhooks) -> None:
        post(route, signed("orders/paid", b"{", webhook_id="wh-1"))
        answer = post(route, signed("orders/paid", an_order(), webhook_id="wh-2"))
        assert answer.json()["status"] == "accepted"

    def test_what_the_order_refuses_is_kept_as_rejected(self, route: Webhooks, outside: Outside) -> None:
        outside.refusals = [Conflict("the order is in another currency", field="currency")]
        answer = post(route, signed("orders/paid", an_order()))
        assert answer.status_code == 200
        assert answer.json()["problem"]["detail"] == "the order is in another currency"
        assert outside.kept.status is DeliveryStatus.REJECTED

    @pytest.mark.parametrize("error", [Unavailable("the queue is full"), ConcurrentUpdate("lost ten races")])
    def test_what_was_not_recorded_shall_come_again(
        self, route: Webhooks, outside: Outside, error: ColinkError
    ) -> None:
        outside.refusals = [error]
        sent = signed("orders/paid", an_order())
        answer = post(route, sent)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert outside.commands == []
        assert post(route, sent).json()["status"] == "accepted"

    def test_who_a_delivery_is_for_cannot_be_read_in_time(
        self, route: Webhooks, outside: Outside, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The store was forgotten since, and the database does not answer: the platform hangs up after 5 seconds."""

        async def never(_: str) -> StoreAccess | None:
            return await asyncio.get_running_loop().create_future()

        monkeypatch.setattr(outside, "store", never)
        answer = post(replace(route, patience=0.05), signed("orders/paid", an_order()))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["detail"] == "the database cannot be reached; nothing was recorded"
        assert outside.commands == []

    def test_without_an_id_the_delivery_is_what_it_says(self, route: Webhooks, outside: Outside) -> None:
        sent = signed("orders/paid", an_order())
        for webhook_id in ("", "two words", "w" * 129):
            headers = dict(sent.headers) | {"X-Shopify-Webhook-Id": webhook_id}
            post(route, replace(sent, headers=headers))
        assert outside.kept.delivery_id == hashlib.sha256(b"orders/paid\n" + sent.body).hexdigest()

    def test_a_strange_header_is_kept_harmlessly(self, route: Webhooks, outside: Outside) -> None:
        sent = signed("orders/paid", an_order())
        post(route, replace(sent, headers=dict(sent.headers) | {"X-Shopify-Topic": "orders/paid\x00\x1f"}))
        assert outside.kept.topic == "orders/paid\\x00\\x1f"
        assert outside.kept.status is DeliveryStatus.IGNORED

    def test_each_of_several_secrets_may_sign(self, route: Webhooks, outside: Outside) -> None:
        outside.access = replace(outside.access, webhook_secrets=("new", SECRET))
        for number, secret in enumerate(outside.access.webhook_secrets):
            sent = signed("orders/paid", an_order(), webhook_id=f"wh-{number}", secret=secret)
            assert post(route, sent).status_code == 200


class TestTurnedAway:
    def test_a_bad_signature_leaves_a_count_and_nothing_else(self, route: Webhooks, outside: Outside) -> None:
        answer = post(route, signed("orders/paid", an_order(), secret="guessed"))
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "urn:colink:problem:unauthorized"
        assert outside.commands == []
        assert outside.rejections == [("sto_1", "bad_signature")]

    def test_so_does_none_at_all_and_a_changed_body(self, route: Webhooks, outside: Outside) -> None:
        sent = signed("orders/paid", an_order())
        unsigned = {name: value for name, value in sent.headers.items() if name != "X-Shopify-Hmac-Sha256"}
        assert post(route, replace(sent, headers=unsigned)).status_code == 401
        assert post(route, replace(sent, body=sent.body + b" ")).status_code == 401
        assert post(route, signed("orders/paid", b"")).status_code == 401
        assert outside.commands == []

    @pytest.mark.parametrize(
        "path",
        [
            "/webhooks/shopify/sto_2",
            "/webhooks/woocommerce/sto_1",
            "/webhooks/shopify/sto_1%00",
            "/webhooks/Shopify/sto_1",
        ],
    )
    def test_an_unknown_store_or_another_platform(self, route: Webhooks, outside: Outside, path: str) -> None:
        answer = post(route, signed("orders/paid", an_order()), path=path)
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:colink:problem:not-found")
        assert outside.commands == []
        assert outside.rejections == []

    def test_a_platform_nobody_can_read(self, route: Webhooks, outside: Outside) -> None:
        outside.access = replace(outside.access, details=replace(STORE, platform=Platform.SHOPEE))
        assert post(route, signed("orders/paid", an_order()), path="/webhooks/shopee/sto_1").status_code == 404

    def test_another_method(self, route: Webhooks) -> None:
        answer = post(route, signed("orders/paid", b""), method="GET")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


class TestSize:
    def test_two_mebibytes_are_taken(self, route: Webhooks) -> None:
        raw = encoded(an_order())
        raw += b" " * (MAX_BODY - len(raw))
        assert post(route, signed("orders/paid", raw)).json()["status"] == "accepted"

    def test_one_byte_more_is_not(self, route: Webhooks, outside: Outside) -> None:
        raw = encoded(an_order())
        raw += b" " * (MAX_BODY + 1 - len(raw))
        answer = post(route, signed("orders/paid", raw))
        assert (answer.status_code, answer.json()["type"]) == (413, "urn:colink:problem:payload-too-large")
        assert outside.commands == []
        assert outside.rejections == [("sto_1", "too_large")]

    def test_nor_when_its_length_is_not_told(self, route: Webhooks, outside: Outside) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b" " * 1024 * 1024

        sent = signed("orders/paid", b" ")
        assert post(route, sent, content=chunks()).status_code == 413
        assert outside.commands == []

    def test_a_body_is_refused_before_all_of_it_was_read(self, route: Webhooks) -> None:
        asked = 0
        said: list[Any] = []

        async def receive() -> dict[str, Any]:
            nonlocal asked
            asked += 1
            return {"type": "http.request", "body": b" " * 1024 * 1024, "more_body": True}

        async def send(message: Any) -> None:
            said.append(message)

        scope = {"type": "http", "method": "POST", "path": "/webhooks/shopify/sto_1", "headers": []}
        asyncio.run(route(scope, receive, send))
        assert (asked, said[0]["status"]) == (3, 413)
        scope["headers"] = [(b"content-length", b"9" * 40)]
        asyncio.run(route(scope, receive, send))
        assert (asked, said[2]["status"]) == (3, 413)

    def test_a_caller_that_goes_away_leaves_nothing(self, route: Webhooks, outside: Outside) -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            raise AssertionError(message)

        scope = {"type": "http", "method": "POST", "path": "/webhooks/shopify/sto_1", "headers": []}
        asyncio.run(route(scope, receive, send))
        assert (outside.commands, outside.rejections) == ([], [])


class TestSecretsThatChange:
    def test_a_store_is_read_once_for_many_deliveries(self, route: Webhooks, outside: Outside) -> None:
        for number in range(5):
            post(route, signed("orders/paid", an_order(), webhook_id=f"wh-{number}"))
        assert outside.asked == 1

    def test_a_new_secret_works_at_once(self, route: Webhooks, outside: Outside) -> None:
        post(route, signed("orders/paid", an_order()))
        outside.access = replace(outside.access, webhook_secrets=("new",))
        outside.time = 2.0
        answer = post(route, signed("orders/paid", an_order(), webhook_id="wh-2", secret="new"))
        assert answer.json()["status"] == "accepted"

    def test_a_withdrawn_secret_soon_does_not(self, route: Webhooks, outside: Outside) -> None:
        post(route, signed("orders/paid", an_order()))
        outside.access = replace(outside.access, webhook_secrets=("new",))
        outside.time = 10.0
        assert post(route, signed("orders/paid", an_order(), webhook_id="wh-2")).status_code == 401

    def test_bad_signatures_do_not_cause_a_query_each(self, route: Webhooks, outside: Outside) -> None:
        for _ in range(5):
            post(route, signed("orders/paid", an_order(), secret="guessed"))
        assert outside.asked == 1

    def test_a_store_made_a_moment_ago_is_found(self, route: Webhooks, outside: Outside) -> None:
        access, outside.access = outside.access, None  # type: ignore[assignment]  # not made yet
        assert post(route, signed("orders/paid", an_order())).status_code == 404
        outside.access = access
        assert post(route, signed("orders/paid", an_order())).status_code == 200


class TestReplay:
    def replay(self, outside: Outside, id_: str = "dlv_sto_1.wh-1") -> Recorded:
        return asyncio.run(
            replay_delivery(
                id_,
                caller=Caller(actor="key:key_1", correlation_id="req_1"),
                inbox=outside,
                stores=outside,
                connectors=CONNECTORS,
                bus=outside,
            )
        )

    def test_a_kept_delivery_is_read_again(self, route: Webhooks, outside: Outside) -> None:
        outside.refusals = [Conflict("not yet")]
        sent = signed("orders/paid", an_order())
        assert post(route, sent).json()["status"] == "rejected"
        recorded = self.replay(outside)
        assert recorded.answer == {"status": "accepted", "order_id": ORDER_ID}
        command = outside.commands[-1]
        assert isinstance(command, RecordOrder)
        assert command.caller == Caller(actor="key:key_1", correlation_id="req_1", causation_id="dlv_sto_1.wh-1")
        assert command.delivery_key is None
        assert command.delivery is not None
        assert (command.delivery.replay, command.delivery.status) == (True, DeliveryStatus.ACCEPTED)
        assert (command.delivery.problem, command.delivery.order_id) == (None, ORDER_ID)
        assert (command.delivery.body, command.delivery.key) == (b"", None)  # its row keeps the bytes it has

    def test_what_still_cannot_be_used_stays_rejected(self, route: Webhooks, outside: Outside) -> None:
        post(route, signed("orders/paid", {"id": 1}))
        assert self.replay(outside).answer["status"] == "rejected"
        command = outside.commands[-1]
        assert command.delivery is not None
        assert (command.delivery.replay, command.delivery.status) == (True, DeliveryStatus.REJECTED)

    @pytest.mark.parametrize("id_", ["dlv_sto_1.wh-2", "dlv_sto_2.wh-1", "sto_1", ""])
    def test_what_is_not_there(self, route: Webhooks, outside: Outside, id_: str) -> None:
        post(route, signed("orders/paid", an_order()))
        with pytest.raises(NotFound):
            self.replay(outside, id_)

    def test_any_delivery_id_survives_the_way_there_and_back(self, route: Webhooks, outside: Outside) -> None:
        post(route, signed("orders/paid", an_order(), webhook_id="a.b/c%2E_d"))
        recorded = self.replay(outside, inbox_id("sto_1", "a.b/c%2E_d"))
        assert recorded == Recorded(answer={"status": "accepted", "order_id": ORDER_ID}, replayed=True)
        assert len(outside.commands) == 1


def test_the_signature_is_over_the_bytes_that_came(route: Webhooks) -> None:
    """White space and key order are the sender's business."""
    raw = b'{ "order_id":4507 ,\n "id": 900, "created_at": "2026-03-05T09:30:00Z" }'
    sent = SignedDelivery(
        headers={"X-Shopify-Hmac-Sha256": signature(raw, SECRET), "X-Shopify-Topic": "refunds/create"}, body=raw
    )
    assert post(route, sent).json()["status"] == "accepted"
