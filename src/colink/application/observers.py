"""Who hears of the committers' work: metrics and traces join when there is somebody to show them to."""

from __future__ import annotations

from colink.application.ports import CommitObserver


class CommitObservers:
    """A CommitObserver that tells others, those that joined."""

    def __init__(self) -> None:
        self._others: list[CommitObserver] = []

    def join(self, observer: CommitObserver) -> None:
        self._others.append(observer)

    def batch_committed(self, log: str, commands: int, events: int, seconds: float) -> None:
        for other in self._others:
            other.batch_committed(log, commands, events, seconds)

    def queue_depth(self, log: str, depth: int) -> None:
        for other in self._others:
            other.queue_depth(log, depth)

    def retried(self, log: str, commands: int) -> None:
        for other in self._others:
            other.retried(log, commands)
