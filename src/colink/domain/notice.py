"""Rate cuts: orders already placed keep their rate, and links that exist for as long as their campaign promised
(semantics section 4, decision 22).

What a creator may count on for an order is followed through the rule sets that were published since the link was made
and within the notice: it starts with the rule that served at the beginning of that time; each later rule set takes
over where what it gives is at least as good, and waits where it is a cut. So a raise applies at once and a cut when
its notice has passed, whether it came as a new version or as another rule. Where nothing was promised the same begins
when the order was placed: it may be paid, or told of, after the seller has seen it and cut the rate. All of it
follows from what the split of an order reads anyway: the rules known at its pinned position, and the attribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from colink.domain.attribution import Attribution, Outcome
from colink.domain.commission import KnownRule, RuleDetails, SoldLine, rule_for
from colink.domain.ids import made_at
from colink.domain.money import Money

_SECOND = timedelta(seconds=1)  # platforms tell times in whole ones


def promised_rule(
    line: SoldLine, rules: Sequence[KnownRule], attribution: Attribution, *, keeps_rates: bool
) -> RuleDetails | None:
    """The rule version that serves a line, cuts considered. `rules`: in any order. `keeps_rates`: as in
    PinnedTerms."""
    promised = _kept_since(line, attribution, keeps_rates=keeps_rates)
    since = promised or line.placed_at + _SECOND - timedelta.resolution
    later = [known for known in rules if (known.details.published_at or since) > since]
    if not later or (promised is None and not keeps_rates):
        return rule_for(line, rules)
    later.sort(key=lambda known: known.position)
    serving = rule_for(line, [known for known in rules if known.position < later[0].position])
    if serving is None and keeps_rates and since >= line.placed_at:
        return rule_for(line, rules)  # nothing served it when it was placed: there is nothing to cut
    for published in later:
        now = rule_for(line, [known for known in rules if known.position <= published.position])
        if serving is None or (now is not None and is_at_least_as_good(now, serving)):
            serving = now
    return serving


def _kept_since(line: SoldLine, attribution: Attribution, *, keeps_rates: bool) -> datetime | None:
    """Cuts published after this do not touch the order yet; None where no notice was promised. The promise is made to
    whoever has a link or coupon of the campaign: it is as old as that, as the older where both brought the order."""
    notice_days = line.campaign.notice_days if line.campaign else 0
    handed_out = _handed_out(attribution) if keeps_rates else _handed_out_before(attribution)
    if notice_days == 0 or not handed_out:
        return None
    promised = line.placed_at - timedelta(days=notice_days)
    return max(promised, min(*(made_at(id_) or promised for id_ in handed_out), line.placed_at))


def _handed_out(attribution: Attribution) -> list[str]:
    """The link and the coupon of the campaign that brought the order."""
    if attribution.outcome is not Outcome.COUPON:
        return [attribution.link_id] if attribution.link_id else []
    own = [each for each in attribution.candidates if each.accepted and each.campaign_id == attribution.campaign_id]
    return [id_ for each in own for id_ in (each.coupon_id, each.link_id) if id_]


def _handed_out_before(attribution: Attribution) -> list[str]:
    """As it was for orders that do not keep rates: a link that supported a coupon counted in its place, though it was
    of another campaign or of none."""
    coupons = [each.coupon_id for each in attribution.candidates if each.accepted and each.coupon_id]
    return [attribution.link_id] if attribution.link_id else coupons[:1]


def is_at_least_as_good(rule: RuleDetails, than: RuleDetails) -> bool:
    """Whether a creator never earns less by `rule`, whatever is sold, where both serve it. What cannot be compared (a
    rate with a fixed amount, tiers of another kind) is not."""
    if rule is than:
        return True
    if (rule.fixed is None) != (than.fixed is None):
        return False
    if rule.fixed is not None and than.fixed is not None:
        return rule.fixed.amount >= than.fixed.amount
    caps = (
        (rule.cap_per_order, than.cap_per_order),
        (rule.cap_per_day, than.cap_per_day),
        (rule.cap_per_month, than.cap_per_month),
    )
    return all(_is_no_tighter(mine, others) for mine, others in caps) and _rates_are_as_good(rule, than)


def _is_no_tighter(cap: Money | None, than: Money | None) -> bool:
    return cap is None or (than is not None and cap.amount >= than.amount)


def _rates_are_as_good(rule: RuleDetails, than: RuleDetails) -> bool:
    mine, others = rule.tiers, than.tiers
    if mine and others and (mine.mode, mine.span) != (others.mode, others.span):
        return False
    edges = {0, *(step.from_revenue.amount for tiers in (mine, others) if tiers for step in tiers.steps)}
    return all(_rate_at(rule, revenue) >= _rate_at(than, revenue) for revenue in edges)


def _rate_at(rule: RuleDetails, revenue: int) -> int:
    rate_bps = rule.rate_bps or 0
    return rule.tiers.rate_at(revenue, below=rate_bps) if rule.tiers else rate_bps
