"""What an outsider checks the log with: signed tree heads, proofs, and the tree itself as C2SP tiles.

Checkpoints and consistency proofs are for everybody: they tell how long the log is, and hashes. Proofs of events, and
tiles (the hashes of all events), need a key that may read the whole log (docs/decisions/0010).
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import PlainTextResponse, Response

from colink.api.answers import json_answer
from colink.api.auth import Permission
from colink.api.bodies import Moment
from colink.api.pages import Page, numbers_after, page
from colink.api.services import Services
from colink.api.session import Session, may
from colink.application.sealing.proofs import encoded
from colink.domain.errors import NotFound
from colink.projections.audit_reads import list_reads
from colink.projections.seals import (
    TILE_WIDTH,
    prove_consistency,
    prove_inclusion,
    required_checkpoint,
    tile,
    verifier_keys,
)

router = APIRouter(prefix="/v1/audit", tags=["audit"])

_MOST = 2**63 - 1
# tlog-tiles: groups of three digits, no more than needed, an x before all but the last; then a partial tile's width.
_TILE = re.compile(r"(?P<index>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?")
_LEVEL = re.compile(r"0|[1-9]|[1-5][0-9]|6[0-3]")
_MOST_GROUPS = 6  # indexes below 10^18

Size = Annotated[int, Query(ge=1, le=_MOST)]


@router.get("/checkpoint")
async def read_checkpoint(
    request: Request,
    format: Literal["text", "json"] | None = None,  # noqa: A002 - the name of the query parameter
) -> Response:
    """The newest signed tree head: a C2SP checkpoint as text, or JSON with `?format=json` or `Accept:
    application/json`, with the public keys of the log (the one in use last)."""
    services: Services = request.app.state.services
    async with services.pool.connection() as conn:
        newest = await required_checkpoint(conn)
        keys = await verifier_keys(conn)
    headers = {"Cache-Control": "max-age=1", "Vary": "Accept"}
    as_json = format == "json" or (format is None and _wants_json(request))
    if not as_json:
        return PlainTextResponse(newest.note, headers=headers)
    return json_answer(
        {
            "tree_size": newest.tree_size,
            "root_hash": encoded(newest.root),
            "signed_at": newest.signed_at,
            "checkpoint": newest.note,
            "public_keys": keys,
        },
        headers=headers,
    )


@router.get("/proof")
async def read_proof(
    session: Annotated[Session, Depends(may(Permission.PROVE))],
    position: Annotated[int, Query(ge=1, le=_MOST)],
    tree_size: Size | None = None,
) -> Response:
    """That an event is in the log: RFC 6962 inclusion in the tree of `tree_size` events, the newest checkpoint's
    where none is given. Check it with `colink audit verify-proof`; docs/auditor.md says how by other means."""
    async with session.services.pool.connection() as conn:
        return json_answer(await prove_inclusion(conn, position, size=tree_size))


@router.get("/consistency")
async def read_consistency(
    request: Request, from_: Annotated[int, Query(alias="from", ge=1, le=_MOST)], to: Size | None = None
) -> Response:
    """That the log of `to` events (the newest checkpoint's where none is given) begins with the log of `from`."""
    services: Services = request.app.state.services
    async with services.pool.connection() as conn:
        return json_answer(await prove_consistency(conn, old=from_, new=to))


@router.get("/reads")
async def read_reads(
    session: Annotated[Session, Depends(may(Permission.SEE_READS))],
    page: Annotated[Page, Depends(page)],
    reader: str | None = None,
    from_: Annotated[Moment | None, Query(alias="from")] = None,
    to: Moment | None = None,
) -> Response:
    """What auditors read, and who read personal data, by arrival: each request with who made it, its route and
    parameters, its status and how many items it listed. `reader` is `key:` and the id of an API key. `to` is
    exclusive. This request is among those of the next one."""
    after = numbers_after(page, count=1)
    async with session.services.pool.connection() as conn:
        reads = await list_reads(
            conn,
            reader=reader,
            since=from_,
            until=to,
            after=after[0] if after else None,
            limit=page.limit + 1,
        )
    return json_answer(page.answer(reads, key=lambda read: (read.seq,)))


@router.get("/tile/{level}/{path:path}")
async def read_tile(level: str, path: str, session: Annotated[Session, Depends(may(Permission.PROVE))]) -> Response:
    """A tile of the Merkle tree (C2SP tlog-tiles): up to 256 hashes of 32 bytes."""
    match = _TILE.fullmatch(path)
    if match is None or not _LEVEL.fullmatch(level):
        raise NotFound("there is no such tile")
    groups = match["index"].replace("x", "").split("/")
    if len(groups) > _MOST_GROUPS or (len(groups) > 1 and groups[0] == "000"):
        raise NotFound("there is no such tile")
    width = int(match["width"]) if match["width"] else TILE_WIDTH
    if match["width"] and width >= TILE_WIDTH:
        raise NotFound("there is no such tile")
    async with session.services.pool.connection() as conn:
        hashes = await tile(conn, level=int(level), index=int("".join(groups)), width=width)
    return Response(
        hashes,
        media_type="application/octet-stream",
        headers={"Cache-Control": "private, max-age=31536000, immutable"},
    )


def _wants_json(request: Request) -> bool:
    """Whether JSON is asked for by name; `*/*` is answered with the note itself."""
    accepted = [each.partition(";")[0].strip().lower() for each in request.headers.get("accept", "").split(",")]
    return "application/json" in accepted and "text/plain" not in accepted
