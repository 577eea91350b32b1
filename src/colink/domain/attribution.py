"""Attribution: which creator, if any, an order is credited to, and why. Semantics section 3."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from colink.domain.tracking import SetAside


class Outcome(StrEnum):
    CLICK = "click"
    VIEW = "view"
    COUPON = "coupon"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class CouponUse:
    """A code used in an order with the discount it gave (minor units), in payload order."""

    code: str
    discount: int


@dataclass(frozen=True, kw_only=True)
class OrderKeys:
    """What an order carries to find touches with: the union over its deliveries, in a stable order."""

    click_ids: tuple[str, ...] = ()
    visitor_ids: tuple[str, ...] = ()
    coupons: tuple[CouponUse, ...] = ()
    customer_ref: str | None = None


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One touch or coupon that was looked at, with the evidence the verdict rests on.

    kind is `click`, `view` or `coupon`; `occurred_at` of a coupon is the order's `placed_at`. `reason` says in a
    stable word why it was accepted or not (`winner`, `supporting`, `outside_window`, `after_order`, ...).
    """

    kind: Outcome
    creator_id: str
    occurred_at: datetime
    accepted: bool
    reason: str
    position: int
    touch_id: str | None = None
    link_id: str | None = None
    coupon_id: str | None = None
    campaign_id: str | None = None
    organization_id: str | None = None
    destination_host: str | None = None
    creator_customer_ref: str | None = None
    set_aside: SetAside | None = None
    window_hours: int | None = None
    discount: int | None = None


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """The decision and everything needed to make it again: the order's keys and time, the candidates, and the log
    positions that were seen. `own_link`: the creator bought through their own link or code; credited, on hold."""

    outcome: Outcome
    creator_id: str | None
    campaign_id: str | None
    link_id: str | None
    touch_id: str | None
    touched_at: datetime | None
    own_link: bool
    candidates: tuple[Candidate, ...]
    keys: OrderKeys
    placed_at: datetime
    tracking_position: int
    terms_position: int
