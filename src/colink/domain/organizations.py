"""Organisations (sellers) and their stores: who sells, on what terms, and who collects the money."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from colink.domain.aggregates import Aggregate, Created
from colink.domain.errors import InvalidInput
from colink.domain.money import Money


@dataclass(frozen=True, kw_only=True)
class OrganizationDetails:
    """The terms an organisation sells on (semantics sections 4 to 6).

    platform_fee_bps: basis points of the line bases; hold_days: whole days from `paid_at` until money clears;
    refund_platform_fee: whether a refund gives the platform fee back; advance: whether creators of seller-collected
    stores are cleared before the seller has paid.
    """

    id: str
    name: str
    platform_fee_bps: int
    hold_days: int = 14
    timezone: str = "UTC"
    refund_platform_fee: bool = True
    advance: bool = False


@dataclass(frozen=True, kw_only=True)
class OrganizationRegistered(Created):
    TOPIC: ClassVar[str] = "organization.registered"
    details: OrganizationDetails


class Organization(Aggregate):
    TOPIC: ClassVar[str] = "organization"
    details: OrganizationDetails

    @classmethod
    def register(cls, details: OrganizationDetails, *, at: datetime) -> Organization:
        return cls._create(OrganizationRegistered, id=details.id, timestamp=at, details=details)


class Platform(StrEnum):
    """Where a shop runs (contract, HTTP). Only platforms in `OFFERED_PLATFORMS` can be connected so far."""

    SHOPIFY = "shopify"
    WOOCOMMERCE = "woocommerce"
    SHOPEE = "shopee"
    LAZADA = "lazada"


OFFERED_PLATFORMS = frozenset({Platform.SHOPIFY})
"""Those whose deliveries can be read: for each there is a connector."""


class Settlement(StrEnum):
    """Who holds the buyers' money (semantics section 6)."""

    PLATFORM_COLLECTED = "platform_collected"
    SELLER_COLLECTED = "seller_collected"


@dataclass(frozen=True, kw_only=True)
class FeeSchedule:
    """The payment fee of a store where no better source is known: a rate of the total collected plus a fixed part.

    The fixed part is money, which counts only for orders in its own currency, or a number of minor units of whatever
    currency an order is in."""

    rate_bps: int = 0
    fixed: Money | int | None = None

    def fixed_in(self, currency: str) -> int:
        """The fixed part of one order, in minor units of its currency."""
        if isinstance(self.fixed, Money):
            return self.fixed.amount if self.fixed.currency == currency else 0
        return self.fixed or 0


@dataclass(frozen=True, kw_only=True)
class StoreDetails:
    """One shop of an organisation. `domain` is a bare host name, lower case. Its secrets are kept out of the log."""

    id: str
    organization_id: str
    platform: Platform
    name: str
    settlement: Settlement
    domain: str | None = None
    payment_fee: FeeSchedule | None = None


@dataclass(frozen=True, kw_only=True)
class StoreConnected(Created):
    TOPIC: ClassVar[str] = "store.connected"
    details: StoreDetails


class Store(Aggregate):
    TOPIC: ClassVar[str] = "store"
    details: StoreDetails

    @classmethod
    def connect(cls, details: StoreDetails, *, at: datetime) -> Store:
        check_platform_is_offered(details.platform)
        return cls._create(StoreConnected, id=details.id, timestamp=at, details=details)


def check_platform_is_offered(platform: Platform) -> None:
    """Raises InvalidInput: nobody would read what such a store delivers."""
    if platform not in OFFERED_PLATFORMS:
        msg = f"the platform {platform} is not offered yet: choose one of {', '.join(sorted(OFFERED_PLATFORMS))}"
        raise InvalidInput(msg, field="platform")
