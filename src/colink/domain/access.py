"""API keys: who may call. Only a SHA-256 of the secret is ever recorded (the secret has 256 random bits)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from colink.domain.aggregates import Aggregate, Created


class Role(StrEnum):
    """What a key may do (contract, HTTP: roles)."""

    OPERATOR = "operator"
    FINANCE = "finance"
    AUDITOR = "auditor"
    SELLER = "seller"
    CREATOR = "creator"


@dataclass(frozen=True, kw_only=True)
class ApiKeyDetails:
    """A key without its secret. A seller key is bound to an organisation, a creator key to a payee."""

    id: str
    digest: str
    role: Role
    organization_id: str | None
    payee_id: str | None


@dataclass(frozen=True, kw_only=True)
class ApiKeyCreated(Created):
    TOPIC: ClassVar[str] = "api_key.created"
    details: ApiKeyDetails


class ApiKey(Aggregate):
    TOPIC: ClassVar[str] = "api_key"
    details: ApiKeyDetails

    @classmethod
    def create(cls, details: ApiKeyDetails, *, at: datetime) -> ApiKey:
        return cls._create(ApiKeyCreated, id=details.id, timestamp=at, details=details)
