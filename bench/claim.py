"""What a benchmark reports, and what every claim module offers: `run(server, database) -> list[Measured]`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Measured:
    """`ours` and `baseline` in `unit`, both of one run; `ratio` is the first by the second, None without a baseline.

    The goal is met where every bound that is given holds: `least` and `most` for `ours`, `least_ratio` and
    `most_ratio` for the ratio. `detail`: what else was seen, such as percentiles and memory.
    """

    claim: str
    unit: str
    ours: float
    baseline: float | None = None
    least: float | None = None
    most: float | None = None
    least_ratio: float | None = None
    most_ratio: float | None = None
    detail: str = ""
    ratio: float | None = field(init=False)
    met: bool = field(init=False)

    def __post_init__(self) -> None:
        ratio = self.ours / self.baseline if self.baseline else None
        object.__setattr__(self, "ratio", ratio)
        bounds = (
            self.least is None or self.ours >= self.least,
            self.most is None or self.ours <= self.most,
            self.least_ratio is None or (ratio is not None and ratio >= self.least_ratio),
            self.most_ratio is None or (ratio is not None and ratio <= self.most_ratio),
        )
        object.__setattr__(self, "met", all(bounds))

    @property
    def goal(self) -> str:
        bounds = (
            (self.least_ratio, ">= {:g}x"),
            (self.most_ratio, "<= {:g}x"),
            (self.least, ">= {:,.0f}"),
            (self.most, "<= {:,.0f}"),
        )
        return ", ".join(text.format(bound) for bound, text in bounds if bound is not None)
