"""Products and SKUs of a store, known by the platform's own ids."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from colink.domain.aggregates import Aggregate, Created, Event
from colink.domain.money import Money


@dataclass(frozen=True, kw_only=True)
class Sku:
    """One variant: `external_id` is the platform's variant id, `sku` the seller's own code."""

    id: str
    external_id: str
    sku: str
    price: Money


@dataclass(frozen=True, kw_only=True)
class ProductDetails:
    id: str
    organization_id: str
    store_id: str
    external_id: str
    title: str
    skus: tuple[Sku, ...]


@dataclass(frozen=True, kw_only=True)
class ProductRecorded(Created):
    TOPIC: ClassVar[str] = "product.recorded"
    details: ProductDetails


@dataclass(frozen=True, kw_only=True)
class ProductChanged(Event):
    TOPIC: ClassVar[str] = "product.changed"
    details: ProductDetails

    def apply(self, aggregate: Product) -> None:
        aggregate.details = self.details


class Product(Aggregate):
    TOPIC: ClassVar[str] = "product"
    details: ProductDetails

    @classmethod
    def record(cls, details: ProductDetails, *, at: datetime) -> Product:
        return cls._create(ProductRecorded, id=details.id, timestamp=at, details=details)

    def change(self, details: ProductDetails, *, at: datetime) -> None:
        if details != self.details:
            self.trigger_event(ProductChanged, details=details, timestamp=at)
