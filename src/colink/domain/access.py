"""API keys: who may call. Only a SHA-256 of the secret is ever recorded (the secret has 256 random bits).

A key stands until it is revoked or expires. Neither is undone: whoever is to call again gets another key. What people
decided with a key stays decided, and the log goes on naming it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from colink.domain.aggregates import Aggregate, Created, Event
from colink.domain.errors import Conflict, Unauthorized


class KeyRevoked(Unauthorized):
    slug, title = "key-revoked", "This API key was revoked"


class KeyExpired(Unauthorized):
    slug, title = "key-expired", "This API key has expired"


class OwnKey(Conflict):
    slug, title = "own-key", "A key does not revoke itself"


class Role(StrEnum):
    """What a key may do (contract, HTTP: roles)."""

    OPERATOR = "operator"
    FINANCE = "finance"
    AUDITOR = "auditor"
    SELLER = "seller"
    CREATOR = "creator"


@dataclass(frozen=True, kw_only=True)
class ApiKeyDetails:
    """A key without its secret. A seller key is bound to an organisation, a creator key to a payee. `name`: what it
    is for. `expires_at`: from then on it opens nothing."""

    id: str
    digest: str
    role: Role
    organization_id: str | None
    payee_id: str | None
    name: str | None
    expires_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ApiKeyRevocation:
    """The end of the key `id`."""

    id: str
    at: datetime
    by: str
    reason: str | None


def check_key_stands(details: ApiKeyDetails, revocation: ApiKeyRevocation | None, *, at: datetime) -> None:
    """Raises KeyRevoked, KeyExpired."""
    if revocation is not None:
        ended = f"was revoked at {revocation.at:%Y-%m-%dT%H:%M:%SZ}"
        msg = f"this API key ({details.id}) {ended}: ask an operator for another"
        raise KeyRevoked(msg)
    if details.expires_at is not None and details.expires_at <= at:
        ended = f"expired at {details.expires_at:%Y-%m-%dT%H:%M:%SZ}"
        msg = f"this API key ({details.id}) {ended}: ask an operator for another"
        raise KeyExpired(msg)


@dataclass(frozen=True, kw_only=True)
class ApiKeyCreated(Created):
    TOPIC: ClassVar[str] = "api_key.created"
    class_version: ClassVar[int] = 2
    details: ApiKeyDetails

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        state["details"] |= {"name": None, "expires_at": None}


@dataclass(frozen=True, kw_only=True)
class ApiKeyRevoked(Event):
    """It says nothing of the key but which: what that was, its creation says."""

    TOPIC: ClassVar[str] = "api_key.revoked"
    details: ApiKeyRevocation

    def apply(self, aggregate: ApiKey) -> None:
        aggregate.revocation = self.details


@dataclass
class ApiKey(Aggregate):
    TOPIC: ClassVar[str] = "api_key"
    details: ApiKeyDetails
    revocation: ApiKeyRevocation | None = field(default=None, init=False)

    @classmethod
    def create(cls, details: ApiKeyDetails, *, at: datetime) -> ApiKey:
        return cls._create(ApiKeyCreated, id=details.id, timestamp=at, details=details)

    def revoke(self, *, by: str, reason: str | None, at: datetime) -> ApiKeyRevocation:
        """The end of the key; where it was revoked before, that, and nothing happens. Raises OwnKey: who revokes keys
        keeps one, so an operator cannot lock out everybody."""
        if by == f"key:{self.details.id}":
            msg = f"{self.details.id} is the key you call with: revoke it with another operator's key"
            raise OwnKey(msg)
        if self.revocation is None:
            revocation = ApiKeyRevocation(id=self.details.id, at=at, by=by, reason=reason)
            self.trigger_event(ApiKeyRevoked, details=revocation, timestamp=at)
            return revocation
        return self.revocation
