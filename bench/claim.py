"""What a benchmark reports."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Measured:
    """`ours` and `baseline` in `unit`, both of one run; `ratio` is the first by the second."""

    claim: str
    unit: str
    ours: float
    baseline: float
    goal: str
    ratio: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", self.ours / self.baseline)
