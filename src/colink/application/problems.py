"""Problem details (RFC 9457) of an error: one shape for the API's answers and for deliveries kept as rejected."""

from __future__ import annotations

from typing import Any

from colink.domain.errors import ColinkError

PROBLEM_JSON = "application/problem+json"


def problem_document(error: ColinkError) -> dict[str, Any]:
    """`{"type", "title", "status", "detail"}` and, where one input is at fault, its dotted path as `field`.

    `type` is `urn:colink:problem:{slug}`: stable, and what clients switch on.
    """
    document: dict[str, Any] = {
        "type": f"urn:colink:problem:{error.slug}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
    }
    if error.field is not None:
        document["field"] = error.field
    return document
