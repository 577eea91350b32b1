"""Promise: following a link records the click, then sends the shopper on; nothing is answered before it is recorded.

What HTTP says is tested here with a bus that remembers; that a click is durable and found again is tested on the real
PostgreSQL in tests/scenarios.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from colink.api.tracking import TrackingRoutes
from colink.application.ports import Command, Recorded
from colink.application.track import RecordTouch, network_hashes
from colink.domain.campaigns import CampaignDetails
from colink.domain.creators import CreatorDetails
from colink.domain.errors import Unavailable
from colink.domain.tracking import LinkDetails, SetAside, TouchDetails, TouchKind, destination_with

AT = datetime(2026, 3, 10, 12, 0, 0, tzinfo=UTC)
PERSON = {"user-agent": "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36"}
SALTS = (b"today", b"yesterday")
LINK = LinkDetails(
    id="lnk_1",
    code="Ana-10",
    creator_id="cre_1",
    destination="https://kedai.example/p?a=1#top",
    campaign_id="cmp_1",
    organization_id="org_1",
    utm=(("utm_source", "ana"),),
)
CAMPAIGN = CampaignDetails(id="cmp_1", organization_id="org_1", name="Raya", slug="raya-2026")
CREATOR = CreatorDetails(id="cre_1", handle="ana", display_name="Ana")


class Outside:
    """Everything the routes ask of the outside. `broken`: nothing can be recorded."""

    def __init__(self) -> None:
        self.recorded: list[RecordTouch] = []
        self.broken = False
        self._numbers = count(1)

    async def submit(self, command: Command) -> Recorded:
        await asyncio.sleep(0)
        if self.broken:
            msg = "the queue is full"
            raise Unavailable(msg)
        assert isinstance(command, RecordTouch)
        self.recorded.append(command)
        return Recorded(answer={}, position=len(self.recorded))

    async def link(self, code: str) -> LinkDetails | None:
        return LINK if code == LINK.code else None

    async def campaign(self, slug: str) -> CampaignDetails | None:
        return CAMPAIGN if slug == CAMPAIGN.slug else None

    async def creator(self, id_or_handle: str) -> CreatorDetails | None:
        return CREATOR if id_or_handle in {CREATOR.id, CREATOR.handle} else None

    async def salts(self, at: datetime) -> Sequence[bytes]:
        assert at == AT
        return SALTS

    def is_bot(self, user_agent: str) -> bool:
        return "Googlebot" in user_agent

    def __call__(self, prefix: str) -> str:
        return f"{prefix}_{next(self._numbers):08}"

    def now(self) -> datetime:
        return AT

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        client: tuple[str, int] = ("203.0.113.9", 5000),
        **settings: Any,
    ) -> httpx.Response:
        routes = TrackingRoutes(
            bus=self,
            lookups=self,
            salts=self,
            crawlers=self,
            ids=self,
            clock=self,
            **{"public_url": "https://go.example", **settings},
        )

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=routes, client=client)
            async with httpx.AsyncClient(transport=transport, base_url="http://go.example") as http:
                http.headers.pop("user-agent")
                return await http.request(method, path, headers={**PERSON, **(headers or {})})

        return asyncio.run(send())

    @property
    def touch(self) -> TouchDetails:
        assert len(self.recorded) == 1
        return self.recorded[0].touch


@pytest.fixture
def outside() -> Outside:
    return Outside()


def visitor_cookie(response: httpx.Response) -> str | None:
    return response.headers.get("set-cookie")


def assert_problem(response: httpx.Response, status: int, slug: str, *, field: str | None = None) -> None:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert response.json()["type"] == f"urn:colink:problem:{slug}"
    assert response.json().get("field") == field


def test_a_click_is_recorded_and_the_shopper_sent_on(outside: Outside) -> None:
    response = outside.ask("/l/Ana-10")
    touch = outside.touch
    assert response.status_code == 302
    assert response.headers["location"] == (f"https://kedai.example/p?a=1&utm_source=ana&colink_ref={touch.id}#top")
    assert response.headers["cache-control"] == "no-store"
    assert touch == TouchDetails(
        id="clk_00000002",
        kind=TouchKind.CLICK,
        creator_id="cre_1",
        occurred_at=AT,
        link_id="lnk_1",
        campaign_id="cmp_1",
        organization_id="org_1",
        visitor_id="vis_00000001",
    )
    assert outside.recorded[0].network_hashes == network_hashes("203.0.113.9", SALTS)


def test_every_click_has_an_id_of_its_own(outside: Outside) -> None:
    locations = [outside.ask("/l/Ana-10").headers["location"] for _ in range(2)]
    sent = [parse_qs(urlsplit(location).query)["colink_ref"] for location in locations]
    assert sent == [[command.touch.id] for command in outside.recorded]
    assert sent[0] != sent[1]


@pytest.mark.parametrize(("public_url", "secure"), [("https://go.example", True), ("http://127.0.0.1:8000", False)])
def test_a_new_visitor_gets_a_first_party_cookie(outside: Outside, public_url: str, secure: bool) -> None:
    cookie = visitor_cookie(outside.ask("/l/Ana-10", public_url=public_url))
    assert cookie is not None
    value, *attributes = cookie.split("; ")
    assert value == f"colink_vid={outside.touch.visitor_id}"
    expected = {"HttpOnly", "Max-Age=34560000", "Path=/", "SameSite=lax"} | ({"Secure"} if secure else set())
    assert set(attributes) == expected


def test_a_known_visitor_is_recognised_and_remembered_for_longer(outside: Outside) -> None:
    response = outside.ask("/l/Ana-10", headers={"cookie": "a=b; colink_vid=vis_0198-abcdef; c=d"})
    assert outside.touch.visitor_id == "vis_0198-abcdef"
    assert (visitor_cookie(response) or "").startswith("colink_vid=vis_0198-abcdef; ")


@pytest.mark.parametrize("value", ["", "x", "vis_", "vis_a b c d e f", "vis_" + "a" * 65, "usr_0198abcdef", '"vis_1'])
def test_a_cookie_that_is_not_ours_is_replaced(outside: Outside, value: str) -> None:
    outside.ask("/l/Ana-10", headers={"cookie": f"colink_vid={value}"})
    assert outside.touch.visitor_id == "vis_00000001"


@pytest.mark.parametrize(
    ("method", "headers", "reason"),
    [
        ("HEAD", {}, SetAside.HEAD_REQUEST),
        ("GET", {"user-agent": "facebookexternalhit/1.1"}, SetAside.LINK_PREVIEW),
        ("GET", {"sec-purpose": "prefetch;prerender"}, SetAside.LINK_PREVIEW),
        ("GET", {"x-moz": "prefetch"}, SetAside.LINK_PREVIEW),
        ("GET", {"purpose": "preview"}, SetAside.LINK_PREVIEW),
        ("GET", {"user-agent": "Mozilla/5.0 (compatible; Googlebot/2.1)"}, SetAside.BOT),
        ("GET", {"user-agent": ""}, SetAside.BOT),
    ],
)
@pytest.mark.parametrize(("path", "status"), [("/l/Ana-10", 302), ("/v1/views/raya-2026.gif?creator=ana", 200)])
def test_programs_are_served_recorded_with_the_reason_and_not_followed(
    outside: Outside, path: str, status: int, method: str, headers: dict[str, str], reason: SetAside
) -> None:
    response = outside.ask(path, method=method, headers=headers)
    assert response.status_code == status
    assert outside.touch.set_aside is reason
    assert outside.touch.visitor_id is None
    assert outside.recorded[0].network_hashes == ()
    assert visitor_cookie(response) is None


def test_a_click_that_cannot_be_recorded_is_sent_on_without_a_click_id_and_counted(outside: Outside) -> None:
    """The shop must not lose a buyer because we are busy; that the click is missing must not go unnoticed."""
    outside.broken = True
    lost: list[None] = []
    response = outside.ask("/l/Ana-10", unrecorded=lambda: lost.append(None))
    assert response.status_code == 302
    assert response.headers["location"] == destination_with(LINK, None)
    assert "colink_ref" not in response.headers["location"]
    assert response.headers["cache-control"] == "no-store"
    assert visitor_cookie(response) is None
    assert len(lost) == 1


def test_a_view_that_cannot_be_recorded_shall_come_again(outside: Outside) -> None:
    outside.broken = True
    response = outside.ask("/v1/views/raya-2026.gif?creator=ana")
    assert_problem(response, 503, "unavailable")
    assert response.headers["retry-after"] == "1"
    assert visitor_cookie(response) is None


@pytest.mark.parametrize(
    "path", ["/l/ana-10", "/l/nobody", "/l/", "/l/a/b", "/l/%00", "/l/" + "a" * 65, "/v1/views/"]
)
def test_an_unknown_link_is_a_problem_and_records_nothing(outside: Outside, path: str) -> None:
    assert_problem(outside.ask(path), 404, "not-found")
    assert outside.recorded == []


@pytest.mark.parametrize("path", ["/l/Ana-10", "/v1/views/raya-2026.gif?creator=ana"])
def test_only_reading_follows_a_link(outside: Outside, path: str) -> None:
    response = outside.ask(path, method="POST")
    assert_problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET, HEAD"
    assert outside.recorded == []


@pytest.mark.parametrize("creator", ["cre_1", "ana"])
def test_a_view_is_recorded_and_answered_with_an_image(outside: Outside, creator: str) -> None:
    response = outside.ask(f"/v1/views/raya-2026.gif?creator={creator}")
    assert (response.status_code, response.headers["content-type"]) == (200, "image/gif")
    assert response.headers["cache-control"] == "no-store"
    assert len(response.content) == 42
    assert response.content[:10] == b"GIF89a\x01\x00\x01\x00"
    assert response.content[-1:] == b"\x3b"
    assert outside.touch == TouchDetails(
        id="viw_00000002",
        kind=TouchKind.VIEW,
        creator_id="cre_1",
        occurred_at=AT,
        campaign_id="cmp_1",
        organization_id="org_1",
        visitor_id="vis_00000001",
    )
    assert (visitor_cookie(response) or "").startswith("colink_vid=vis_00000001; ")


@pytest.mark.parametrize(
    ("path", "status", "slug", "field"),
    [
        ("/v1/views/other.gif?creator=ana", 404, "not-found", "campaign_slug"),
        ("/v1/views/raya-2026.gif?creator=nobody", 404, "not-found", "creator"),
        ("/v1/views/raya-2026.gif", 422, "invalid-input", "creator"),
        ("/v1/views/raya-2026.gif?creator=", 422, "invalid-input", "creator"),
        ("/v1/views/raya-2026.gif?creator=%00", 422, "invalid-input", "creator"),
        ("/v1/views/raya-2026.png?creator=ana", 404, "not-found", None),
    ],
)
def test_a_view_of_nothing_is_a_problem(
    outside: Outside, path: str, status: int, slug: str, field: str | None
) -> None:
    assert_problem(outside.ask(path), status, slug, field=field)
    assert outside.recorded == []


@pytest.mark.parametrize(
    ("hops", "forwarded", "address"),
    [
        pytest.param(0, "198.51.100.1", "203.0.113.9", id="not believed by default"),
        pytest.param(1, "198.51.100.1", "198.51.100.1", id="one proxy of ours"),
        pytest.param(1, "6.6.6.6, 198.51.100.1", "198.51.100.1", id="what the caller put there is not believed"),
        pytest.param(2, "6.6.6.6, 198.51.100.1, 10.0.0.1", "198.51.100.1", id="two proxies of ours"),
        pytest.param(2, "198.51.100.1", "203.0.113.9", id="fewer than it should be: not through our proxies"),
    ],
)
def test_whose_word_on_the_address_counts(outside: Outside, hops: int, forwarded: str, address: str) -> None:
    outside.ask("/l/Ana-10", headers={"x-forwarded-for": forwarded}, forwarded_hops=hops)
    assert outside.recorded[0].network_hashes == network_hashes(address, SALTS)


@pytest.mark.parametrize(
    ("path", "ours"),
    [("/l/a", True), ("/v1/views/a.gif", True), ("/v1/links", False), ("/link", False), ("/", False)],
)
def test_which_paths_are_served(path: str, ours: bool) -> None:
    assert TrackingRoutes.serves(path) is ours
