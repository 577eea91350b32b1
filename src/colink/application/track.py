"""Record clicks and views: one command for the tracking log, and what a redirect asks of the outside.

A touch is recorded whoever made it; what no person did carries its reason and is never counted or credited. Repeats
within an hour from the same network are marked, so that they are left uncounted; attribution never looks at that.
Semantics section 3.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Protocol, TypeVar

from colink.application.ports import Caller, Decision, Facts, FirstOfItsPlace, Needs, RepeatQuery, Request
from colink.domain.campaigns import CampaignDetails
from colink.domain.creators import CreatorDetails
from colink.domain.tracking import LinkDetails, SetAside, Touch, TouchDetails, TouchKind, destination_host

T = TypeVar("T")

REPEAT_WITHIN = timedelta(hours=1)


class TrackingLookups(Protocol):
    """What links and views name. Raises Unavailable while the database is away."""

    async def link(self, code: str) -> LinkDetails | None: ...

    async def campaign(self, slug: str) -> CampaignDetails | None: ...

    async def creator(self, id_or_handle: str) -> CreatorDetails | None: ...


class SaltSource(Protocol):
    """The salts of network hashes. A salt lives for two days at most and is never written anywhere else."""

    async def salts(self, at: datetime) -> Sequence[bytes]:
        """The salt of the day of `at` (UTC), then the one of the day before if an hour before `at` was still that
        day. Raises Unavailable while the database is away."""


class CrawlerList(Protocol):
    """A kept list of user agents that are programs."""

    def is_bot(self, user_agent: str) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class RecordTouch(Request):
    """Records one click or view. Answers `{"touch_id", "repeat", "set_aside"}`.

    `touch` is complete but for `network_hash` and `repeat`, which are decided here. `network_hashes`: of the caller's
    network under the salts of the last hour, the current one first; empty where the network is not known. A touch
    that was set aside keeps no hash: nobody's repeat can be measured by it.
    """

    touch: TouchDetails
    network_hashes: tuple[str, ...] = ()

    def needs(self) -> Needs:
        return Needs(begins=(self.touch.id,), repeats_of=self._repeats())

    def decide(self, facts: Facts) -> Decision:
        """Another process may count a touch of the same place at this moment: the append looks once more."""
        details = self.touch
        guards: tuple[FirstOfItsPlace, ...] = ()
        if (query := self._repeats()) is not None:
            details = replace(details, network_hash=query.network_hashes[0], repeat=facts.is_repeat())
            guards = () if details.repeat else (FirstOfItsPlace(query=query),)
        return Decision(
            answer={"touch_id": details.id, "repeat": details.repeat, "set_aside": details.set_aside},
            events=Touch.record(details, at=facts.now).new_events(),
            organization_id=details.organization_id,
            guards=guards,
        )

    def _repeats(self) -> RepeatQuery | None:
        """What finds the touches that this one repeats; None where nobody's repeat can be measured."""
        touch = self.touch
        if touch.set_aside is not None or not self.network_hashes:
            return None
        return RepeatQuery(
            kind=touch.kind.value,
            link_id=touch.link_id,
            campaign_id=touch.campaign_id,
            creator_id=touch.creator_id,
            network_hashes=self.network_hashes,
            since=touch.occurred_at - REPEAT_WITHIN,
        )


def record_click(
    link: LinkDetails,
    *,
    click_id: str,
    at: datetime,
    visitor_id: str | None,
    set_aside: SetAside | None,
    network_hashes: Sequence[str],
) -> RecordTouch:
    """The command for following a link. Where a link has no campaign, its host decides which orders it may count
    for (attribution.leads_to_store), so the touch keeps it."""
    return RecordTouch(
        caller=Caller(actor="shopper", correlation_id=click_id),
        network_hashes=tuple(network_hashes),
        touch=TouchDetails(
            id=click_id,
            kind=TouchKind.CLICK,
            creator_id=link.creator_id,
            occurred_at=at,
            link_id=link.id,
            campaign_id=link.campaign_id,
            organization_id=link.organization_id,
            destination_host=destination_host(link.destination) if link.campaign_id is None else None,
            visitor_id=visitor_id,
            creator_customer_ref=link.creator_customer_ref,
            set_aside=set_aside,
        ),
    )


def record_view(
    campaign: CampaignDetails,
    creator: CreatorDetails,
    *,
    view_id: str,
    at: datetime,
    visitor_id: str | None,
    set_aside: SetAside | None,
    network_hashes: Sequence[str],
) -> RecordTouch:
    """The command for an impression of a campaign page or pixel, shown on behalf of a creator."""
    return RecordTouch(
        caller=Caller(actor="shopper", correlation_id=view_id),
        network_hashes=tuple(network_hashes),
        touch=TouchDetails(
            id=view_id,
            kind=TouchKind.VIEW,
            creator_id=creator.id,
            occurred_at=at,
            campaign_id=campaign.id,
            organization_id=campaign.organization_id,
            visitor_id=visitor_id,
            creator_customer_ref=creator.customer_ref,
            set_aside=set_aside,
        ),
    )


def network_hashes(address: str | None, salts: Sequence[bytes]) -> tuple[str, ...]:
    """An HMAC-SHA256 (hex) of an IP address under each salt; empty without a readable address.

    Of IPv6 the first 64 bits count: a device changes the rest by itself.
    """
    try:
        ip = ip_address(address or "")
    except ValueError:
        return ()
    if isinstance(ip, IPv6Address):
        network = str(ip.ipv4_mapped or IPv6Network((ip.packed, 64), strict=False))
    else:
        network = str(ip)
    return tuple(hmac.new(salt, network.encode(), sha256).hexdigest() for salt in salts)


class RememberedLookups:
    """TrackingLookups in front of others, so that a busy link costs no query.

    What was found is kept until newer entries crowd it out: links, campaigns and creators never change once made.
    What was not found is never kept: a link works from the moment it exists.
    """

    def __init__(self, lookups: TrackingLookups, *, most: int = 10_000) -> None:
        self._lookups = lookups
        self._most = most
        self._links: dict[str, LinkDetails] = {}
        self._campaigns: dict[str, CampaignDetails] = {}
        self._creators: dict[str, CreatorDetails] = {}

    async def link(self, code: str) -> LinkDetails | None:
        return await self._remember(self._links, code, self._lookups.link)

    async def campaign(self, slug: str) -> CampaignDetails | None:
        return await self._remember(self._campaigns, slug, self._lookups.campaign)

    async def creator(self, id_or_handle: str) -> CreatorDetails | None:
        return await self._remember(self._creators, id_or_handle, self._lookups.creator)

    async def _remember(self, known: dict[str, T], key: str, find: Callable[[str], Awaitable[T | None]]) -> T | None:
        found = known.get(key)
        if found is None:
            found = await find(key)
            if found is not None:
                while len(known) >= self._most:
                    del known[next(iter(known))]
                known[key] = found
        return found
