"""Known crawlers, by the list of the crawler-user-agents package. What to do about them is domain/tracking.py's."""

from __future__ import annotations

from functools import lru_cache

from crawleruseragents import is_crawler

_LONGEST = 512  # characters looked at: crawlers name themselves early, and the patterns are many


class KnownCrawlers:
    """Answers from memory for the user agents seen lately: one look at the whole list takes up to a millisecond."""

    def __init__(self, *, remembered: int = 10_000) -> None:
        self._is_crawler = lru_cache(maxsize=remembered)(is_crawler)

    def is_bot(self, user_agent: str) -> bool:
        return bool(self._is_crawler(user_agent[:_LONGEST]))
