"""Tracking: links, coupons, and the touches (clicks, views) they lead to. Semantics section 3.

Links and coupons live in the commerce log, touches in the tracking log, one stream a touch. This module also says
what a link may look like, where a click is sent, and which requests are set aside. Whom an order is credited to is
decided in attribution.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar
from urllib.parse import SplitResult, quote, quote_plus, unquote_plus, urlsplit

from colink.domain.aggregates import Aggregate, Created
from colink.domain.errors import InvalidInput
from colink.domain.value import value

CLICK_PARAMETER = "colink_ref"
"""The query parameter (and Shopify note attribute) that carries a click id to the shop and back (contract, HTTP)."""

MAX_DESTINATION = 2048  # characters; longer ones fail in some browsers and shops
_CODE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?")
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")  # what browsers strip or turn into a slash: the host could become another
_URL_CHARACTERS = "!#$%&'()*+,/:;=?@[]~"  # legal in a URL as they stand, `%` being part of what is encoded already

LINK_PREVIEWS = (
    "facebookexternalhit",
    "facebookcatalog",
    "slackbot",
    "slack-imgproxy",
    "whatsapp",
    "twitterbot",
    "telegrambot",
    "discordbot",
    "linkedinbot",
    "skypeuripreview",
    "microsoftpreview",
    "bingpreview",
    "redditbot",
    "pinterestbot",
    "vkshare",
    "line-poker",
    "kakaotalk-scrap",
    "iframely",
    "embedly",
    "mastodon",
    "cardyb",
    "google-pagerenderer",
)
"""Parts of the user agents, lower case, with which messengers and social networks draw a card of a posted link."""


@dataclass(frozen=True, kw_only=True)
class LinkDetails:
    """A tracking link. `organization_id` is its campaign's; without a campaign the host of `destination` decides
    which stores it leads to. `utm` are (name, value) pairs added to the destination."""

    id: str
    code: str
    creator_id: str
    destination: str
    campaign_id: str | None = None
    organization_id: str | None = None
    creator_customer_ref: str | None = None
    utm: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class LinkCreated(Created):
    TOPIC: ClassVar[str] = "link.created"
    details: LinkDetails


class Link(Aggregate):
    TOPIC: ClassVar[str] = "link"
    details: LinkDetails

    @classmethod
    def create(cls, details: LinkDetails, *, at: datetime) -> Link:
        return cls._create(LinkCreated, id=details.id, timestamp=at, details=details)


@dataclass(frozen=True, kw_only=True)
class CouponDetails:
    """A discount code of a store that belongs to a creator. Codes compare without regard to case."""

    id: str
    organization_id: str
    store_id: str
    code: str
    creator_id: str
    campaign_id: str | None = None
    creator_customer_ref: str | None = None


@dataclass(frozen=True, kw_only=True)
class CouponCreated(Created):
    TOPIC: ClassVar[str] = "coupon.created"
    details: CouponDetails


class Coupon(Aggregate):
    TOPIC: ClassVar[str] = "coupon"
    details: CouponDetails

    @classmethod
    def create(cls, details: CouponDetails, *, at: datetime) -> Coupon:
        return cls._create(CouponCreated, id=details.id, timestamp=at, details=details)


class TouchKind(StrEnum):
    CLICK = "click"
    VIEW = "view"


class SetAside(StrEnum):
    """Why a touch is never credited."""

    BOT = "bot"
    LINK_PREVIEW = "link_preview"
    HEAD_REQUEST = "head_request"


@value
class TouchDetails:
    """One click or view. `id` is the click id a shop hands back. `destination_host` is the link's, for links without
    a campaign. `set_aside`: recorded, never counted nor credited. `repeat`: seen within the hour from the same place;
    creditable but not counted. `network_hash`: keyed by a salt that is destroyed after 48 hours."""

    id: str
    kind: TouchKind
    creator_id: str
    occurred_at: datetime
    link_id: str | None = None
    campaign_id: str | None = None
    organization_id: str | None = None
    destination_host: str | None = None
    visitor_id: str | None = None
    creator_customer_ref: str | None = None
    network_hash: str | None = None
    set_aside: SetAside | None = None
    repeat: bool = False


@dataclass(frozen=True, kw_only=True)
class TouchRecorded(Created):
    TOPIC: ClassVar[str] = "touch.recorded"
    details: TouchDetails


class Touch(Aggregate):
    TOPIC: ClassVar[str] = "touch"
    details: TouchDetails

    @classmethod
    def record(cls, details: TouchDetails, *, at: datetime) -> Touch:
        return cls._create(TouchRecorded, id=details.id, timestamp=at, details=details)


@value
class SeenTouch:
    """A touch with its position in the tracking log, as reads give it."""

    position: int
    details: TouchDetails


def check_code(code: str) -> None:
    """A link code, given or generated: 1 to 64 letters, digits, `-` and `_`, with a letter or digit at both ends, so
    that it survives in a URL, in print and at the end of a sentence. Case matters. Raises InvalidInput."""
    if not _CODE.fullmatch(code):
        msg = "a link code has 1 to 64 letters, digits, '-' or '_', and begins and ends with a letter or digit"
        raise InvalidInput(msg, field="code")


def destination_host(destination: str) -> str:
    """The host a link leads to, lower case, international names in their ASCII form.

    Raises InvalidInput unless the destination is an absolute http(s) URL with a host and without credentials: people
    would read a host before an `@` as the one they are sent to.
    """
    parts = _split(destination)
    return _ascii_host(parts.hostname or "").rstrip(".")


def destination_with(link: LinkDetails, click_id: str | None) -> str:
    """Where a click is sent: the destination with `colink_ref=<click id>`, where it has one, and the link's UTM pairs
    at the end of its query. What was there is kept as it was and in order, the fragment too; parameters of the names
    we add are replaced. The result is ASCII, as a Location header needs: characters that no URL may hold are
    percent-encoded."""
    parts = _split(link.destination)
    added = [*link.utm, *([(CLICK_PARAMETER, click_id)] if click_id else [])]
    names = {name for name, _ in added}
    kept = [pair for pair in parts.query.split("&") if pair and unquote_plus(pair.partition("=")[0]) not in names]
    query = "&".join([*kept, *(f"{quote_plus(name)}={quote_plus(value)}" for name, value in added)])
    host = _ascii_host(parts.hostname or "")
    netloc = f"[{host}]" if ":" in host else host
    if parts.port is not None:
        netloc = f"{netloc}:{parts.port}"
    url = SplitResult(parts.scheme.lower(), netloc, parts.path, query, parts.fragment).geturl()
    return quote(url, safe=_URL_CHARACTERS)


def set_aside(*, method: str, user_agent: str, purposes: Iterable[str], is_bot: bool) -> SetAside | None:
    """Why a request is no person's click or view, None where it may be one.

    `purposes` are the values of the headers Sec-Purpose, Purpose, X-Purpose and X-Moz, with which browsers and mail
    programs say that nobody has looked yet. `is_bot`: a list of known crawlers says so. A request without a user
    agent comes from no browser.
    """
    if method == "HEAD":
        return SetAside.HEAD_REQUEST
    agent = user_agent.lower()
    if any(part in agent for part in LINK_PREVIEWS):
        return SetAside.LINK_PREVIEW
    if any(word in purpose.lower() for purpose in purposes for word in ("prefetch", "prerender", "preview")):
        return SetAside.LINK_PREVIEW
    if is_bot or not agent.strip():
        return SetAside.BOT
    return None


def _split(destination: str) -> SplitResult:
    def refuse(problem: str) -> InvalidInput:
        return InvalidInput(f"the destination {problem}", field="destination")

    if len(destination) > MAX_DESTINATION:
        raise refuse(f"is longer than {MAX_DESTINATION} characters")
    if _UNSAFE.search(destination):
        raise refuse("contains a space, a control character or a backslash: percent-encode it")
    try:
        destination.encode()
        parts = urlsplit(destination)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise refuse("is not a URL") from error
    if parts.scheme.lower() not in {"http", "https"} or not host:
        raise refuse("must be an absolute http or https URL, such as https://shop.example/products/1")
    if parts.username is not None or parts.password is not None:
        raise refuse("must not contain a user name or password")
    if port == 0:
        raise refuse("has no valid port")
    _ascii_host(host)
    return parts


def _ascii_host(host: str) -> str:
    try:
        return host.encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        msg = "the destination's host is not a valid name"
        raise InvalidInput(msg, field="destination") from error
