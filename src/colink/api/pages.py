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
        msg = "cursor is not one that a list gave: pass next_cursor on unchanged"
        raise InvalidInput(msg, field="cursor")
    return tuple(parts)
