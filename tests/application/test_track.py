"""Promise: every click and view is recorded; repeats are marked but creditable; no address survives its salt."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from colink.application.ports import Command, Decision, RepeatQuery
from colink.application.track import (
    RecordTouch,
    RememberedLookups,
    network_hashes,
    record_click,
    record_view,
)
from colink.domain.campaigns import CampaignDetails
from colink.domain.creators import CreatorDetails
from colink.domain.tracking import LinkDetails, SetAside, TouchDetails, TouchKind, TouchRecorded

AT = datetime(2026, 3, 10, 12, 0, 0, tzinfo=UTC)
NOW = AT + timedelta(milliseconds=3)
CAMPAIGN = CampaignDetails(id="cmp_1", organization_id="org_1", name="Raya", slug="raya")
CREATOR = CreatorDetails(id="cre_1", handle="ana", display_name="Ana", customer_ref="ref_ana")
LINK = LinkDetails(
    id="lnk_1",
    code="ana",
    creator_id="cre_1",
    destination="https://Kedai.example/p",
    campaign_id="cmp_1",
    organization_id="org_1",
    creator_customer_ref="ref_ana",
)
BARE_LINK = LinkDetails(id="lnk_2", code="bare", creator_id="cre_1", destination="https://Kedai.example/p")


class KnownFacts:
    """Facts of a touch: the time, and whether the same was touched from the same place within the hour."""

    now = NOW

    def __init__(self, *, repeat: bool | None) -> None:
        self._repeat = repeat

    def is_repeat(self) -> bool:
        assert self._repeat is not None, "it was not asked for"
        return self._repeat


def decide(command: RecordTouch, *, repeat: bool | None = False) -> tuple[Decision, TouchDetails]:
    facts: Any = KnownFacts(repeat=repeat)
    decision = command.decide(facts)
    (event,) = decision.events
    assert isinstance(event, TouchRecorded)
    assert (event.originator_id, event.timestamp) == (command.touch.id, NOW)
    return decision, event.details


def click(
    link: LinkDetails = LINK, *, set_aside: SetAside | None = None, hashes: Sequence[str] = ("h_today", "h_yesterday")
) -> RecordTouch:
    return record_click(link, click_id="clk_1", at=AT, visitor_id="vis_1", set_aside=set_aside, network_hashes=hashes)


def test_a_click_is_recorded_with_what_attribution_needs() -> None:
    command = click()
    assert isinstance(command, Command)
    decision, details = decide(command)
    assert details == TouchDetails(
        id="clk_1",
        kind=TouchKind.CLICK,
        creator_id="cre_1",
        occurred_at=AT,
        link_id="lnk_1",
        campaign_id="cmp_1",
        organization_id="org_1",
        visitor_id="vis_1",
        creator_customer_ref="ref_ana",
        network_hash="h_today",
    )
    assert decision.organization_id == "org_1"
    assert decision.answer == {"touch_id": "clk_1", "repeat": False, "set_aside": None}


def test_a_click_on_a_link_without_campaign_keeps_the_host_it_leads_to() -> None:
    decision, details = decide(click(BARE_LINK))
    assert (details.destination_host, details.campaign_id, decision.organization_id) == ("kedai.example", None, None)


def test_a_view_is_recorded_for_its_campaign_and_creator() -> None:
    command = record_view(
        CAMPAIGN, CREATOR, view_id="viw_1", at=AT, visitor_id="vis_1", set_aside=None, network_hashes=("h",)
    )
    _, details = decide(command)
    assert details == TouchDetails(
        id="viw_1",
        kind=TouchKind.VIEW,
        creator_id="cre_1",
        occurred_at=AT,
        campaign_id="cmp_1",
        organization_id="org_1",
        visitor_id="vis_1",
        creator_customer_ref="ref_ana",
        network_hash="h",
    )


def test_a_repeat_is_looked_for_over_the_last_hour_under_both_salts() -> None:
    needs = click().needs()
    assert (needs.streams, needs.begins) == ((), ("clk_1",))
    assert needs.repeats_of == RepeatQuery(
        kind="click",
        link_id="lnk_1",
        campaign_id="cmp_1",
        creator_id="cre_1",
        network_hashes=("h_today", "h_yesterday"),
        since=AT - timedelta(hours=1),
    )


def test_a_repeat_is_recorded_as_such() -> None:
    decision, details = decide(click(), repeat=True)
    assert details.repeat is True
    assert details.set_aside is None
    assert decision.answer == {"touch_id": "clk_1", "repeat": True, "set_aside": None}


@pytest.mark.parametrize("set_aside", list(SetAside))
def test_what_was_set_aside_is_recorded_with_its_reason_and_without_a_trace(set_aside: SetAside) -> None:
    command = click(set_aside=set_aside)
    assert command.needs().repeats_of is None
    _, details = decide(command, repeat=None)
    assert (details.set_aside, details.network_hash, details.repeat) == (set_aside, None, False)


def test_without_a_network_nothing_is_a_repeat() -> None:
    command = click(hashes=())
    assert command.needs().repeats_of is None
    _, details = decide(command, repeat=None)
    assert (details.network_hash, details.repeat) == (None, False)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.9", "203.0.113.9", True),
        ("203.0.113.9", "203.0.113.10", False),
        ("203.0.113.9", "::ffff:203.0.113.9", True),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2:bbbb::2", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
    ],
)
def test_which_addresses_are_one_network(one: str, other: str, same: bool) -> None:
    assert (network_hashes(one, [b"salt"]) == network_hashes(other, [b"salt"])) is same


def test_a_hash_says_nothing_without_its_salt() -> None:
    today, yesterday = network_hashes("203.0.113.9", [b"today", b"yesterday"])
    assert today != yesterday
    assert len(today) == 64
    assert "203.0.113.9" not in today


@pytest.mark.parametrize("address", [None, "", "unix:", "not an address", "203.0.113.9:80"])
def test_what_is_no_address_has_no_network(address: str | None) -> None:
    assert network_hashes(address, [b"salt"]) == ()


class CountedLookups:
    """Knows one link, one campaign, one creator, and how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.links = {"ana": LINK, "bare": BARE_LINK}

    async def link(self, code: str) -> LinkDetails | None:
        self.asked.append(code)
        return self.links.get(code)

    async def campaign(self, slug: str) -> CampaignDetails | None:
        self.asked.append(slug)
        return CAMPAIGN if slug == "raya" else None

    async def creator(self, id_or_handle: str) -> CreatorDetails | None:
        self.asked.append(id_or_handle)
        return CREATOR if id_or_handle in {"ana", "cre_1"} else None


async def ask_twice(lookups: RememberedLookups) -> None:
    for _ in range(2):
        assert await lookups.link("ana") == LINK
        assert await lookups.campaign("raya") == CAMPAIGN
        assert await lookups.creator("ana") == CREATOR


def test_what_was_found_is_asked_for_once() -> None:
    behind = CountedLookups()
    asyncio.run(ask_twice(RememberedLookups(behind)))
    assert behind.asked == ["ana", "raya", "ana"]


def test_a_link_works_from_the_moment_it_exists() -> None:
    behind = CountedLookups()
    lookups = RememberedLookups(behind)
    assert asyncio.run(lookups.link("new")) is None
    behind.links["new"] = LINK
    assert asyncio.run(lookups.link("new")) == LINK


def test_the_oldest_is_forgotten_first() -> None:
    behind = CountedLookups()
    lookups = RememberedLookups(behind, most=1)
    for code in ("ana", "bare", "bare", "ana"):
        asyncio.run(lookups.link(code))
    assert behind.asked == ["ana", "bare", "ana"]
