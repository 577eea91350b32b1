"""Creators: people who bring buyers. They belong to no organisation; who they are is sealed (domain/people.py)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from colink.domain.aggregates import Aggregate, Created


@dataclass(frozen=True, kw_only=True)
class CreatorDetails:
    """`handle` and `display_name` are personal texts, sealed; in clear where recorded before they were. The keyed
    digest of a sealed handle finds it, and keeps it unique. `customer_ref` is the keyed hash of the e-mail, made like
    that of a buyer, to notice own purchases."""

    id: str
    handle: str
    display_name: str
    customer_ref: str | None = None
    handle_digest: str | None = None

    @property
    def key(self) -> str:
        """What the creator is found by."""
        return self.handle_digest or self.handle


@dataclass(frozen=True, kw_only=True)
class CreatorRegistered(Created):
    TOPIC: ClassVar[str] = "creator.registered"
    class_version: ClassVar[int] = 2
    details: CreatorDetails

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        state["details"]["handle_digest"] = None


class Creator(Aggregate):
    TOPIC: ClassVar[str] = "creator"
    details: CreatorDetails

    @classmethod
    def register(cls, details: CreatorDetails, *, at: datetime) -> Creator:
        return cls._create(CreatorRegistered, id=details.id, timestamp=at, details=details)
