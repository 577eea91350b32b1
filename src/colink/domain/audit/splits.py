"""Which pass answers for which part of a split that does not follow from its deliveries and terms.

`commission`: the terms an order pinned, whom it credits, and of each line the rule and its commission; `refunds`:
what refunds, cancellations and disputes took back; `split`: everything else, so that no field is looked at by nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from colink.domain.audit.report import Kind, Pass, PassResult
from colink.domain.split import PinnedTerms, Split
from colink.domain.value import replace

_Told = dict[str, object]
_NAMES = {
    Pass.COMMISSION: "commission",
    Pass.REFUNDS: "part taken back",
    Pass.SPLIT: "split",
}


def compare_splits(
    results: Mapping[Pass, PassResult],
    position: int,
    order_id: str,
    *,
    recorded: tuple[PinnedTerms, Split],
    derived: tuple[PinnedTerms, Split | None],
) -> None:
    """One finding for each pass whose part differs."""

    def find(audit_pass: Pass, what: str, told: _Told, follows: _Told) -> None:
        differing = [name for name in {**told, **follows} if told.get(name) != follows.get(name)]
        results[audit_pass].find(
            Kind.DERIVED_DIFFERENTLY,
            position,
            order_id,
            f"not the {what} of {order_id} that follows from its deliveries and the terms it had to pin",
            recorded={name: told.get(name) for name in differing},
            derived={name: follows.get(name) for name in differing},
        )

    (terms, split), (derived_terms, derived_split) = recorded, derived
    for audit_pass in (Pass.COMMISSION, Pass.SPLIT):
        results[audit_pass].checked += 1
    if _of_refunds(split) or (derived_split is not None and _of_refunds(derived_split)):
        results[Pass.REFUNDS].checked += 1
    if terms != derived_terms:
        find(Pass.COMMISSION, "terms", _fields(terms), _fields(derived_terms))
    if split == derived_split:
        return
    if derived_split is None:
        find(Pass.SPLIT, "split", _fields(split), {})
        return
    for audit_pass, part_of in _PARTS.items():
        told, follows = part_of(split), part_of(derived_split)
        if told != follows:
            find(audit_pass, _NAMES[audit_pass], told, follows)


def _of_commission(split: Split) -> _Told:
    told: _Told = {"creator_id": split.creator_id}
    told |= {f"line {line.line_id}": (line.rule, line.commission) for line in split.lines}
    return told


def _of_refunds(split: Split) -> _Told:
    """Empty where nothing was taken back."""
    told: _Told = {}
    if split.cash_refunded:
        told["cash_refunded"] = split.cash_refunded
    if split.discrepancies:
        told["discrepancies"] = split.discrepancies
    for line in split.lines:
        reversed_parts = (line.reversed_base, line.reversed_platform_fee, line.reversed_commission)
        if any(reversed_parts):
            told[f"line {line.line_id}"] = reversed_parts
    return told


def _of_everything_else(split: Split) -> _Told:
    lines = tuple(
        replace(line, rule=None, commission=0, reversed_base=0, reversed_platform_fee=0, reversed_commission=0)
        for line in split.lines
    )
    return _fields(replace(split, creator_id=None, cash_refunded=0, discrepancies=(), lines=lines))


_PARTS: Mapping[Pass, Callable[[Split], _Told]] = {
    Pass.COMMISSION: _of_commission,
    Pass.REFUNDS: _of_refunds,
    Pass.SPLIT: _of_everything_else,
}


def _fields(value: object) -> _Told:
    return {name: getattr(value, name) for name in getattr(value, "__dataclass_fields__", ())}
