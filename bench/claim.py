"""What a benchmark reports."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Measured:
    """`ours` and `baseline` in `unit`, both of one run; `ratio` is the first by the second. The goal is met
    where `ours` reaches `least` and the ratio `least_ratio`."""

    claim: str
    unit: str
    ours: float
    baseline: float
    least: float
    least_ratio: float = 0.0
    ratio: float = field(init=False)
    met: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", self.ours / self.baseline)
        object.__setattr__(self, "met", self.ours >= self.least and self.ratio >= self.least_ratio)

    @property
    def goal(self) -> str:
        ratio = f"{self.least_ratio:g}x, " if self.least_ratio else ""
        return f">= {ratio}{self.least:,.0f}"
