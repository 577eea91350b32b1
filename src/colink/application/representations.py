"""How configured things are shown to those who may see them: every field but keyed hashes and digests. And what of
the log nobody is told.

The same shape is the stored answer of the command that made a thing and the answer of later reads."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import msgspec

from colink.domain.access import ApiKeyCreated
from colink.domain.money import Money
from colink.domain.settlements import SettlementDetails
from colink.domain.tracking import LinkDetails
from colink.domain.withholding import WithholdingDetails

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

HIDDEN = frozenset({"customer_ref", "creator_customer_ref", "digest", "handle_digest"})
"""Names of fields that hold keyed hashes and digests."""


def shown(details: DataclassInstance) -> dict[str, Any]:
    """The public fields of a details class, values as they are (dataclasses, Money and times are encoded later);
    amounts are money, also where they are kept as minor units beside one currency."""
    answer = _fields(details)
    match details:
        case LinkDetails():
            answer["utm"] = dict(details.utm)
        case SettlementDetails():
            answer |= {name: Money(answer[name], details.currency) for name in ("gross", "fee")}
            answer["fees"] = [_fields(fee) | {"amount": Money(fee.amount, details.currency)} for fee in details.fees]
        case WithholdingDetails():
            answer["threshold"] = Money(details.threshold, details.currency)
        case _:
            pass
    return answer


def _fields(details: DataclassInstance) -> dict[str, Any]:
    return {field.name: getattr(details, field.name) for field in fields(details) if field.name not in HIDDEN}


def told_payload(topic: str, payload: str) -> str:
    """The JSON text of an event's payload as whoever may read the log is told it: as recorded, but for the digest of
    an API key, which is to find a key by and nobody's to read. The log keeps it."""
    if topic != ApiKeyCreated.TOPIC:
        return payload
    try:
        return msgspec.json.encode(_without_digests(msgspec.json.decode(payload))).decode()
    except msgspec.DecodeError:
        return '"unreadable"'  # damaged, but the digest may be in it


def _without_digests(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_digests(part) for part in value]
    if isinstance(value, dict):
        return {name: _without_digests(part) for name, part in value.items() if name != "digest"}
    return value
