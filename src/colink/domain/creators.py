"""Creators: people who bring buyers. They belong to no organisation; personal data stays out of the log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from colink.domain.aggregates import Aggregate, Created


@dataclass(frozen=True, kw_only=True)
class CreatorDetails:
    """`customer_ref` is the keyed hash of the e-mail, made like that of a buyer, to notice own purchases."""

    id: str
    handle: str
    display_name: str
    customer_ref: str | None = None


@dataclass(frozen=True, kw_only=True)
class CreatorRegistered(Created):
    TOPIC: ClassVar[str] = "creator.registered"
    details: CreatorDetails


class Creator(Aggregate):
    TOPIC: ClassVar[str] = "creator"
    details: CreatorDetails

    @classmethod
    def register(cls, details: CreatorDetails, *, at: datetime) -> Creator:
        return cls._create(CreatorRegistered, id=details.id, timestamp=at, details=details)
