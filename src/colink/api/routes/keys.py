"""API keys. A secret is shown once, in the answer that made it; only its SHA-256 is kept."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from colink.api.auth import Permission
from colink.api.bodies import Body, Id
from colink.api.configured import Kind, answer_list
from colink.api.pages import Page, page
from colink.api.session import Session, may
from colink.application.configure.access import CreateApiKey, key_digest
from colink.domain.access import ApiKeyDetails, Role

router = APIRouter(prefix="/v1", tags=["keys"])

API_KEY = Kind(details_class=ApiKeyDetails, name="key")
CreatingKeys = Annotated[Session, Depends(may(Permission.CREATE_KEYS))]


class KeyBody(Body):
    """A seller key is bound by `organization_id`, a creator key by `payee_id`, others by nothing."""

    role: Role
    organization_id: Id | None = None
    payee_id: Id | None = None


@router.post("/keys", status_code=201)
async def create_key(body: KeyBody, session: CreatingKeys) -> Response:
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
    )
    return await session.submit(command, show=lambda key: {**key, "key": secret if key["id"] == command.id else None})


@router.get("/keys")
async def list_keys(session: CreatingKeys, page: Annotated[Page, Depends(page)]) -> Response:
    """All keys without their secrets, oldest first."""
    return await answer_list(session, API_KEY, page)
