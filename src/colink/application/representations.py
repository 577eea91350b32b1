"""How configured things are shown to those who may see them: every field but keyed hashes and digests.

The same shape is the stored answer of the command that made a thing and the answer of later reads."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from colink.domain.tracking import LinkDetails

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

HIDDEN = frozenset({"customer_ref", "creator_customer_ref", "digest"})
"""Names of fields that hold keyed hashes and digests."""


def shown(details: DataclassInstance) -> dict[str, Any]:
    """The public fields of a details class, values as they are (dataclasses, Money and times are encoded later)."""
    answer = {field.name: getattr(details, field.name) for field in fields(details) if field.name not in HIDDEN}
    if isinstance(details, LinkDetails):
        answer["utm"] = dict(details.utm)
    return answer
