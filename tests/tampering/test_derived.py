"""Seals aside: each field of each kind of event is changed once, as somebody might who seals the log anew afterwards,
and what follows from the other events tells. Where nothing does, the reason stands below: only the seals say it.

A change is found where it is, or where it is recorded what had to follow from it; never before.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.api.shop import Shop
from tests.tampering.mutants import Tamperer
from tests.tampering.test_events import TOPICS

from colink.domain.audit.report import Finding, Pass
from colink.projections.audit import verify
from colink.projections.audit.verify import Effort

pytestmark = pytest.mark.anyio

_OF_ORDERS = (Pass.ORDER, Pass.ATTRIBUTION, Pass.SPLIT, Pass.REFUNDS, Pass.CLEARING, Pass.DERIVATION, Pass.INBOX)
FIRST_LOOK: Mapping[str, Collection[Pass]] = {
    "order": _OF_ORDERS,
    "payout": (Pass.ORDER, Pass.PAYOUTS, Pass.DERIVATION),
    "journal": (Pass.JOURNALS, Pass.DERIVATION, Pass.ENTRIES),
    "true_up": (Pass.ORDER, Pass.COMMISSION, Pass.DERIVATION),
    "tier": (Pass.ORDER, Pass.COMMISSION),
}
"""Where a change of such a thing mostly shows: it is looked at first. Of all others their documents are."""
SEALED = frozenset({Pass.CHAIN, Pass.SEAL})

_WHEN = "when a command decided: the log says besides when it was recorded, and money moves by times of its own"
_WHY = "why people did something"
_SAID = "what a provider said, and nobody here decided"
_READ = (
    "read from a delivery's body, which the inbox keeps and the event names by its digest; of this delivery no money"
    " followed from it"
)
_LOOKED = "what was looked at elsewhere: the tracking log leaves the database after a while"
ONLY_SEALED: Mapping[str, str] = {
    "timestamp": _WHEN,
    "reason": _WHY,
    "note": _WHY,
    "provider_id": _SAID,
    "failure_code": _SAID,
    "number": _READ,
    "taxes_included": _READ,
    "total_outstanding": _READ,
    "current_quantity": _READ,
    "carries_base": _READ,
    "order.refund_parked.refund.lines[].quantity": _READ,
    "order.refund_recorded.refund.lines[].quantity": _READ,
    "refund_id": _READ,
    "transaction_id": _READ,
    "detail": _READ,
    "order.refund_parked.refund.digest": _READ,
    "order.refund_recorded.refund.digest": _READ,
    "dispute_id": _READ,
    "initiated_at": _READ,
    "withdrawn_at": _READ,
    "closed_at": _READ,
    "order.facts_recorded.facts.disputes[].fee": _READ,
    "order.attributed.attribution.tracking_position": _LOOKED,
    "order.attributed.attribution.candidates[].creator_customer_ref": _LOOKED,
}
"""By the path of a field, or by its name in whatever event."""


def changed(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The value with one leaf changed into another of its kind, for every leaf, and its path; of lists the first
    element stands for all."""
    match value:
        case dict() if value:
            for name, part in value.items():
                yield from ((at, value | {name: each}) for at, each in changed(part, f"{path}.{name}"))
        case list() if value:
            yield from ((at, [each, *value[1:]]) for at, each in changed(value[0], f"{path}[]"))
        case bool():
            yield path, not value
        case int():
            yield path, value + 1
        case str() if (moment := _moment(value)) is not None:
            yield path, (moment + timedelta(seconds=1)).isoformat().replace("+00:00", "Z")
        case str():
            yield path, value + "~"
        case _:
            yield path, 1


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if len(text) > len("2026-03-01") else None
    except ValueError:
        return None


def test_every_leaf_becomes_another_of_its_kind() -> None:
    assert list(changed({"at": "2026-03-01T12:00:00Z", "n": [{"x": 1}, {"x": 2}], "no": None}, "e")) == [
        ("e.at", {"at": "2026-03-01T12:00:01Z", "n": [{"x": 1}, {"x": 2}], "no": None}),
        ("e.n[].x", {"at": "2026-03-01T12:00:00Z", "n": [{"x": 2}, {"x": 2}], "no": None}),
        ("e.no", {"at": "2026-03-01T12:00:00Z", "n": [{"x": 1}, {"x": 2}], "no": 1}),
    ]


def is_only_sealed(path: str) -> bool:
    return path in ONLY_SEALED or path.rpartition(".")[2] in ONLY_SEALED


async def found(business: Shop, passes: Collection[Pass]) -> list[Finding]:
    async with business.colink.pool.connection() as connection:
        report = await verify(
            connection,
            business.colink.decode,
            only=passes,
            outside=business.colink.outside(),
            effort=Effort(processes=1),
        )
    return report.findings


@pytest.mark.parametrize("topic", TOPICS)
async def test_what_follows_tells(business: Shop, tamperer: Tamperer, topic: str) -> None:
    [(position, payload)] = tamperer.rows(
        "SELECT position, payload FROM colink.events WHERE topic = %s"
        " ORDER BY length(payload) DESC, position LIMIT 1",
        topic,
    )
    first_look = FIRST_LOOK.get(topic.partition(".")[0], (Pass.ORDER, Pass.DOCUMENTS))
    unnoticed, before = [], []
    for path, event in changed(json.loads(payload), topic):
        if is_only_sealed(path):
            continue
        with tamperer.payload(position, json.dumps(event, separators=(",", ":"), ensure_ascii=False)):
            findings = await found(business, first_look)
            if not findings:
                findings = await found(business, [each for each in Pass if each not in SEALED])
        if not findings:
            unnoticed.append(path)
        elif max(each.position for each in findings) < position:
            before.append((path, findings[0]))
    assert (unnoticed, before) == ([], [])
