"""Promise: programs that say who they are are recognised, browsers and browsers inside apps are not."""

from __future__ import annotations

import pytest

from colink.adapters.crawlers import KnownCrawlers

WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("user_agent", "is_bot"),
    [
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", True),
        ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", True),
        ("Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2)", True),
        ("curl/8.5.0", True),
        ("python-requests/2.32.3", True),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0", False),
        (f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) {WEBKIT} Version/17.5 Mobile/15E148", False),
        (f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) {WEBKIT} Mobile/15E148 Instagram 300.0", False),
        (f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) {WEBKIT} [FBAN/FBIOS;FBAV/400.0]", False),
        ("x" * 100_000, False),
    ],
)
def test_known_crawlers(user_agent: str, is_bot: bool) -> None:
    crawlers = KnownCrawlers(remembered=2)
    assert crawlers.is_bot(user_agent) is is_bot
    assert crawlers.is_bot(user_agent) is is_bot
