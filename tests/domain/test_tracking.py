"""Promise: a link leads only where its owner said, with the click id on it, and what no person did is set aside."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colink.domain.errors import InvalidInput
from colink.domain.tracking import LinkDetails, SetAside, check_code, destination_host, destination_with, set_aside

CHROME = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Mobile Safari/537.36"


def link(destination: str, *utm: tuple[str, str]) -> LinkDetails:
    return LinkDetails(id="lnk_1", code="ana", creator_id="cre_1", destination=destination, utm=utm)


@pytest.mark.parametrize("code", ["a", "Ana-10", "raya_2026", "0", "a" * 64])
def test_codes_that_pass(code: str) -> None:
    check_code(code)


@pytest.mark.parametrize("code", ["", "-a", "a-", "a b", "a/b", "a.b", "é", "a" * 65, "a\n", "%41", "a\x00b"])
def test_codes_that_are_refused(code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_code(code)
    assert refused.value.field == "code"


@pytest.mark.parametrize(
    ("destination", "host"),
    [
        ("https://kedai.example", "kedai.example"),
        ("HTTP://Kedai.Example:8080/p?q=1#f", "kedai.example"),
        ("https://kedai.example./p", "kedai.example"),
        ("https://bücher.example/ä", "xn--bcher-kva.example"),
        ("http://127.0.0.1:9/", "127.0.0.1"),
        ("http://[::1]:9/", "::1"),
    ],
)
def test_the_host_a_link_leads_to(destination: str, host: str) -> None:
    assert destination_host(destination) == host


@pytest.mark.parametrize(
    "destination",
    [
        "",
        "kedai.example/p",
        "/p",
        "//kedai.example/p",
        "javascript:alert(1)",
        "ftp://kedai.example/p",
        "https://",
        "https:///p",
        "https://user@kedai.example/",
        "https://user:secret@kedai.example/",
        "https://@kedai.example/",
        "https://kedai.example:99999/",
        "https://kedai.example:0/",
        "https://kedai.example:port/",
        "https://[::1/",
        "https://a..b/",
        "https://kedai.example\\@thief.example/",
        "https://kedai.example/\r\nSet-Cookie: a=b",
        "https://kedai.example/a b",
        "https://kedai.example/\x00",
        "https://kedai.example/\ud800",
        "https://kedai.example/" + "a" * 2048,
    ],
)
def test_destinations_that_are_refused(destination: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        destination_host(destination)
    assert refused.value.field == "destination"


@pytest.mark.parametrize(
    ("destination", "utm", "sent_to"),
    [
        ("https://k.example", [], "https://k.example?colink_ref=clk_1"),
        ("https://k.example/p?", [], "https://k.example/p?colink_ref=clk_1"),
        ("https://k.example/p?b=2&a=1&b=%20", [], "https://k.example/p?b=2&a=1&b=%20&colink_ref=clk_1"),
        ("https://k.example/p?flag&x=a+b#part", [], "https://k.example/p?flag&x=a+b&colink_ref=clk_1#part"),
        ("https://k.example/p?colink_ref=old&a=1", [], "https://k.example/p?a=1&colink_ref=clk_1"),
        ("https://k.example/p?colink%5Fref=old", [], "https://k.example/p?colink_ref=clk_1"),
        ("https://k.example/#/a?colink_ref=kept", [], "https://k.example/?colink_ref=clk_1#/a?colink_ref=kept"),
        (
            "https://k.example/p?utm_source=mail&utm_term=x",
            [("utm_source", "ana & co"), ("utm_medium", "social")],
            "https://k.example/p?utm_term=x&utm_source=ana+%26+co&utm_medium=social&colink_ref=clk_1",
        ),
        (
            "https://bücher.example:8/ä?ö=ü",
            [],
            "https://xn--bcher-kva.example:8/%C3%A4?%C3%B6=%C3%BC&colink_ref=clk_1",
        ),
        ("http://[::1]:9/p%2Fq;v", [], "http://[::1]:9/p%2Fq;v?colink_ref=clk_1"),
    ],
)
def test_where_a_click_is_sent(destination: str, utm: list[tuple[str, str]], sent_to: str) -> None:
    assert destination_with(link(destination, *utm), "clk_1") == sent_to


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "ü", "colink_ref", "utm_source"]), st.text(max_size=5)), max_size=5
    ),
    st.text(max_size=8),
)
def test_other_parameters_arrive_as_they_were(pairs: list[tuple[str, str]], source: str) -> None:
    query = "&".join(f"{name}={value.encode().hex()}" for name, value in pairs)
    sent_to = destination_with(link(f"https://k.example/p?{query}", ("utm_source", source)), "clk_1")
    kept = [(n, v.encode().hex()) for n, v in pairs if n not in {"colink_ref", "utm_source"}]
    arrived = parse_qsl(urlsplit(sent_to).query, keep_blank_values=True)
    assert arrived == [*kept, ("utm_source", source), ("colink_ref", "clk_1")]
    assert sent_to.isascii()


@pytest.mark.parametrize(
    ("method", "agent", "purposes", "is_bot", "expected"),
    [
        pytest.param("GET", CHROME, [], False, None, id="a person"),
        pytest.param("GET", f"{CHROME} Instagram 300.0", [], False, None, id="a person inside an app"),
        pytest.param("GET", f"{CHROME} [FBAN/FB4A;FBAV/400.0]", [], False, None, id="a person inside Facebook"),
        pytest.param("GET", CHROME, ["navigate"], False, None, id="another purpose"),
        pytest.param("HEAD", CHROME, [], False, SetAside.HEAD_REQUEST, id="HEAD, whoever asks"),
        pytest.param("HEAD", "Twitterbot/1.0", [], True, SetAside.HEAD_REQUEST, id="HEAD of a preview"),
        pytest.param("GET", CHROME, [], True, SetAside.BOT, id="a known crawler"),
        pytest.param("GET", "", [], False, SetAside.BOT, id="no user agent"),
        pytest.param("GET", "facebookexternalhit/1.1", [], True, SetAside.LINK_PREVIEW, id="Facebook"),
        pytest.param("GET", "Slackbot-LinkExpanding 1.0", [], True, SetAside.LINK_PREVIEW, id="Slack"),
        pytest.param("GET", "WhatsApp/2.23.20.0 A", [], True, SetAside.LINK_PREVIEW, id="WhatsApp"),
        pytest.param("GET", "Twitterbot/1.0", [], True, SetAside.LINK_PREVIEW, id="Twitter"),
        pytest.param("GET", "TelegramBot (like TwitterBot)", [], True, SetAside.LINK_PREVIEW, id="Telegram"),
        pytest.param(
            "GET", "Mozilla/5.0 (compatible; Discordbot/2.0)", [], True, SetAside.LINK_PREVIEW, id="Discord"
        ),
        pytest.param("GET", "LinkedInBot/1.0", [], True, SetAside.LINK_PREVIEW, id="LinkedIn"),
        pytest.param("GET", CHROME, ["prefetch;prerender"], False, SetAside.LINK_PREVIEW, id="Sec-Purpose"),
        pytest.param("GET", CHROME, ["", "Preview"], False, SetAside.LINK_PREVIEW, id="Purpose"),
    ],
)
def test_what_is_set_aside(
    method: str, agent: str, purposes: list[str], is_bot: bool, expected: SetAside | None
) -> None:
    assert set_aside(method=method, user_agent=agent, purposes=purposes, is_bot=is_bot) is expected
