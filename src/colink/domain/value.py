"""Value objects that are made by the dozen for every order: frozen for the type checker, plain at run time.

A frozen dataclass calls `object.__setattr__` for each field, which makes it three to four times as slow to make as a
plain one, and most of what an order decision does is making small objects. `mypy --strict`, part of `make lint`,
refuses every assignment to a field of such a class all the same (decision 16).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from dataclasses import replace

__all__ = ["replace", "value"]
T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def value(cls: type[T]) -> type[T]:
    """A dataclass with keyword-only fields, compared and hashed by them, whose fields nobody may assign."""
    return dataclass(kw_only=True, unsafe_hash=True)(cls)


if not TYPE_CHECKING:  # the checker knows it as `dataclasses.replace`, so names and types of changes are checked

    def replace(of: T, **changes: object) -> T:
        """The same value with some fields changed. Copies what is there: no field goes through `__init__` again."""
        copy = object.__new__(type(of))
        copy.__dict__.update(of.__dict__)
        copy.__dict__.update(changes)
        return copy
