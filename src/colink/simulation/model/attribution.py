"""Whom an order is credited to, and by which rule. Semantics sections 3 and 4.

`Knowledge` is what was ever configured and clicked, in the order in which it became known; orders remember how much
of it there was when they were first decided.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from colink.simulation.model.tiers import rate_at

Facts = dict[str, Any]

_NEWEST_TOUCHES = 50
_ALWAYS = 1 << 60
CAPS = ("cap", "cap_day", "cap_month")
_SCOPES = ("campaign", "sku", "product", "default")


class Knowledge:
    """Configuration and touches; lists are in the order of their arrival."""

    def __init__(self) -> None:
        self.organizations: dict[str, Facts] = {}
        self.stores: dict[str, Facts] = {}
        self.campaigns: dict[str, Facts] = {}
        self.creators: dict[str, Facts] = {}
        self.coupons: list[Facts] = []
        self.rules: list[Facts] = []
        self.touches: list[Facts] = []
        self._by_id: dict[str, Facts] = {}
        self._by_visitor: dict[str, list[Facts]] = {}

    @property
    def extent(self) -> tuple[int, int]:
        """How many coupons and touches are known."""
        return len(self.coupons), len(self.touches)

    def hold_seconds(self, store: Facts, credit: Facts) -> int:
        """The holding period of an order: the campaign's, else the organisation's."""
        campaign = self.campaigns.get(credit["campaign"] or "")
        days = campaign["hold_days"] if campaign else None
        if days is None:
            days = self.organizations[store["organization"]]["hold_days"]
        return int(days) * 86_400

    def clears_by_time(self, store: Facts) -> bool:
        """Whether what its orders owe waits for no seller's money: also where he collects himself, if his
        organisation advances."""
        return bool(store["platform_collected"] or self.organizations[store["organization"]]["advance"])

    def take_touch(self, touch: Facts) -> None:
        touch["place"] = len(self.touches)
        self.touches.append(touch)
        self._by_id[touch["id"]] = touch
        if touch["visitor"] is not None:
            self._by_visitor.setdefault(touch["visitor"], []).append(touch)

    def touches_of(self, clicks: Collection[str], visitors: Collection[str], placed_at: int) -> list[Facts]:
        """The clicks named, and the newest touches of each visitor up to the order's time."""
        named = [self._by_id[click] for click in clicks if click in self._by_id]
        names = dict.fromkeys([*visitors, *(touch["visitor"] for touch in named if touch["visitor"] is not None)])
        found = {touch["id"]: touch for touch in named}
        for visitor in names:
            own = [touch for touch in self._by_visitor.get(visitor, ()) if touch["at"] <= placed_at]
            own.sort(key=lambda touch: (touch["at"], touch["place"]))
            found |= {touch["id"]: touch for touch in own[-_NEWEST_TOUCHES:]}
        return list(found.values())


def credited(knowledge: Knowledge, store: Facts, snapshots: Sequence[Facts], extent: tuple[int, int]) -> Facts:
    """`{creator, campaign, own_link}`; creator None: nobody. `extent`: what was known at the first decision."""
    placed_at = snapshots[0]["placed_at"]
    emails = {each["email"] for each in snapshots if each["email"]}
    winner = _best_coupon(knowledge.coupons[: extent[0]], store, snapshots)
    clicks = {click for each in snapshots for click in each["clicks"]}
    visitors = {visitor for each in snapshots for visitor in each["visitors"]}
    touches = [
        touch
        for touch in knowledge.touches_of(clicks, visitors, placed_at)
        if touch["place"] < extent[1] and _may_count(knowledge, touch, store, placed_at)
    ]
    touches.sort(key=lambda touch: (touch["kind"] == "click", touch["at"], touch["place"]))
    best = touches[-1] if touches else None
    if (
        winner
        and best
        and best["kind"] == "click"
        and _same(winner, best, "creator")
        and _same(winner, best, "campaign")
    ):
        winner = winner | {"made": min(winner["made"], best["made"])}  # both brought the order
    winner = winner or best
    if winner is None:
        return {"creator": None, "campaign": None, "own_link": False, "made": None}
    own = knowledge.creators[winner["creator"]]["email"]
    return {
        "creator": winner["creator"],
        "campaign": winner["campaign"],
        "own_link": own is not None and own in emails,
        "made": winner.get("made"),
    }


def _same(one: Facts, other: Facts, name: str) -> bool:
    return bool(one[name] == other[name])


def _best_coupon(coupons: Sequence[Facts], store: Facts, snapshots: Sequence[Facts]) -> Facts | None:
    """The larger discount, then payload order."""
    uses = {use for each in snapshots for use in each["coupons"]}
    found = [
        (-discount, place, coupon)
        for code, discount, place in uses
        for coupon in coupons
        if coupon["store"] == store["id"] and coupon["code"].lower() == code
    ]
    return min(found, key=lambda each: each[:2])[2] if found else None


def _may_count(knowledge: Knowledge, touch: Facts, store: Facts, placed_at: int) -> bool:
    """Not set aside, of this seller, not after the order, and inside its window with the end included."""
    if touch["set_aside"] or touch["at"] > placed_at:
        return False
    campaign = knowledge.campaigns.get(touch["campaign"] or "")
    if campaign is None:
        ours, hours = touch["host"] == store["domain"], {"click": 168, "view": 24}[touch["kind"]]
    else:
        ours = campaign["organization"] == store["organization"]
        hours = campaign["click_hours"] if touch["kind"] == "click" else campaign["view_hours"]
    return bool(ours) and placed_at - touch["at"] <= hours * 3600


def rule_for(
    rules: Sequence[Facts],
    line: Facts,
    *,
    credit: Facts,
    store: Facts,
    campaign: Facts | None,
    currency: str,
    at: int,
) -> Facts | None:
    """The first match: scope, then a creator's own, then the latest start, then the latest known. `rules` are those
    of the organisation that were known, in order."""
    targets = {
        "campaign": _campaign_target(campaign, line),
        "sku": (store["id"], line["variant"]) if line["variant"] else None,
        "product": (store["id"], line["product"]) if line["product"] else None,
        "default": "default",
    }
    best = None
    for place, rule in enumerate(rules):
        target = targets[rule["scope"]]
        if (
            rule["organization"] != store["organization"]
            or target is None
            or rule["target"] != target
            or rule["creator"] not in {None, credit["creator"]}
            or (_of_one_currency(rule) and rule["currency"] != currency)
            or not (rule["from"] or 0) <= at < (rule["to"] or _ALWAYS)
        ):
            continue
        rank = (-_SCOPES.index(rule["scope"]), rule["creator"] is not None, rule["from"] or 0, place)
        if best is None or rank > best[0]:
            best = (rank, rule)
    return best[1] if best else None


def promised_rule(
    rules: Sequence[Facts],
    line: Facts,
    *,
    credit: Facts,
    store: Facts,
    campaign: Facts | None,
    currency: str,
    at: int,
) -> Facts | None:
    """The rule that serves a line where a campaign promised notice of cuts to who has a link or coupon of it: what
    was published since (within the notice, and since the link was made) counts only where it is no cut. Where nothing
    was promised, the same for what was published since the order was placed. What no rule served then was not cut."""

    def best(known: int) -> Facts | None:
        return rule_for(rules[:known], line, credit=credit, store=store, campaign=campaign, currency=currency, at=at)

    since = at
    if campaign is not None and campaign["notice_days"] and credit["made"] is not None:
        since = max(at - campaign["notice_days"] * 86_400, min(credit["made"], at))
    own = [place for place, rule in enumerate(rules) if rule["organization"] == store["organization"]]
    later = [place for place in own if rules[place]["published"] > since]
    if not later:
        return best(len(rules))
    serving = best(later[0])
    if serving is None and since == at:
        return best(len(rules))
    for place in later:
        now = best(place + 1)
        if serving is None or (now is not None and _no_cut(now, serving)):
            serving = now
    return serving


def _no_cut(rule: Facts, than: Facts) -> bool:
    """Whether nobody earns less by it, whatever is sold."""
    if rule["id"] == than["id"]:
        return True
    if (rule["fixed"] is None) != (than["fixed"] is None):
        return False
    if rule["fixed"] is not None:
        return bool(rule["fixed"] >= than["fixed"])
    capped = all(rule[cap] is None or (than[cap] is not None and rule[cap] >= than[cap]) for cap in CAPS)
    tiers = [each["tiers"] for each in (rule, than) if each["tiers"] is not None]
    alike = len({(each["mode"], each["span"]) for each in tiers}) < 2
    edges = {0, *(edge for each in tiers for edge, _ in each["steps"])}
    return capped and alike and all(rate_at(rule, edge) >= rate_at(than, edge) for edge in edges)


def _of_one_currency(rule: Facts) -> bool:
    """A rule with money in it serves orders in that currency only."""
    return rule["fixed"] is not None or rule["tiers"] is not None or any(rule[cap] is not None for cap in CAPS)


def _campaign_target(campaign: Facts | None, line: Facts) -> str | None:
    """A campaign with a list of products matches only those."""
    if campaign is None or (campaign["products"] and line["product"] not in campaign["products"]):
        return None
    return str(campaign["id"])


def conflicting(rules: Sequence[Facts], new: Facts) -> bool:
    """Whether only the order of recording would decide between the new version and one of another rule."""
    return any(
        rule["rule"] != new["rule"]
        and all(rule[name] == new[name] for name in ("organization", "scope", "target", "creator", "from"))
        and (not _of_one_currency(rule) or not _of_one_currency(new) or rule["currency"] == new["currency"])
        and max(rule["from"] or 0, new["from"] or 0) < min(rule["to"] or _ALWAYS, new["to"] or _ALWAYS)
        for rule in rules
    )
