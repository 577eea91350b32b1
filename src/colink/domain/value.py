"""Value objects that are made by the dozen for every order: frozen for the type checker, plain at run time.

A frozen dataclass calls `object.__setattr__` for each field, which makes it three to four times as slow to make as a
plain one, and most of what an order decision does is making small objects. `mypy --strict`, part of `make lint`,
refuses every assignment to a field of such a class all the same (decision 16).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def value(cls: type[T]) -> type[T]:
    """A dataclass with keyword-only fields, compared and hashed by them, whose fields nobody may assign."""
    return dataclass(kw_only=True, unsafe_hash=True)(cls)
