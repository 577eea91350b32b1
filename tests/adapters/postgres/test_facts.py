"""What commands are told of the database: terms, touches, repeats, funds, each as of one moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from tests.adapters.postgres.commands import NOON, Decide, Post, journal, nothing, our_events
from tests.adapters.postgres.conftest import Store

from colink.adapters.postgres.append import TRACKING
from colink.adapters.postgres.committer import Committer
from colink.adapters.postgres.pool import AsyncPool
from colink.application.ports import Decision, Facts, Needs, RepeatQuery
from colink.domain.aggregates import Aggregate
from colink.domain.attribution import OrderKeys
from colink.domain.campaigns import Campaign, CampaignDetails
from colink.domain.commission import CommissionRule, RuleDetails, Scope
from colink.domain.errors import NotFound
from colink.domain.organizations import Organization, OrganizationDetails, Platform, Settlement, StoreDetails
from colink.domain.organizations import Store as Shop
from colink.domain.payout_funds import Stretch
from colink.domain.payouts import Payout, PayoutRequested
from colink.domain.tracking import Coupon, CouponDetails, Link, LinkDetails, Touch, TouchDetails, TouchKind

HOUR = timedelta(hours=1)


async def record(bus: Committer, *aggregates: Aggregate) -> None:
    """One command an aggregate, one after the other."""
    for aggregate in aggregates:
        events = our_events(aggregate)
        await bus.submit(Decide(make=lambda _, events=events: nothing(events=events)))


async def facts_of(bus: Committer, reads: Needs) -> Facts:
    command = Decide(make=lambda _: nothing(), reads=reads)
    await bus.submit(command)
    return command.seen[-1]


def organization(id_: str = "org_1") -> Organization:
    return Organization.register(OrganizationDetails(id=id_, name="Kedai", platform_fee_bps=500), at=NOON)


def rule(version: int, bps: int) -> RuleDetails:
    return RuleDetails(id="rul_1", version=version, organization_id="org_1", scope=Scope.DEFAULT, rate_bps=bps)


def test_terms_hold_all_rule_versions_with_the_position_each_became_known(store: Store) -> None:
    shop = StoreDetails(
        id="sto_1",
        organization_id="org_1",
        platform=Platform.SHOPIFY,
        name="Kedai",
        settlement=Settlement.PLATFORM_COLLECTED,
    )
    campaign = CampaignDetails(id="cmp_1", organization_id="org_1", name="Raya", slug="raya")
    coupon = CouponDetails(id="cou_1", organization_id="org_1", store_id="sto_1", code="AINA10", creator_id="cre_1")
    link = LinkDetails(
        id="lnk_1", code="abc", creator_id="cre_1", destination="https://a.test", organization_id="org_1"
    )

    async def story(bus: Committer, _: AsyncPool) -> None:
        await record(bus, organization(), organization("org_2"), Shop.connect(shop, at=NOON))
        added = CommissionRule.add(rule(1, 1000), at=NOON)
        await record(bus, added, Campaign.create(campaign, at=NOON), Coupon.create(coupon, at=NOON))
        added.revise(rule(2, 800), at=NOON)
        await record(bus, added, Link.create(link, at=NOON))

        terms = (await facts_of(bus, Needs(terms_of="org_1"))).terms()
        assert terms.position == 7  # the link is no part of the terms
        assert [(known.position, known.details) for known in terms.rules] == [(4, rule(1, 1000)), (7, rule(2, 800))]
        assert terms.stores == {"sto_1": shop}
        assert terms.campaigns["cmp_1"].position == 5
        assert [(known.position, known.details) for known in terms.coupons] == [(6, coupon)]
        assert [known.details.version for known in terms.known_at(6).rules] == [1]

        unchanged = (await facts_of(bus, Needs(terms_of="org_1"))).terms()
        assert unchanged is terms  # read once while the head stays
        with pytest.raises(NotFound):
            (await facts_of(bus, Needs(terms_of="org_9"))).terms()

    store.run(story)


def touch(
    id_: str,
    at: datetime,
    *,
    visitor: str | None = None,
    kind: TouchKind = TouchKind.CLICK,
    link: str | None = "lnk_1",
    network: str | None = None,
) -> Touch:
    details = TouchDetails(
        id=id_,
        kind=kind,
        creator_id="cre_1",
        occurred_at=at,
        link_id=link,
        campaign_id="cmp_1",
        visitor_id=visitor,
        network_hash=network,
    )
    return Touch.record(details, at=at)


def test_touches_are_found_by_click_and_by_visitor_the_newest_50_each(store: Store) -> None:
    async def ids(bus: Committer, keys: OrderKeys, before: datetime = NOON) -> Sequence[str]:
        facts = await facts_of(bus, Needs(touches_for=keys, touches_before=before))
        assert facts.tracking_position() == 65
        assert [seen.position for seen in facts.touches()] == sorted(seen.position for seen in facts.touches())
        return [seen.details.id for seen in facts.touches()]

    async def story(bus: Committer, pool: AsyncPool) -> None:
        async with Committer(pool, store.clock, log=TRACKING) as tracking:
            for n in range(60):
                await record(tracking, touch(f"clk_a{n}", NOON - (60 - n) * HOUR, visitor="vis_a"))
            await record(
                tracking,
                touch("clk_b", NOON - HOUR, visitor="vis_b"),
                touch("clk_b_later", NOON + timedelta(microseconds=1), visitor="vis_b"),
                touch("clk_b_exactly", NOON, visitor="vis_b"),
                touch("clk_alone", NOON - HOUR),
                touch("clk_other", NOON - HOUR, visitor="vis_c"),
            )
        newest = [f"clk_a{n}" for n in range(10, 60)]
        assert await ids(bus, OrderKeys()) == []
        assert await ids(bus, OrderKeys(click_ids=("clk_alone",))) == ["clk_alone"]
        assert await ids(bus, OrderKeys(visitor_ids=("vis_a",))) == newest
        # The click brings its visitor's other touches; what came after the moment only if it was named.
        assert await ids(bus, OrderKeys(click_ids=("clk_b",))) == ["clk_b", "clk_b_exactly"]
        assert await ids(bus, OrderKeys(click_ids=("clk_b_later",))) == ["clk_b", "clk_b_later", "clk_b_exactly"]
        assert await ids(bus, OrderKeys(click_ids=("clk_a0", "clk_x"), visitor_ids=("vis_b",))) == [
            "clk_a0",
            *newest,
            "clk_b",
            "clk_b_exactly",
        ]

    store.run(story)


def test_a_repeat_is_the_same_link_from_the_same_place_since_then(store: Store) -> None:
    async def is_repeat(bus: Committer, *, link: str = "lnk_1", network: str = "net_1", kind: str = "click") -> bool:
        query = RepeatQuery(
            kind=kind,
            link_id=link,
            campaign_id="cmp_1",
            creator_id="cre_1",
            network_hashes=("net_old", network),
            since=NOON - HOUR,
        )
        return (await facts_of(bus, Needs(repeats_of=query))).is_repeat()

    async def story(bus: Committer, _: AsyncPool) -> None:
        await record(bus, touch("clk_0", NOON - 2 * HOUR, network="net_1"))
        assert not await is_repeat(bus)
        await record(bus, touch("clk_1", NOON - HOUR, network="net_1"))
        assert await is_repeat(bus)
        assert not await is_repeat(bus, link="lnk_2")
        assert not await is_repeat(bus, network="net_2")
        assert not await is_repeat(bus, kind="view")

    store.run(story, log=TRACKING)


def test_funds_are_the_balance_and_the_stretches_that_payouts_hold(store: Store) -> None:
    reads = Needs(funds_of=(("cre_1", "MYR"), ("cre_2", "MYR")))

    def requested(payout_id: str, start: int, end: int) -> Decision:
        event = PayoutRequested(
            originator_id=payout_id,
            originator_version=1,
            originator_topic=Payout.TOPIC,
            timestamp=NOON,
            payee_id="cre_1",
            organization_id=None,
            currency="MYR",
            amount=end - start,
            stretches=(Stretch(start=start, end=end),),
            requested_by="key:test",
        )
        legs = ("payee:cre_1:available", start - end), ("payee:cre_1:in_transit", end - start)
        return nothing(events=[event, journal(f"jrn_{payout_id}", *legs, payout_id=payout_id)])

    async def story(bus: Committer, _: AsyncPool) -> None:
        nobody = (await facts_of(bus, reads)).funds("cre_2", "MYR")
        assert (nobody.balance, nobody.version, nobody.credited, nobody.taken) == (0, 0, 0, ())

        await bus.submit(Post(journal_id="j1", legs=(("payee:cre_1:available", 100), ("platform:revenue", -100))))
        await bus.submit(Post(journal_id="j2", legs=(("payee:cre_1:available", -30), ("platform:revenue", 30))))
        await bus.submit(Post(journal_id="j3", legs=(("payee:cre_1:available", 50), ("platform:revenue", -50))))
        await bus.submit(Decide(make=lambda _: requested("pay_2", 60, 90)))
        await bus.submit(Decide(make=lambda _: requested("pay_1", 0, 60)))
        funds = (await facts_of(bus, reads)).funds("cre_1", "MYR")
        assert (funds.balance, funds.version, funds.credited) == (30, 5, 150)
        assert funds.taken == (Stretch(start=0, end=60), Stretch(start=60, end=90))
        assert funds.debits_to_net == 30

        payout = (await facts_of(bus, Needs(streams=("pay_1",)))).aggregate(Payout, "pay_1")
        assert payout is not None
        payout.reject(by="key:finance", reason="test", at=NOON)
        back = ("payee:cre_1:available", 60), ("payee:cre_1:in_transit", -60)
        released = [*our_events(payout), journal("jrn_back", *back, payout_id="pay_1")]
        await bus.submit(Decide(make=lambda _: nothing(events=released)))
        funds = (await facts_of(bus, reads)).funds("cre_1", "MYR")
        # Money that a payout gives back is no new credit: its old place in the line is free again.
        assert (funds.balance, funds.credited) == (90, 150)
        assert funds.taken == (Stretch(start=60, end=90),)

    store.run(story)
    store.assert_sound()


def test_an_aggregate_is_a_fresh_copy_each_time_and_of_the_class_asked_for(store: Store) -> None:
    async def story(bus: Committer, _: AsyncPool) -> None:
        await record(bus, organization())
        facts = await facts_of(bus, Needs(streams=("org_1", "org_2")))
        first, second = facts.aggregate(Organization, "org_1"), facts.aggregate(Organization, "org_1")
        assert first is not None
        assert first is not second
        assert first == second
        assert facts.aggregate(Organization, "org_2") is None
        with pytest.raises(LookupError, match="holds a Organization, not a Campaign"):
            facts.aggregate(Campaign, "org_1")
        with pytest.raises(LookupError, match="not among the command's needs"):
            facts.aggregate(Organization, "org_3")

    store.run(story)


def test_commands_of_one_batch_are_given_their_own_touches_and_repeats(store: Store) -> None:
    def same_link(network: str) -> Needs:
        return Needs(
            repeats_of=RepeatQuery(
                kind="click",
                link_id="lnk_1",
                campaign_id="cmp_1",
                creator_id="cre_1",
                network_hashes=(network, "net_x"),
                since=NOON - 2 * HOUR,
            )
        )

    async def story(bus: Committer, _: AsyncPool) -> None:
        await record(
            bus,
            touch("clk_a", NOON - HOUR, visitor="vis_a", network="net_1"),
            touch("clk_a_later", NOON, visitor="vis_a"),
            touch("clk_b", NOON - HOUR, visitor="vis_b"),
        )
        of_a = Needs(touches_for=OrderKeys(visitor_ids=("vis_a",)), touches_before=NOON - HOUR)
        whole_a = Needs(touches_for=OrderKeys(click_ids=("clk_a",)))
        of_b = Needs(touches_for=OrderKeys(click_ids=("clk_x",), visitor_ids=("vis_b",)), touches_before=NOON)
        read = [of_a, whole_a, of_b, Needs(), same_link("net_2"), same_link("net_1")]
        facts = await asyncio.gather(*(facts_of(bus, needs) for needs in read))
        touches = [[seen.details.id for seen in each.touches()] for each in facts]
        assert touches == [["clk_a"], ["clk_a", "clk_a_later"], ["clk_b"], [], [], []]
        assert [each.is_repeat() for each in facts] == [False] * 5 + [True]

    store.run(story, log=TRACKING)


def test_commands_of_one_batch_read_their_own_needs(store: Store) -> None:
    async def story(bus: Committer, _: AsyncPool) -> None:
        await record(bus, *(organization(f"org_{n}") for n in range(20)))
        facts = await asyncio.gather(*(facts_of(bus, Needs(terms_of=f"org_{n}")) for n in range(20)))
        assert [each.terms().organization.id for each in facts] == [f"org_{n}" for n in range(20)]

    store.run(story)
