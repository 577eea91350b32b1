"""Tracking: links, coupons, and the touches (clicks, views) they lead to. Semantics section 3.

Links and coupons live in the commerce log, touches in the tracking log, one stream a touch.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from colink.domain.aggregates import Aggregate, Created


@dataclass(frozen=True, kw_only=True)
class LinkDetails:
    """A tracking link. `organization_id` is its campaign's; without a campaign the host of `destination` decides
    which stores it leads to. `utm` are (name, value) pairs added to the destination."""

    id: str
    code: str
    creator_id: str
    destination: str
    campaign_id: str | None = None
    organization_id: str | None = None
    creator_customer_ref: str | None = None
    utm: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class LinkCreated(Created):
    TOPIC: ClassVar[str] = "link.created"
    details: LinkDetails


class Link(Aggregate):
    TOPIC: ClassVar[str] = "link"
    details: LinkDetails

    @classmethod
    def create(cls, details: LinkDetails, *, at: datetime) -> Link:
        return cls._create(LinkCreated, id=details.id, timestamp=at, details=details)


@dataclass(frozen=True, kw_only=True)
class CouponDetails:
    """A discount code of a store that belongs to a creator. Codes compare without regard to case."""

    id: str
    organization_id: str
    store_id: str
    code: str
    creator_id: str
    campaign_id: str | None = None
    creator_customer_ref: str | None = None


@dataclass(frozen=True, kw_only=True)
class CouponCreated(Created):
    TOPIC: ClassVar[str] = "coupon.created"
    details: CouponDetails


class Coupon(Aggregate):
    TOPIC: ClassVar[str] = "coupon"
    details: CouponDetails

    @classmethod
    def create(cls, details: CouponDetails, *, at: datetime) -> Coupon:
        return cls._create(CouponCreated, id=details.id, timestamp=at, details=details)


class TouchKind(StrEnum):
    CLICK = "click"
    VIEW = "view"


class SetAside(StrEnum):
    """Why a touch is never credited."""

    BOT = "bot"
    LINK_PREVIEW = "link_preview"
    HEAD_REQUEST = "head_request"


@dataclass(frozen=True, kw_only=True)
class TouchDetails:
    """One click or view. `id` is the click id a shop hands back. `destination_host` is the link's, for links without
    a campaign. `set_aside`: recorded, never counted nor credited. `repeat`: seen within the hour from the same place;
    creditable but not counted. `network_hash`: keyed by a salt that is destroyed after 48 hours."""

    id: str
    kind: TouchKind
    creator_id: str
    occurred_at: datetime
    link_id: str | None = None
    campaign_id: str | None = None
    organization_id: str | None = None
    destination_host: str | None = None
    visitor_id: str | None = None
    creator_customer_ref: str | None = None
    network_hash: str | None = None
    set_aside: SetAside | None = None
    repeat: bool = False


@dataclass(frozen=True, kw_only=True)
class TouchRecorded(Created):
    TOPIC: ClassVar[str] = "touch.recorded"
    details: TouchDetails


class Touch(Aggregate):
    TOPIC: ClassVar[str] = "touch"
    details: TouchDetails

    @classmethod
    def record(cls, details: TouchDetails, *, at: datetime) -> Touch:
        return cls._create(TouchRecorded, id=details.id, timestamp=at, details=details)


@dataclass(frozen=True, kw_only=True)
class SeenTouch:
    """A touch with its position in the tracking log, as reads give it."""

    position: int
    details: TouchDetails
