"""API keys. A secret is shown once, in the answer that made it; only its SHA-256 is kept. Revoked is for good."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from colink.api.answers import json_answer
from colink.api.auth import Permission
from colink.api.bodies import Body, Id, Moment, Text
from colink.api.pages import Page, page, text_after
from colink.api.session import Session, may
from colink.application.configure.access import CreateApiKey, RevokeApiKey, key_digest
from colink.domain.access import Role
from colink.projections.api_keys import list_keys as read_keys
from colink.projections.api_keys import shown_key

router = APIRouter(prefix="/v1", tags=["keys"])

KeepingKeys = Annotated[Session, Depends(may(Permission.KEEP_KEYS))]


class KeyBody(Body):
    """A seller key is bound by `organization_id`, a creator key by `payee_id`, others by nothing. `name`: what it is
    for; it stays in the log, so it names no person."""

    role: Role
    organization_id: Id | None = None
    payee_id: Id | None = None
    name: Text | None = None
    expires_at: Moment | None = None


class RevocationBody(Body):
    """Why, without naming anybody: it stays in the log."""

    reason: Text | None = None


@router.post("/keys", status_code=201)
async def create_key(body: KeyBody, session: KeepingKeys) -> Response:
    """Create an API key. `key` is the secret; a replayed answer has null there, since nobody knows it any more."""
    secret = session.services.new_secret()
    digest = key_digest(secret)
    command = CreateApiKey(
        **session.common(),
        id=session.services.ids("key"),
        digest=digest,
        role=body.role,
        organization_id=body.organization_id,
        payee_id=body.payee_id,
        name=body.name,
        expires_at=body.expires_at,
    )
    return await session.submit(command, show=lambda key: {**key, "key": secret if key["id"] == command.id else None})


@router.get("/keys")
async def list_keys(
    session: KeepingKeys, page: Annotated[Page, Depends(page)], *, role: Role | None = None, standing: bool = False
) -> Response:
    """Keys without their secrets, the oldest first; `revoked` is null, or says when, by whom and why. `standing=true`
    leaves out those that were revoked or have expired."""
    async with session.services.pool.connection() as conn:
        keys = await read_keys(
            conn,
            role=role,
            standing_at=session.services.clock.now() if standing else None,
            after_id=text_after(page),
            limit=page.limit + 1,
        )
    return json_answer(page.answer(keys, key=lambda key: (key.details.id,), show=shown_key))


@router.post("/keys/{key_id}/revoke")
async def revoke_key(key_id: str, session: KeepingKeys, body: RevocationBody | None = None) -> Response:
    """End a key for good: it answers 401 from now on (`key-revoked`), elsewhere within two seconds. Of one that was
    revoked before the answer says when. The key one calls with is refused."""
    command = RevokeApiKey(**session.common(), id=key_id, reason=body.reason if body else None)
    answer = await session.submit(command, status=200)
    session.services.authenticator.forget(key_id)
    return answer
