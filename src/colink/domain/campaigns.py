"""Campaigns: what an organisation asks creators to promote, with its own attribution windows and holding period."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from colink.domain.aggregates import Aggregate, Created


@dataclass(frozen=True, kw_only=True)
class CampaignDetails:
    """hold_days None: the organisation's. product_ids empty: all products. Windows in hours, end included.
    notice_days: how long creators keep the old rate for the links they have when a rate is cut; 0: no promise."""

    id: str
    organization_id: str
    name: str
    slug: str
    click_window_hours: int = 168
    view_window_hours: int = 24
    coupon_first: bool = True
    hold_days: int | None = None
    product_ids: tuple[str, ...] = ()
    notice_days: int = 0


@dataclass(frozen=True, kw_only=True)
class CampaignCreated(Created):
    TOPIC: ClassVar[str] = "campaign.created"
    class_version: ClassVar[int] = 2
    details: CampaignDetails

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """No notice was promised before there was any."""
        state["details"]["notice_days"] = 0


class Campaign(Aggregate):
    TOPIC: ClassVar[str] = "campaign"
    details: CampaignDetails

    @classmethod
    def create(cls, details: CampaignDetails, *, at: datetime) -> Campaign:
        return cls._create(CampaignCreated, id=details.id, timestamp=at, details=details)
