"""Every event type of the domain, the shape of its payload, and examples of it.

A shape is what the stored text of an event may look like, as JSON: names, order, types, which parts may be null, the
members of enumerations. It says nothing of class names and defaults, which are not stored.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

import colink.domain
from colink.domain.aggregates import Created, Event

FOLDER = Path(__file__).parent / "events"
_NOT_STORED = {"originator_id", "originator_version"}  # columns of the log, not part of the payload
_NAMED = {inspect.StrType: "text", inspect.IntType: "integer", inspect.BoolType: "boolean"} | {
    inspect.DateTimeType: "time",
    inspect.DateType: "date",
    inspect.DecimalType: "decimal",
    inspect.NoneType: "null",
}
_FIRST = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event_types() -> list[type[Event]]:
    """All event classes of colink.domain that have no subclasses: those that are recorded."""
    for module in pkgutil.walk_packages(colink.domain.__path__, "colink.domain."):
        importlib.import_module(module.name)
    ours = [cls for cls in _subclasses(Event) if cls.__module__.startswith("colink.")]
    return sorted((cls for cls in ours if not cls.__subclasses__()), key=lambda cls: (cls.TOPIC, cls.__name__))


def _subclasses(cls: type[Event]) -> Iterator[type[Event]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def file_of(cls: type[Event], version: int) -> Path:
    return FOLDER / f"{cls.TOPIC}.v{version}.json"


def shape_of(cls: type[Event]) -> dict[str, Any]:
    """The shape of the payload that the class writes now."""
    fields = _fields(inspect.type_info(cls))
    return {name: _shape(kind) for name, kind in fields if name not in _NOT_STORED}


def _fields(info: inspect.Type) -> list[tuple[str, inspect.Type]]:
    assert isinstance(info, inspect.DataclassType)
    return [(field.encode_name, field.type) for field in info.fields]


def _shape(kind: inspect.Type) -> Any:
    match kind:
        case inspect.DataclassType():
            return {name: _shape(part) for name, part in _fields(kind)}
        case inspect.EnumType():
            return "one of " + ", ".join(sorted(member.value for member in kind.cls))
        case inspect.UnionType():
            parts = sorted((_shape(part) for part in kind.types), key=lambda part: (part == "null", str(part)))
            return " or ".join(parts) if all(isinstance(part, str) for part in parts) else {"either": parts}
        case inspect.VarTupleType() | inspect.ListType():
            return {"list of": _shape(kind.item_type)}
        case inspect.TupleType():
            return {"each": [_shape(part) for part in kind.item_types]}
        case inspect.DictType():
            return {"map of": _shape(kind.value_type)}
        case _:
            return _NAMED[type(kind)]  # a type that has no name here yet wants one: KeyError


def examples_of(cls: type[Event]) -> list[Event]:
    """One event with every part of it present, and one with as little as it may have."""
    return [_Teller(full=full).event(cls) for full in (True, False)]


class _Teller:
    """Makes up values that differ from each other, the same ones on every run."""

    def __init__(self, *, full: bool) -> None:
        self.full = full
        self.numbers = count(1)

    def event(self, cls: type[Event]) -> Event:
        values = {name: self.value(name, kind) for name, kind in _fields(inspect.type_info(cls))}
        if issubclass(cls, Created):
            values["originator_topic"] = cls.TOPIC.partition(".")[0]
        return msgspec.convert(values, cls)

    def value(self, name: str, kind: inspect.Type) -> Any:
        number = next(self.numbers)
        match kind:
            case inspect.DataclassType():
                return {part: self.value(part, inner) for part, inner in _fields(kind)}
            case inspect.EnumType():
                members = list(kind.cls)
                return members[number % len(members)] if self.full else members[0]
            case inspect.UnionType():
                present = [part for part in kind.types if not isinstance(part, inspect.NoneType)]
                return self.value(name, present[0]) if self.full or len(present) == len(kind.types) else None
            case inspect.VarTupleType() | inspect.ListType():
                return [self.value(name, kind.item_type) for _ in range(2 if self.full else 0)]
            case inspect.TupleType():
                return [self.value(name, part) for part in kind.item_types]
            case inspect.DictType():
                return {f"{name}_{number}": self.value(name, kind.value_type)} if self.full else {}
            case _:
                return self.plain(name, number, kind)

    def plain(self, name: str, number: int, kind: inspect.Type) -> Any:
        match kind:
            case inspect.StrType():
                return "MYR" if name.endswith("currency") else f'{name} {number} "é"' if self.full else ""
            case inspect.IntType():
                return number if self.full else 0
            case inspect.BoolType():
                return self.full
            case inspect.DecimalType():
                return Decimal(number) / 100 if self.full else Decimal("0.00")
            case inspect.DateTimeType():
                return _FIRST + timedelta(microseconds=number) if self.full else _FIRST
            case inspect.DateType():
                return date(2026, 3, 1)
            case _:
                msg = f"no example of a {type(kind).__name__}, the type of {name}, is known"
                raise TypeError(msg)
