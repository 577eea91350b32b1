"""One authenticated request: who calls, what they are bound to, and how they submit a command.

Binding is in one place: `within_organization` and `within_payee` are what every query and command of a bound caller
is narrowed to; None means that the caller sees everything.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from psycopg import OperationalError
from psycopg_pool import PoolTimeout
from starlette.responses import Response

from colink.api.answers import json_answer
from colink.api.auth import PERSONAL, Permission, Principal
from colink.api.read_log import WATCHED
from colink.api.services import Services
from colink.application.ports import Caller, Command, Idempotency
from colink.domain.access import Role
from colink.domain.errors import InvalidInput, NotFound, Unauthorized

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
REPLAYED = "Idempotent-Replayed"
_bearer = HTTPBearer(auto_error=False, description="An API key. Roles: operator, finance, auditor, seller, creator.")


Reveal = Callable[[Sequence[Mapping[str, Any]]], Awaitable[Sequence[Mapping[str, Any]]]]


class CommonFields(TypedDict):
    """The fields every command takes."""

    caller: Caller
    idempotency: Idempotency | None


@dataclass(frozen=True, kw_only=True)
class Session:
    services: Services
    principal: Principal
    correlation_id: str
    idempotency: Idempotency | None = None
    authorization: str | None = field(default=None, repr=False)

    @property
    def within_organization(self) -> str | None:
        return self.principal.organization_id if self.principal.role is Role.SELLER else None

    @property
    def within_creator(self) -> str | None:
        return self.principal.payee_id if self.principal.role is Role.CREATOR else None

    @property
    def within_payee(self) -> str | None:
        """The payee a bound caller is: a creator, or the seller's organisation."""
        return self.within_organization or self.within_creator

    def common(self) -> CommonFields:
        caller = Caller(actor=f"key:{self.principal.key_id}", correlation_id=self.correlation_id)
        return CommonFields(caller=caller, idempotency=self.idempotency)

    async def still_stands(self) -> bool:
        """Whether the caller's key opens yet, for answers that go on; not so where nobody can say it."""
        try:
            await self.services.authenticator.principal(self.authorization)
        except (Unauthorized, OperationalError, PoolTimeout):
            return False
        return True

    def check_sees_organization(self, organization_id: str | None, *, what: str) -> None:
        """Raises NotFound for what belongs to another organisation than the caller's."""
        if self.within_organization is not None and organization_id != self.within_organization:
            msg = f"there is no such {what}"
            raise NotFound(msg)

    def check_sees_payee(self, payee_id: str | None, *, what: str) -> None:
        """Raises NotFound for what belongs to another payee than the caller."""
        if self.within_payee is not None and payee_id != self.within_payee:
            msg = f"there is no such {what}"
            raise NotFound(msg)

    async def submit(
        self,
        command: Command,
        *,
        status: int = 201,
        show: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda answer: answer,
        reveal: Reveal | None = None,
    ) -> Response:
        """Record a command and answer with what it answered, the first time's answer when it was recorded before.
        `reveal` opens what is recorded sealed."""
        recorded = await self.services.commerce.submit(command)
        headers = {REPLAYED: "true"} if recorded.replayed else {}
        answer = show(recorded.answer)
        if reveal is not None:
            [answer] = await reveal([answer])
        return json_answer(answer, status=status, headers=headers)


def watch(request: Request, principal: Principal) -> None:
    """Let a trace be kept of what this request is answered (read_log.py)."""
    setattr(request.state, WATCHED, principal)


def may(permission: Permission) -> Callable[..., Coroutine[Any, Any, Session]]:
    """The dependency of a route: a session of a caller whose role has the permission."""

    async def session(request: Request, _: Annotated[object, Depends(_bearer)]) -> Session:
        services: Services = request.app.state.services
        authorization = request.headers.get("authorization")
        principal = await services.authenticator.principal(authorization)
        if principal.role is Role.AUDITOR or permission in PERSONAL:
            watch(request, principal)
        principal.check_may(permission)
        return Session(
            services=services,
            principal=principal,
            correlation_id=request.state.correlation_id,
            idempotency=await _idempotency(request, principal, services) if request.method == "POST" else None,
            authorization=authorization,
        )

    return session


async def _idempotency(request: Request, principal: Principal, services: Services) -> Idempotency | None:
    """The digest covers method, path with query, and body: the same key with anything else is a conflict. It is a
    keyed one: with a plain digest of its body one could try account numbers until one fits."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        msg = "Idempotency-Key must be 1 to 255 printable characters without spaces"
        raise InvalidInput(msg, field="Idempotency-Key")
    digest = hmac.new(services.people.keys().digests, b"request\n", "sha256")
    address = f"{request.method} {request.url.path}?{request.url.query}".encode()
    for part in (address, await request.body()):
        digest.update(len(part).to_bytes(8, "big") + part)
    return Idempotency(scope=principal.key_id, key=key, request_digest=digest.hexdigest())
