"""Create API keys. Only the SHA-256 of a secret is recorded; the secret is made, shown once and forgotten by the
caller of this command."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from colink.application.configure.checks import Setup, referenced
from colink.application.ports import Decision, Facts, Needs
from colink.application.representations import shown
from colink.domain.access import ApiKey, ApiKeyDetails, Role
from colink.domain.creators import CreatorDetails
from colink.domain.errors import Conflict, InvalidInput
from colink.domain.organizations import OrganizationDetails


def key_digest(secret: str) -> str:
    """What is stored of an API key: plain SHA-256, since the secret itself has 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class CreateApiKey(Setup):
    """Answers with the key's id, role and bounds. A seller key needs an organisation, a creator key a creator; keys
    of the other roles see everything and are bound to nothing."""

    id: str
    digest: str
    role: Role
    organization_id: str | None = None
    payee_id: str | None = None

    def needs(self) -> Needs:
        documents: list[tuple[type, str]] = []
        if self.organization_id is not None:
            documents.append((OrganizationDetails, self.organization_id))
        if self.payee_id is not None:
            documents.append((CreatorDetails, self.payee_id))
        return Needs(streams=(self.id,), documents=tuple(documents), keys=((ApiKeyDetails, self.digest),))

    def decide(self, facts: Facts) -> Decision:
        self._check_bounds(facts)
        if facts.keyed(ApiKeyDetails, self.digest) is not None:
            msg = "this key exists already"
            raise Conflict(msg)
        details = ApiKeyDetails(
            id=self.id,
            digest=self.digest,
            role=self.role,
            organization_id=self.organization_id,
            payee_id=self.payee_id,
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
