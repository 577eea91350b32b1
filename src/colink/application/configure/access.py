"""Create and revoke API keys. Only the SHA-256 of a secret is recorded; the secret is made, shown once and forgotten
by the caller of the command."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from colink.application.configure.checks import Setup, check_text, referenced
from colink.application.ports import Decision, Facts, Needs, Request
from colink.application.representations import shown
from colink.domain.access import ApiKey, ApiKeyDetails, ApiKeyRevocation, KeyRevoked, Role
from colink.domain.creators import CreatorDetails
from colink.domain.errors import Conflict, InvalidInput, NotFound
from colink.domain.organizations import OrganizationDetails


def key_digest(secret: str) -> str:
    """What is stored of an API key: plain SHA-256, since the secret itself has 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class CreateApiKey(Setup):
    """Answers with the key's id, role and bounds. A seller key needs an organisation, a creator key a creator; keys
    of the other roles see everything and are bound to nothing. `name`: what it is for. `expires_at` lies ahead."""

    id: str
    digest: str
    role: Role
    organization_id: str | None = None
    payee_id: str | None = None
    name: str | None = None
    expires_at: datetime | None = None

    def needs(self) -> Needs:
        documents: list[tuple[type, str]] = []
        if self.organization_id is not None:
            documents.append((OrganizationDetails, self.organization_id))
        if self.payee_id is not None:
            documents.append((CreatorDetails, self.payee_id))
        return Needs(streams=(self.id,), documents=tuple(documents), keys=((ApiKeyDetails, self.digest),))

    def decide(self, facts: Facts) -> Decision:
        self._check_bounds(facts)
        if self.expires_at is not None and self.expires_at <= facts.now:
            msg = "expires_at must lie in the future"
            raise InvalidInput(msg, field="expires_at")
        if facts.keyed(ApiKeyDetails, self.digest) is not None:
            msg = "this key exists already"
            raise Conflict(msg)
        details = ApiKeyDetails(
            id=self.id,
            digest=self.digest,
            role=self.role,
            organization_id=self.organization_id,
            payee_id=self.payee_id,
            name=None if self.name is None else check_text(self.name, field="name", longest=100),
            expires_at=self.expires_at,
        )
        key = ApiKey.create(details, at=facts.now)
        return Decision(answer=shown(details), events=key.new_events(), organization_id=self.organization_id)

    def _check_bounds(self, facts: Facts) -> None:
        bound = {
            "organization_id": (self.organization_id, self.role is Role.SELLER, OrganizationDetails),
            "payee_id": (self.payee_id, self.role is Role.CREATOR, CreatorDetails),
        }
        for field, (id_, needed, type_) in bound.items():
            if needed and id_ is None:
                msg = f"a key of role {self.role} needs {field}"
                raise InvalidInput(msg, field=field)
            if not needed and id_ is not None:
                msg = f"a key of role {self.role} is not bound by {field}"
                raise InvalidInput(msg, field=field)
            if id_ is not None:
                referenced(facts, type_, id_, field=field)


@dataclass(frozen=True, kw_only=True)
class RevokeApiKey(Request):
    """End a key, for good. Revoked before, nothing happens. Answers with when and by whom it was revoked. Raises
    NotFound, OwnKey, and KeyRevoked where the caller's own key was revoked meanwhile: of two operators who revoke
    each other at the same time in one process one stays."""

    id: str
    reason: str | None = None

    def needs(self) -> Needs:
        caller = self._caller_key()
        if caller is None:
            return Needs(streams=(self.id,))
        return Needs(streams=tuple({self.id: None, caller: None}), documents=((ApiKeyRevocation, caller),))

    def decide(self, facts: Facts) -> Decision:
        key = facts.aggregate(ApiKey, self.id)
        if key is None:
            msg = "there is no such key"
            raise NotFound(msg)
        caller = self._caller_key()
        if caller is not None and facts.document(ApiKeyRevocation, caller) is not None:
            msg = f"this API key ({caller}) was revoked"
            raise KeyRevoked(msg)
        reason = None if self.reason is None else check_text(self.reason, field="reason", longest=2_000)
        revocation = key.revoke(by=self.caller.actor, reason=reason, at=facts.now)
        return Decision(
            answer={"id": key.details.id, "role": key.details.role, "revoked": shown_revocation(revocation)},
            events=key.new_events(),
            organization_id=key.details.organization_id,
        )

    def _caller_key(self) -> str | None:
        kind, _, id_ = self.caller.actor.partition(":")
        return id_ if kind == "key" and id_ else None


def shown_revocation(revocation: ApiKeyRevocation) -> dict[str, Any]:
    """When a key was revoked, by whom and why."""
    return {"at": revocation.at, "by": revocation.by, "reason": revocation.reason}
