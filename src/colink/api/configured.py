"""Reads of what is configured: one by id, and lists, narrowed to what the caller may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from colink.api.answers import json_answer
from colink.api.pages import Page, text_after
from colink.api.session import Session
from colink.application.representations import shown
from colink.domain.errors import NotFound
from colink.projections.documents import Document, document_by_id, list_documents

Shape = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What one kind is called and how it is shown. `everyone`: not of one organisation, every seller sees it."""

    details_class: type[Any]
    name: str
    everyone: bool = False

    def visible(self, session: Session, document: Document | None) -> Document:
        """Raises NotFound for none, or another organisation's."""
        if document is None:
            msg = f"there is no such {self.name}"
            raise NotFound(msg)
        if not self.everyone:
            session.check_sees_organization(document.organization_id, what=self.name)
        return document

    def show(self, document: Document) -> Shape:
        return shown(document.details(self.details_class))


async def find(session: Session, kind: Kind, id_: str, *, version: int | None = None) -> Any:
    """The details with that id. Raises NotFound."""
    async with session.services.pool.connection() as conn:
        document = await document_by_id(conn, kind.details_class, id_, version=version)
    return kind.visible(session, document).details(kind.details_class)


async def read_list(session: Session, kind: Kind, page: Page, *, organization_id: str | None = None) -> Shape:
    """A page of a kind by id, oldest first (ids hold their time). A bound caller gets its organisation's."""
    if organization_id is not None:
        session.check_sees_organization(organization_id, what="organization")
    within = None if kind.everyone else (organization_id or session.within_organization)
    async with session.services.pool.connection() as conn:
        documents = await list_documents(
            conn, kind.details_class, organization_id=within, after_id=text_after(page), limit=page.limit + 1
        )
    return page.answer(documents, key=lambda document: (document.id,), show=kind.show)


async def answer_one(session: Session, kind: Kind, id_: str) -> Response:
    return json_answer(shown(await find(session, kind, id_)))


async def answer_list(session: Session, kind: Kind, page: Page, *, organization_id: str | None = None) -> Response:
    return json_answer(await read_list(session, kind, page, organization_id=organization_id))
