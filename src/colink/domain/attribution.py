"""Attribution: which creator, if any, an order is credited to, and why. Semantics section 3.

`decide_attribution` is a pure function of what an order carries (its keys), the touches those keys found and the
organisation's terms. Keys only find touches; how a touch was found never ranks it. Money is single-touch: one winner
at most. This module neither finds touches (a read does) nor decides when to decide again (the order command does).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from colink.domain.campaigns import CampaignDetails
from colink.domain.organizations import StoreDetails
from colink.domain.terms import Terms
from colink.domain.tracking import SeenTouch, SetAside, TouchDetails, TouchKind
from colink.domain.value import replace, value

DEFAULT_CLICK_WINDOW_HOURS = CampaignDetails.click_window_hours
DEFAULT_VIEW_WINDOW_HOURS = CampaignDetails.view_window_hours


class Outcome(StrEnum):
    CLICK = "click"
    VIEW = "view"
    COUPON = "coupon"
    NONE = "none"


class Reason(StrEnum):
    """Why a candidate was accepted or not. Stable words: they are recorded and shown.

    Where several would fit a touch, the first in the order below that bars it is given.
    """

    WINNER = "winner"
    SUPPORTING = "supporting"  # the click (or coupon) of the winning creator, kept as evidence
    # Barred: these could never have won this order.
    BOT = "bot"
    LINK_PREVIEW = "link_preview"
    HEAD_REQUEST = "head_request"
    OTHER_ORGANIZATION = "other_organization"  # its campaign belongs to another organisation
    OTHER_STORE = "other_store"  # without a campaign, and its link leads elsewhere
    RECORDED_LATE = "recorded_late"  # after the order was first decided
    AFTER_ORDER = "after_order"
    OUTSIDE_WINDOW = "outside_window"
    # Eligible, but something ranks before it.
    EARLIER_TOUCH = "earlier_touch"  # a later one of its kind was eligible too
    SMALLER_DISCOUNT = "smaller_discount"
    LATER_IN_PAYLOAD = "later_in_payload"  # a coupon of the same discount stands before it
    OUTRANKED_BY_COUPON = "outranked_by_coupon"
    OUTRANKED_BY_CLICK = "outranked_by_click"


@value
class CouponUse:
    """A code used in an order with the discount it gave (minor units). `ordinal` is its place in the payload."""

    code: str
    discount: int
    ordinal: int = 0


@value
class OrderKeys:
    """What an order carries to find touches with: the union over its deliveries, in a stable order."""

    click_ids: tuple[str, ...] = ()
    visitor_ids: tuple[str, ...] = ()
    coupons: tuple[CouponUse, ...] = ()
    customer_ref: str | None = None


@value
class Candidate:
    """One touch or coupon that was looked at, with the evidence the verdict rests on.

    kind is `click`, `view` or `coupon`; `occurred_at` of a coupon is the order's `placed_at`, its `position` that of
    the commerce log (of a touch: of the tracking log). Winner and supporting evidence are `accepted`. `window_hours`
    is None for coupons and for touches that are none of this order's business.
    """

    kind: Outcome
    creator_id: str
    occurred_at: datetime
    accepted: bool
    reason: Reason
    position: int
    touch_id: str | None = None
    link_id: str | None = None
    coupon_id: str | None = None
    campaign_id: str | None = None
    organization_id: str | None = None
    destination_host: str | None = None
    creator_customer_ref: str | None = None
    set_aside: SetAside | None = None
    window_hours: int | None = None
    discount: int | None = None

    @property
    def is_foreign(self) -> bool:
        """Whether it is a touch that is none of this order's business, whatever else bars it."""
        return self.kind is not Outcome.COUPON and self.window_hours is None


@value
class Attribution:
    """The decision and everything needed to make it again: the order's keys and time, the candidates in the order
    they rank, and the log positions that were seen. `link_id`, `touch_id` and `touched_at` are those of the winning
    touch, or of the click that supports a winning coupon. `own_link`: the creator bought through their own link or
    code; credited, on hold."""

    outcome: Outcome
    creator_id: str | None
    campaign_id: str | None
    link_id: str | None
    touch_id: str | None
    touched_at: datetime | None
    own_link: bool
    candidates: tuple[Candidate, ...]
    keys: OrderKeys
    placed_at: datetime
    tracking_position: int
    terms_position: int


def merge_keys(a: OrderKeys, b: OrderKeys) -> OrderKeys:
    """The union of what two deliveries of an order carry, in canonical form (ids sorted, coupons by place, codes in
    lower case). Commutative, associative and, on canonical keys, idempotent.

    A code seen twice has its largest discount and its first place: these rank coupons, so they are part of the keys.
    Of two customer references the smaller is kept: any choice does that does not depend on which delivery came first.
    """
    return OrderKeys(
        click_ids=_merge_ids(a.click_ids, b.click_ids),
        visitor_ids=_merge_ids(a.visitor_ids, b.visitor_ids),
        coupons=_merge_coupons((*a.coupons, *b.coupons)),
        customer_ref=min([ref for ref in (a.customer_ref, b.customer_ref) if ref is not None], default=None),
    )


def _merge_ids(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*a, *b})) if a or b else ()


def _merge_coupons(uses: Sequence[CouponUse]) -> tuple[CouponUse, ...]:
    if not uses:
        return ()
    if len(uses) == 1 and uses[0].code == uses[0].code.lower():
        return (uses[0],)
    coupons: dict[str, CouponUse] = {}
    for use in uses:
        code = use.code.lower()
        known = coupons.get(code, use)
        coupons[code] = CouponUse(
            code=code, discount=max(known.discount, use.discount), ordinal=min(known.ordinal, use.ordinal)
        )
    return tuple(sorted(coupons.values(), key=lambda use: (use.ordinal, use.code)))


def decide_attribution(
    *,
    keys: OrderKeys,
    placed_at: datetime,
    store: StoreDetails,
    touches: Sequence[SeenTouch],
    tracking_position: int,
    terms: Terms,
) -> Attribution:
    """Credit an order to at most one creator, as of `placed_at`. The order of `touches` does not matter.

    `terms` and `tracking_position` are those of the order's first decision: coupons and touches recorded later do not
    count (the touches are listed as `recorded_late`).

    A coupon ranks before a click unless its campaign says otherwise (`coupon_first`). A coupon without a campaign
    follows the campaign of the click it competes with; without either, the coupon is first. A coupon always ranks
    before a view. Where the same creator has both the winning coupon and the winning click, the other one supports.
    """
    keys = merge_keys(keys, OrderKeys())
    coupons = _coupons_found(keys, placed_at=placed_at, store=store, terms=terms)
    seen = [
        _touch_found(touch, placed_at=placed_at, store=store, tracking_position=tracking_position, terms=terms)
        for touch in {touch.details.id: touch for touch in touches}.values()
    ]
    clicks, views = _latest_first(seen, Outcome.CLICK), _latest_first(seen, Outcome.VIEW)

    coupon, click, view = coupons[0] if coupons else None, _first_eligible(clicks), _first_eligible(views)
    if coupon and click and not _coupon_first(coupon, click, terms):
        winner: Candidate | None = click
    else:
        winner = coupon or click or view
    candidates = tuple(
        [
            _with_verdict(candidate, winner)
            if winner and (candidate is coupon or candidate is click or candidate is view)
            else candidate
            for candidate in (*coupons, *clicks, *views)
        ]
    )
    evidence = next((c for c in candidates if c.accepted and c.touch_id is not None), None) if seen else None
    return Attribution(
        outcome=winner.kind if winner else Outcome.NONE,
        creator_id=winner.creator_id if winner else None,
        campaign_id=winner.campaign_id if winner else None,
        link_id=evidence.link_id if evidence else None,
        touch_id=evidence.touch_id if evidence else None,
        touched_at=evidence.occurred_at if evidence else None,
        own_link=bool(winner and keys.customer_ref and winner.creator_customer_ref == keys.customer_ref),
        candidates=candidates,
        keys=keys,
        placed_at=placed_at,
        tracking_position=tracking_position,
        terms_position=terms.position,
    )


def rederive(attribution: Attribution, *, store: StoreDetails, terms: Terms) -> Attribution:
    """The same decision, made again from the recorded keys, positions and candidates: the tracking log is not needed.

    `terms` may be newer than those the decision saw. An auditor compares the result with what is recorded.
    """
    return decide_attribution(
        keys=attribution.keys,
        placed_at=attribution.placed_at,
        store=store,
        touches=touches_seen(attribution),
        tracking_position=attribution.tracking_position,
        terms=terms.known_at(attribution.terms_position),
    )


def touches_seen(attribution: Attribution) -> list[SeenTouch]:
    """The touches a decision looked at, rebuilt from its candidates."""
    return [_as_touch(c, c.touch_id) for c in attribution.candidates if c.touch_id is not None]


def no_touch_from(placed_at: datetime) -> datetime:
    """Touches from then on came after the order. Shops tell whole seconds, so the order's own second is before it."""
    return placed_at.replace(microsecond=0) + timedelta(seconds=1)


def leads_to_store(host: str | None, store: StoreDetails) -> bool:
    """Whether a link's host is the store's domain.

    Subdomains other than `www.` are other sites: on shared platforms they belong to other people.
    """
    if not host or not store.domain:
        return False
    return host_key(host) == host_key(store.domain)


def host_key(host: str) -> str:
    """One spelling for the hosts that count as the same shop: lower case, without a leading `www.` and without the
    port, which links are not compared by."""
    return host.partition(":")[0].lower().removeprefix("www.")


def _coupons_found(keys: OrderKeys, *, placed_at: datetime, store: StoreDetails, terms: Terms) -> list[Candidate]:
    """The order's codes that a creator owns in this store, best first: larger discount, then payload order."""
    found = [(use, known) for use in keys.coupons if (known := terms.coupon(store.id, use.code)) is not None]
    found.sort(key=lambda each: (-each[0].discount, each[0].ordinal, each[0].code))
    return [
        Candidate(
            kind=Outcome.COUPON,
            creator_id=known.details.creator_id,
            occurred_at=placed_at,
            accepted=False,
            reason=Reason.LATER_IN_PAYLOAD if use.discount == found[0][0].discount else Reason.SMALLER_DISCOUNT,
            position=known.position,
            coupon_id=known.details.id,
            campaign_id=known.details.campaign_id,
            organization_id=known.details.organization_id,
            creator_customer_ref=known.details.creator_customer_ref,
            discount=use.discount,
        )
        for use, known in found
    ]


def _touch_found(
    seen: SeenTouch, *, placed_at: datetime, store: StoreDetails, tracking_position: int, terms: Terms
) -> Candidate:
    """A touch with the reason that bars it, or as `earlier_touch` until the best of its kind is known."""
    touch = seen.details
    foreign = _foreign(touch, store)
    window_hours = None if foreign else _window_hours(touch, terms)
    if touch.set_aside is not None:
        reason = Reason(touch.set_aside.value)
    elif foreign is not None:
        reason = foreign
    elif seen.position > tracking_position:
        reason = Reason.RECORDED_LATE
    elif touch.occurred_at >= no_touch_from(placed_at):
        reason = Reason.AFTER_ORDER
    elif window_hours is not None and not _inside_window(touch.occurred_at, placed_at, hours=window_hours):
        reason = Reason.OUTSIDE_WINDOW
    else:
        reason = Reason.EARLIER_TOUCH
    return Candidate(
        kind=Outcome.CLICK if touch.kind is TouchKind.CLICK else Outcome.VIEW,
        creator_id=touch.creator_id,
        occurred_at=touch.occurred_at,
        accepted=False,
        reason=reason,
        position=seen.position,
        touch_id=touch.id,
        link_id=touch.link_id,
        campaign_id=touch.campaign_id,
        organization_id=touch.organization_id,
        destination_host=touch.destination_host,
        creator_customer_ref=touch.creator_customer_ref,
        set_aside=touch.set_aside,
        window_hours=window_hours,
    )


def _foreign(touch: TouchDetails, store: StoreDetails) -> Reason | None:
    if touch.campaign_id is not None:
        return None if touch.organization_id == store.organization_id else Reason.OTHER_ORGANIZATION
    return None if leads_to_store(touch.destination_host, store) else Reason.OTHER_STORE


def _window_hours(touch: TouchDetails, terms: Terms) -> int:
    """The window of the touch's campaign, or the default of 7 days for clicks and 1 day for views."""
    campaign = terms.campaign(touch.campaign_id)
    if touch.kind is TouchKind.CLICK:
        return campaign.click_window_hours if campaign else DEFAULT_CLICK_WINDOW_HOURS
    return campaign.view_window_hours if campaign else DEFAULT_VIEW_WINDOW_HOURS


def _inside_window(occurred_at: datetime, placed_at: datetime, *, hours: int) -> bool:
    """The time between them in whole seconds (a started second does not count) is at most the window."""
    return (placed_at - occurred_at) // timedelta(seconds=1) <= hours * 3600


def _latest_first(candidates: Iterable[Candidate], kind: Outcome) -> list[Candidate]:
    found = [candidate for candidate in candidates if candidate.kind is kind]
    if len(found) > 1:
        found.sort(
            key=lambda candidate: (candidate.occurred_at, candidate.position, candidate.touch_id), reverse=True
        )
    return found


def _first_eligible(candidates: Iterable[Candidate]) -> Candidate | None:
    for candidate in candidates:
        if candidate.reason is Reason.EARLIER_TOUCH:
            return candidate
    return None


def _coupon_first(coupon: Candidate, click: Candidate, terms: Terms) -> bool:
    campaign = terms.campaign(coupon.campaign_id) or terms.campaign(click.campaign_id)
    return campaign is None or campaign.coupon_first


def _with_verdict(candidate: Candidate, winner: Candidate) -> Candidate:
    """The verdict on the best candidate of its kind."""
    if candidate is winner:
        return replace(candidate, accepted=True, reason=Reason.WINNER)
    if candidate.kind is not Outcome.VIEW and candidate.creator_id == winner.creator_id:
        return replace(candidate, accepted=True, reason=Reason.SUPPORTING)
    outranked = Reason.OUTRANKED_BY_COUPON if winner.kind is Outcome.COUPON else Reason.OUTRANKED_BY_CLICK
    return replace(candidate, reason=outranked)


def _as_touch(candidate: Candidate, touch_id: str) -> SeenTouch:
    """What a decision looks at of a touch, from its recorded candidate."""
    return SeenTouch(
        position=candidate.position,
        details=TouchDetails(
            id=touch_id,
            kind=TouchKind(candidate.kind.value),
            creator_id=candidate.creator_id,
            occurred_at=candidate.occurred_at,
            link_id=candidate.link_id,
            campaign_id=candidate.campaign_id,
            organization_id=candidate.organization_id,
            destination_host=candidate.destination_host,
            creator_customer_ref=candidate.creator_customer_ref,
            set_aside=candidate.set_aside,
        ),
    )
