"""Promise: a preview says what the order later gets. Both are decided here as the service decides them, from the same
facts; only the reading of the facts is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec

from colink.adapters.ids import Uuid7Ids
from colink.adapters.postgres.facts import LoadedFacts, _Read
from colink.adapters.postgres.mapper import EventMapper
from colink.application.ports import Caller, Command, Decision, MoreNeeded, SeenRevenue
from colink.application.preview_commission import ImaginedOrder, PreviewCommission
from colink.application.record_order import RecordOrder
from colink.domain.attribution import OrderKeys
from colink.domain.campaigns import CampaignDetails
from colink.domain.commission import KnownRule, RuleDetails, Scope, Verdict
from colink.domain.errors import InvalidInput
from colink.domain.ids import product_id, sku_id
from colink.domain.money import Money
from colink.domain.orders import OrderSplit
from colink.domain.organizations import FeeSchedule, OrganizationDetails, Platform, Settlement, StoreDetails
from colink.domain.rule_checks import check_rule
from colink.domain.snapshots import FinancialStatus, OrderLine, OrderSnapshot
from colink.domain.split import Split
from colink.domain.terms import KnownCampaign, Terms
from colink.domain.tiers import Tier, TierDecided, TierMode, Tiers, TierSpan
from colink.domain.tracking import LinkDetails, SeenTouch, TouchDetails, TouchKind
from colink.domain.value import replace
from colink.projections.documents import kind_of

PLACED = datetime(2026, 3, 31, 15, 30, tzinfo=UTC)
NOW = PLACED + timedelta(hours=1)
ORG, CREATOR, CAMPAIGN = "org_1", "cre_1", "cmp_1"
STORE = StoreDetails(
    id="sto_1",
    organization_id=ORG,
    platform=Platform.SHOPIFY,
    name="Kedai",
    settlement=Settlement.PLATFORM_COLLECTED,
    payment_fee=FeeSchedule(rate_bps=290, fixed=30),
)
CALLER = Caller(actor="test", correlation_id="test")


@dataclass(frozen=True)
class At:
    time: datetime

    def now(self) -> datetime:
        return self.time


@dataclass(frozen=True, kw_only=True)
class Case:
    terms: Terms
    link: LinkDetails
    lines: tuple[OrderLine, ...]
    revenue: int


def some_rule(random: Random, number: int, products: list[str], skus: list[str]) -> RuleDetails:
    scope = random.choice(list(Scope))
    target = {
        Scope.CAMPAIGN: CAMPAIGN,
        Scope.SKU: random.choice(skus),
        Scope.PRODUCT: random.choice(products),
        Scope.DEFAULT: None,
    }[scope]
    changes: dict[str, Any] = {"rate_bps": random.choice([0, 500, 1000, 1500, 3333])}
    kind = random.randrange(6)
    if kind == 0:
        changes = {"rate_bps": None, "fixed": Money(random.choice([0, 99, 700]), random.choice(["MYR", "SGD"]))}
    elif kind <= 2:
        steps = tuple(
            Tier(from_revenue=Money(revenue, "MYR"), rate_bps=random.choice([250, 1200, 4000]))
            for revenue in sorted(random.sample([1, 5_000, 10_000, 99_999], random.randint(1, 3)))
        )
        mode = random.choice(list(TierMode))
        changes["tiers"] = Tiers(mode=mode, steps=steps, span=random.choice(list(TierSpan)))
    if changes["rate_bps"] is not None:
        for cap in ("cap_per_order", "cap_per_day", "cap_per_month"):
            if random.random() < 0.2:
                changes[cap] = Money(random.choice([50, 500, 5_000]), "MYR")
    day = timedelta(days=1)
    return RuleDetails(
        id=f"rul_{random.randint(1, number + 1)}",
        version=number + 1,
        organization_id=ORG,
        scope=scope,
        target_id=target,
        creator_id=random.choice([None, None, CREATOR, "cre_2"]),
        valid_from=random.choice([None, None, PLACED - 9 * day, PLACED, PLACED + day]),
        valid_to=random.choice([None, None, PLACED - day, PLACED + day]),
        published_at=random.choice([None, PLACED - 40 * day, PLACED - 10 * day, PLACED + timedelta(minutes=1)]),
        **changes,
    )


def some_case(seed: int) -> Case:
    random = Random(seed)
    products = [product_id(STORE.id, external) for external in ("71", "72")]
    skus = [sku_id(STORE.id, external) for external in ("81", "82")]
    rules = []
    for number in range(random.randint(0, 7)):
        rule = some_rule(random, number, products, skus)
        try:
            check_rule(rule, platform_fee_bps=500)
        except InvalidInput:
            continue
        rules.append(KnownRule(position=number + 2, details=rule))
    made = PLACED - timedelta(days=random.choice([1, 20, 60]))
    link = LinkDetails(
        id=Uuid7Ids(At(made))("lnk"),
        code="aina",
        creator_id=CREATOR,
        destination="https://kedai.example/",
        campaign_id=CAMPAIGN,
        organization_id=ORG,
    )
    campaign = CampaignDetails(
        id=CAMPAIGN,
        organization_id=ORG,
        name="Raya",
        slug="raya",
        product_ids=tuple(random.choice([[], products[:1]])),
        notice_days=random.choice([0, 14, 30]),
    )
    lines = tuple(
        OrderLine(
            line_id=str(number + 1),
            quantity=random.randint(1, 3),
            base=random.choice([0, 1, 333, 12_345]),
            product_external_id=random.choice(["71", "72", None]),
            sku_external_id=random.choice(["81", "82", None]),
        )
        for number in range(random.randint(1, 4))
    )
    terms = Terms(
        position=20,
        organization=OrganizationDetails(
            id=ORG, name="Kedai", platform_fee_bps=500, timezone=random.choice(["UTC", "Asia/Kuala_Lumpur"])
        ),
        stores={STORE.id: STORE},
        campaigns={CAMPAIGN: KnownCampaign(position=1, details=campaign)},
        rules=tuple(rules),
        coupons=(),
    )
    return Case(terms=terms, link=link, lines=lines, revenue=random.choice([0, 4_999, 5_000, 123_456]))


def decide(command: Command, case: Case, *touches: SeenTouch) -> Decision:
    """As the committer does it: again with more where more is needed."""
    read = _Read(NOW, EventMapper())
    read.terms[ORG] = case.terms
    read.documents[kind_of(LinkDetails), case.link.id] = msgspec.json.encode(case.link).decode(), 1
    needs = command.needs()
    for _ in range(9):
        facts = LoadedFacts(needs, read)
        facts.seen = list(touches)
        try:
            return command.decide(facts)
        except MoreNeeded as more:
            needs = needs.joined(more.needs)
            for query in needs.revenues_of:
                read.revenues[query.key.id] = SeenRevenue(revenue=case.revenue, position=17)
    msg = "it never had enough"
    raise AssertionError(msg)


def previewed(case: Case) -> Mapping[str, Any]:
    imagined = ImaginedOrder(currency="MYR", placed_at=PLACED, lines=case.lines, link_id=case.link.id)
    decision = decide(PreviewCommission(caller=CALLER, store=STORE, imagined=imagined), case)
    assert not decision.events
    return decision.answer


def recorded(case: Case) -> Decision:
    snapshot = OrderSnapshot(
        external_id="4507",
        number="#1",
        currency="MYR",
        placed_at=PLACED,
        updated_at=PLACED + timedelta(minutes=5),
        status=FinancialStatus.PAID,
        cancelled=False,
        test=False,
        taxes_included=False,
        lines=case.lines,
        total_price=sum(line.base for line in case.lines),
        total_outstanding=0,
        keys=OrderKeys(click_ids=("clk_1",)),
        refunds=(),
        digest="d",
    )
    touch = TouchDetails(
        id="clk_1",
        kind=TouchKind.CLICK,
        creator_id=CREATOR,
        occurred_at=PLACED - timedelta(minutes=7),
        link_id=case.link.id,
        campaign_id=CAMPAIGN,
        organization_id=ORG,
    )
    return decide(RecordOrder(caller=CALLER, store=STORE, news=snapshot), case, SeenTouch(position=0, details=touch))


def split_in(decision: Decision) -> Split:
    (split,) = (event.split for event in decision.events if isinstance(event, OrderSplit))
    return split


def test_a_preview_is_what_the_order_gets_in_a_thousand_shops() -> None:
    verdicts: set[Verdict] = set()
    decided = 0
    for seed in range(1_000):
        case = some_case(seed)
        answer, decision = previewed(case), recorded(case)
        split = split_in(decision)
        amounts = [
            (
                line.line_id,
                (line.rule.id, line.rule.version, line.rule.scope) if line.rule else None,
                *(Money(part, "MYR") for part in (line.platform_fee, line.commission, line.payment_fee)),
                Money(line.seller_take, "MYR"),
            )
            for line in split.lines
        ]
        assert amounts == [
            (
                line["line_id"],
                tuple(line["rule"].values()) if line["rule"] else None,
                *(line[part] for part in ("platform_fee", "creator_commission", "payment_fee", "seller_take")),
            )
            for line in answer["lines"]
        ], seed
        for line in answer["lines"]:
            serving = [each["rule"] for each in line["candidates"] if each["verdict"] is Verdict.SERVES]
            assert serving == ([line["rule"]] if line["rule"] else []), seed
            verdicts |= {each["verdict"] for each in line["candidates"]}
        decides = any(isinstance(event, TierDecided) for event in decision.events)
        assert answer["decides_tiers"] is decides
        decided += decides
    # The shops are not all alike: every reason that a candidate may have was given.
    assert verdicts == set(Verdict) - {Verdict.OTHER_TARGET, Verdict.OTHER_CREATOR}
    assert decided > 50


def test_an_order_that_is_recorded_is_previewed_by_the_terms_it_has_pinned() -> None:
    case = next(case for case in map(some_case, range(99)) if len(case.terms.rules) > 2 and case.lines[0].base > 99)
    events = recorded(case).events
    order_id = "ord_sto_1.4507"
    dearer = tuple(KnownRule(position=30, details=replace_rate(known.details, 9_000)) for known in case.terms.rules)
    later = Case(
        terms=replace(case.terms, position=30, rules=(*case.terms.rules, *dearer)),
        link=case.link,
        lines=case.lines,
        revenue=case.revenue,
    )
    read = _Read(NOW, EventMapper())
    read.terms[ORG] = later.terms
    read.decoded[order_id] = [event for event in events if event.originator_id == order_id]
    command = PreviewCommission(caller=CALLER, store=STORE, order_id=order_id)
    answer = command.decide(LoadedFacts(command.needs(), read)).answer
    assert [line["creator_commission"].amount for line in answer["lines"]] == [
        line.commission for line in split_in(Decision(answer={}, events=events)).lines
    ]


def replace_rate(rule: RuleDetails, rate_bps: int) -> RuleDetails:
    return replace(rule, rate_bps=rate_bps, fixed=None)
