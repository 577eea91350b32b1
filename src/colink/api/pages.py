"""Lists: `{"items": [...], "next_cursor": null}` with `?limit=&cursor=`.

A cursor is opaque to clients: the sort key of the last item, as URL-safe base64 of JSON.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Query

from colink.domain.errors import InvalidInput

T = TypeVar("T")
_FOREIGN = "cursor is not one that this list gave: pass its next_cursor on unchanged"
SortKey = tuple[str | int, ...]

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=2_000)]


@dataclass(frozen=True, slots=True)
class Page:
    """What part of a list is asked for: at most `limit` items that sort after `after` (None: from the start)."""

    limit: int
    after: SortKey | None

    def answer(
        self, items: Sequence[T], *, key: Callable[[T], SortKey], show: Callable[[T], Any] = lambda item: item
    ) -> dict[str, Any]:
        """`items` are up to `limit + 1` items in order: one more than asked for tells that there is a next page."""
        page = items[: self.limit]
        more = len(items) > self.limit
        return {
            "items": [show(item) for item in page],
            "next_cursor": encode_cursor(key(page[-1])) if more else None,
        }


def page(limit: Limit = 50, cursor: Cursor = None) -> Page:
    """The dependency of every route that lists."""
    return Page(limit=limit, after=decode_cursor(cursor) if cursor else None)


def encode_cursor(key: SortKey) -> str:
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> SortKey:
    """Raises InvalidInput for what is no cursor of ours."""
    try:
        parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        parts = None
    if not isinstance(parts, list) or not all(type(part) in {str, int} for part in parts):
        raise InvalidInput(_FOREIGN, field="cursor")
    return tuple(parts)


def text_after(page: Page) -> str | None:
    """The text a list goes on after, for lists sorted by one text. Raises InvalidInput for another list's cursor."""
    texts = texts_after(page, count=1)
    return texts[0] if texts else None


def numbers_after(page: Page, *, count: int) -> tuple[int, ...] | None:
    """The numbers a list goes on after, for lists sorted by `count` numbers. Raises InvalidInput as above."""
    if page.after is None:
        return None
    numbers = tuple(part for part in page.after if isinstance(part, int))
    if len(numbers) != count or len(page.after) != count or any(not 0 <= number < 2**63 for number in numbers):
        raise InvalidInput(_FOREIGN, field="cursor")
    return numbers


def texts_after(page: Page, *, count: int) -> tuple[str, ...] | None:
    """The texts a list goes on after, for lists sorted by `count` texts. Raises InvalidInput as above."""
    if page.after is None:
        return None
    texts = tuple(part for part in page.after if isinstance(part, str))
    if len(texts) != count or len(page.after) != count or any("\x00" in text for text in texts):
        raise InvalidInput(_FOREIGN, field="cursor")
    return texts
