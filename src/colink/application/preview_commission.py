"""Preview: which rule each line of an order would get, what that comes to, and why no other rule. Records nothing.

It is decided as orders are: by the facts a command reads, the order's own attribution and split, the organisation's
terms of now (of an order that is split already: those it has pinned). So it says what the order later gets, as long
as nobody writes a rule in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from colink.application.ports import Decision, Facts, Needs, Request
from colink.application.tiers import by_tiers
from colink.domain.attribution import CouponUse, OrderKeys, Outcome, decide_attribution
from colink.domain.commission import RuleDetails, SoldLine, verdicts
from colink.domain.creators import CreatorDetails
from colink.domain.errors import InvalidInput, NotFound
from colink.domain.money import Money
from colink.domain.orders import Order
from colink.domain.organizations import StoreDetails
from colink.domain.revenue import candidates
from colink.domain.snapshots import FinancialStatus, OrderLine, OrderSnapshot
from colink.domain.split import LineSplit, Split
from colink.domain.terms import Terms
from colink.domain.tracking import LinkDetails, SeenTouch, TouchDetails, TouchKind, destination_host
from colink.domain.value import replace


@dataclass(frozen=True, kw_only=True)
class ImaginedOrder:
    """An order that is not there yet. Who is credited is said by a link, a coupon code (or both: the rules of
    attribution choose), or outright by a creator, with a campaign or without; by none of them nobody is."""

    currency: str
    placed_at: datetime
    lines: Sequence[OrderLine]
    link_id: str | None = None
    coupon_code: str | None = None
    creator_id: str | None = None
    campaign_id: str | None = None

    def snapshot(self) -> OrderSnapshot:
        coupons = (CouponUse(code=self.coupon_code, discount=0),) if self.coupon_code is not None else ()
        return OrderSnapshot(
            external_id="preview",
            number="preview",
            currency=self.currency,
            placed_at=self.placed_at,
            updated_at=self.placed_at,
            status=FinancialStatus.PAID,
            cancelled=False,
            test=False,
            taxes_included=False,
            lines=tuple(self.lines),
            total_price=sum([line.base for line in self.lines]),
            total_outstanding=0,
            keys=OrderKeys(coupons=coupons),
            refunds=(),
            digest="preview",
        )


@dataclass(frozen=True, kw_only=True)
class PreviewCommission(Request):
    """Of an order of the store that is imagined, or of one that is recorded (`order_id`): exactly one is given."""

    store: StoreDetails
    imagined: ImaginedOrder | None = None
    order_id: str | None = None

    def needs(self) -> Needs:
        documents: list[tuple[type, str]] = []
        if self.imagined is not None and self.imagined.link_id is not None:
            documents.append((LinkDetails, self.imagined.link_id))
        if self.imagined is not None and self.imagined.creator_id is not None:
            documents.append((CreatorDetails, self.imagined.creator_id))
        return Needs(
            terms_of=self.store.organization_id,
            reads=(self.order_id,) if self.order_id is not None else (),
            documents=tuple(documents),
        )

    def decide(self, facts: Facts) -> Decision:
        """Raises NotFound for no such order, InvalidInput for a link, creator or campaign that is unknown."""
        order = self._imagine(self.imagined, facts) if self.imagined is not None else self._recorded(facts)
        terms = facts.terms().known_at(order.terms.position) if order.terms else facts.terms()
        split, decided_now = by_tiers(facts, terms, order.next_split)
        if split is None:
            msg = "an order that was never paid in full earns nobody anything"
            raise NotFound(msg)
        return Decision(
            answer=_answer(order, split, terms) | {"decides_tiers": bool(decided_now)},
            organization_id=self.store.organization_id,
        )

    def _recorded(self, facts: Facts) -> Order:
        order = facts.aggregate(Order, self.order_id or "")
        if order is None or order.attribution is None or order.merged.newest is None:
            msg = "there is no such order"
            raise NotFound(msg)
        if order.merged.paid_at is not None:
            return order
        # What it will earn when it is paid as it is now.
        paid = replace(order.merged.newest, status=FinancialStatus.PAID, test=False, cancelled=False)
        imagined = self._placed(paid, facts.now)
        imagined.attribute(order.attribution, at=facts.now)
        return imagined

    def _placed(self, snapshot: OrderSnapshot, at: datetime) -> Order:
        store = self.store
        return Order.place(
            snapshot,
            order_id="ord_preview",
            organization_id=store.organization_id,
            store_id=store.id,
            platform=store.platform,
            at=at,
        )

    def _imagine(self, imagined: ImaginedOrder, facts: Facts) -> Order:
        order, terms = self._placed(imagined.snapshot(), facts.now), facts.terms()
        attribution = decide_attribution(
            keys=order.merged.keys,
            placed_at=imagined.placed_at,
            store=self.store,
            touches=_touches(imagined, facts),
            tracking_position=0,
            terms=terms,
        )
        if imagined.creator_id is not None:
            if facts.document(CreatorDetails, imagined.creator_id) is None:
                msg = f"creator_id {imagined.creator_id!r} is unknown"
                raise InvalidInput(msg, field="creator_id")
            if imagined.campaign_id is not None and terms.campaign(imagined.campaign_id) is None:
                msg = f"campaign_id {imagined.campaign_id!r} is unknown"
                raise InvalidInput(msg, field="campaign_id")
            attribution = replace(
                attribution,
                outcome=Outcome.CLICK,
                creator_id=imagined.creator_id,
                campaign_id=imagined.campaign_id,
                link_id=None,
            )
        order.attribute(attribution, at=facts.now)
        return order


def _touches(imagined: ImaginedOrder, facts: Facts) -> list[SeenTouch]:
    """A click on the link, just before the order."""
    if imagined.link_id is None:
        return []
    link = facts.document(LinkDetails, imagined.link_id)
    if link is None:
        msg = f"link_id {imagined.link_id!r} is unknown"
        raise InvalidInput(msg, field="link_id")
    touch = TouchDetails(
        id="preview",
        kind=TouchKind.CLICK,
        creator_id=link.creator_id,
        occurred_at=imagined.placed_at,
        link_id=link.id,
        campaign_id=link.campaign_id,
        organization_id=link.organization_id,
        destination_host=destination_host(link.destination) if link.campaign_id is None else None,
        creator_customer_ref=link.creator_customer_ref,
    )
    return [SeenTouch(position=0, details=touch)]


def _answer(order: Order, split: Split, terms: Terms) -> dict[str, Any]:
    attribution = order.attribution
    assert attribution is not None  # noqa: S101 - an order is attributed before it is split
    currency = split.currency

    def money(amount: int) -> Money:
        return Money(amount, currency)

    def line_answer(line: LineSplit) -> Mapping[str, Any]:
        sold = SoldLine(
            placed_at=order.merged.placed_at or attribution.placed_at,
            currency=currency,
            campaign=terms.campaign(attribution.campaign_id),
            creator_id=attribution.creator_id or "",
            product_id=line.product_id,
            sku_id=line.sku_id,
        )
        serving = terms.rule(line.rule.id, line.rule.version) if line.rule else None
        period = next((each for each in split.periods if line.rule and each.rule_id == line.rule.id), None)
        judged = verdicts(sold, candidates(sold, terms), serving) if attribution.creator_id is not None else []
        return {
            "line_id": line.line_id,
            "product_id": line.product_id,
            "sku_id": line.sku_id,
            "quantity": line.quantity,
            "subtotal": money(line.base),
            "rule": _reference(serving) if serving else None,
            "platform_fee": money(line.net_platform_fee),
            "creator_commission": money(line.net_commission),
            "payment_fee": money(line.payment_fee),
            "seller_take": money(line.seller_take),
            "settled_with": {"period": period.period, "ends_at": period.ends_at} if period else None,
            "candidates": [{"rule": _reference(rule), "verdict": verdict} for rule, verdict in judged],
        }

    return {
        "currency": currency,
        "creator_id": attribution.creator_id,
        "campaign_id": attribution.campaign_id,
        "outcome": attribution.outcome,
        "rules_position": terms.position,
        "lines": [line_answer(line) for line in split.lines if line.line_id is not None],
        "revenues": [{"id": each.decision_id, "revenue": money(each.revenue)} for each in split.revenues],
    }


def _reference(rule: RuleDetails) -> dict[str, Any]:
    return {"id": rule.id, "version": rule.version, "scope": rule.scope}
