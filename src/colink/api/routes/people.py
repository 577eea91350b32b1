"""People whose data is kept: found by their e-mail address, and erased. For operators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from colink.api.answers import json_answer
from colink.api.auth import Permission
from colink.api.bodies import Body, Text
from colink.api.session import REPLAYED, Session, may

router = APIRouter(prefix="/v1/people", tags=["people"])

Erasing = Annotated[Session, Depends(may(Permission.ERASE_PEOPLE))]


class FindBody(Body):
    """The address is hashed and forgotten."""

    email: Text


class EraseBody(Body):
    """Why, without naming anybody: it stays in the log. The number of the person's request, for example."""

    reason: Text


@router.post("/find")
async def find(body: FindBody, session: Erasing) -> Response:
    """Creators and buyers with an e-mail address, and how much is kept under keys of theirs. Reads the whole log."""
    return json_answer({"items": await session.services.privacy.find(body.email), "next_cursor": None})


@router.post("/{person_id}/erase")
async def erase(person_id: str, body: EraseBody, session: Erasing) -> Response:
    """Destroy the keys to everything personal kept of a creator, an organisation, a buyer, an order or a delivery.
    There is no way back. Money, attributions and proofs stay as they are."""
    recorded = await session.services.privacy.erase(person_id, reason=body.reason, **session.common())
    return json_answer(recorded.answer, headers={REPLAYED: "true"} if recorded.replayed else {})
