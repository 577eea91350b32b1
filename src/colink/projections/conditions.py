"""Conditions of the read models' queries. Column names are ours, values always travel as parameters."""

from __future__ import annotations

from typing import Any


class Where:
    """Conditions joined by `and`, with their values."""

    def __init__(self) -> None:
        self._conditions: list[str] = []
        self.values: dict[str, Any] = {}

    def equals(self, **columns: object) -> None:
        """`column = value` for every value that is not None. Names are ours, never a caller's."""
        for column, value in columns.items():
            if value is not None:
                self.add(f"{column} = %({column})s", **{column: value})

    def add(self, condition: str, **values: object) -> None:
        self._conditions.append(condition)
        self.values.update(values)

    def and_(self, condition: str) -> str:
        """The text with one more condition."""
        return f" where {' and '.join([*self._conditions, condition])}"

    def __str__(self) -> str:
        return f" where {' and '.join(self._conditions)}" if self._conditions else ""
