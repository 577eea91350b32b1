"""Repeats inside one batch: touches of one place that are decided together, in the order in which they came.

What a batch reads was there before it. So the touches decided in it so far are kept here, and the command behind them
is told of those that its repeat query would find. Whoever was told so leans on its batch: when a part of that batch
is not recorded after all, it decides again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from datetime import datetime

from colink.application.ports import RepeatQuery
from colink.projections.inline import Row, TouchRow


def place_keys(query: RepeatQuery) -> Iterable[Hashable]:
    """What two repeat queries have in common when one may find the touch of the other."""
    for network_hash in query.network_hashes:
        yield _place(network_hash, query.kind, query.creator_id, query.link_id, query.campaign_id)


class DecidedTouches:
    """When each place was last touched, by the commands of a batch decided so far."""

    def __init__(self) -> None:
        self._last: dict[Hashable, datetime] = {}

    def has(self, query: RepeatQuery) -> bool:
        return any(key in self._last and self._last[key] >= query.since for key in place_keys(query))

    def add(self, rows: Iterable[Sequence[Row]]) -> None:
        for row in (row for of_event in rows for row in of_event):
            if isinstance(row, TouchRow) and row.network_hash is not None:
                key = _place(row.network_hash, row.kind, row.creator_id, row.link_id, row.campaign_id)
                self._last[key] = max(row.occurred_at, self._last.get(key, row.occurred_at))


def _place(
    network_hash: str, kind: str, creator_id: str, link_id: str | None, campaign_id: str | None
) -> tuple[str | None, ...]:
    return "place", network_hash, kind, creator_id, link_id, campaign_id
