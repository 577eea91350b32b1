"""Verification finds what was changed behind the log's back, names the position where it starts, and stays silent
about a log that is as it was written."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

import pytest
from tests.person_keys import keys
from tests.projections.world import AINA, BUDI, CALLER, MONDAY, ORGANIZATION, STORE, World
from tests.scenarios.stories import renamed, shuffled, story

from colink.application.clear_order import ClearOrder
from colink.application.record_order import StandaloneFacts
from colink.domain.audit.report import Kind, Pass, Report, Status
from colink.domain.commission import RuleDetails, RuleRevised, Scope
from colink.domain.errors import InvalidInput
from colink.projections.audit import Outside, verify
from colink.projections.audit.verify import Effort

pytestmark = pytest.mark.anyio

ORDER = f"ord_{STORE}.1"


FINELY = Effort(processes=1, events_a_segment=21, events_a_window=7)


async def verified(world: World, **options: Any) -> Report:
    """However the log is cut into segments and windows, the report is the same."""
    options.setdefault("outside", Outside(person_keys=keys()))
    async with world.pool.connection() as conn:
        report = await verify(conn, world.mapper.event, **options)
        cut = await verify(conn, world.mapper.event, effort=FINELY, **options)
    assert found(cut) == found(report)
    assert outcomes(cut) == outcomes(report)
    return report


def outcomes(report: Report) -> dict[Pass, tuple[Status, int]]:
    return {result.audit_pass: (result.status, result.checked) for result in report.passes}


def found(report: Report) -> set[tuple[Pass, Kind, int]]:
    return {(finding.audit_pass, finding.kind, finding.position) for finding in report.findings}


async def position_of(world: World, topic: str, *, nth: int = 1) -> int:
    rows = await world.rows("SELECT position FROM colink.events WHERE topic = %s ORDER BY position", topic)
    return int(rows[nth - 1][0])


async def a_few_orders(world: World) -> None:
    await world.order(1, 10_000, 5_000, creator=AINA)
    await world.order(2, 4_000, creator=BUDI)
    await world.refund(1, line=2, amount="12.34")
    await world.order(3, 700, creator=None)
    world.clock.time = MONDAY + timedelta(days=20)
    for number in (1, 2, 3):
        await world.commerce.submit(ClearOrder(caller=CALLER, order_id=f"ord_{STORE}.{number}"))


async def test_a_clean_log_has_no_findings(world: World) -> None:
    await a_few_orders(world)
    report = await verified(world)
    assert report.findings == []
    partial = dict.fromkeys((Pass.CHAIN, Pass.PROJECTIONS), Status.PARTIAL)
    assert {result.audit_pass: result.status for result in report.passes} == dict.fromkeys(
        Pass, Status.PASSED
    ) | partial
    assert report.result(Pass.CHAIN).reason == f"{report.head} events are not sealed yet"
    assert (report.clean, report.complete) == (True, False)
    checked = {result.audit_pass: result.checked for result in report.passes}
    assert checked[Pass.ORDER] == report.head
    assert checked[Pass.ATTRIBUTION] == 3
    assert checked[Pass.SPLIT] == 4
    assert checked[Pass.CLEARING] == 3
    assert checked[Pass.ORDER_ROWS] == 3
    [(entries, balances)] = await world.rows(
        "SELECT (SELECT count(*) FROM colink.entries), (SELECT count(*) FROM colink.balances)"
    )
    assert (checked[Pass.ENTRIES], checked[Pass.BALANCES]) == (entries, balances)


async def test_random_stories_verify(world: World) -> None:
    """Deliveries in any order and number, then clearing: everything recorded is derived again to the same."""
    random = Random(7)
    deliveries = []
    for seed in range(40):
        external_id = str(1000 + seed)
        for news in shuffled(story(seed, code="AINA").deliveries, random):
            deliveries.append(renamed(news, external_id))
    random.shuffle(deliveries)
    for news in deliveries:
        if isinstance(news, StandaloneFacts) and news.facts.fees:
            continue  # nobody but a settlement tells of these
        await world.tell(news)
    world.clock.time = MONDAY + timedelta(days=60)
    for (order_id,) in await world.rows("SELECT order_id FROM colink.orders WHERE clears_at IS NOT NULL"):
        await world.commerce.submit(ClearOrder(caller=CALLER, order_id=order_id))

    report = await verified(world)

    assert report.findings == []
    assert report.clean
    assert report.result(Pass.CLEARING).checked > 10


async def test_a_log_that_ends_with_news_of_an_old_order(world: World) -> None:
    """Its row is compared where its last event is, and nowhere before."""
    for number in range(1, 5):
        await world.order(number, 1_000)
    await world.order(1, 1_000, later=timedelta(hours=1))
    [(topic,)] = await world.rows("SELECT topic FROM colink.events ORDER BY position DESC LIMIT 1")
    assert topic == "order.updated"
    assert (await verified(world)).findings == []


async def test_attributions_by_click_are_decided_again_without_the_tracking_log(world: World) -> None:
    await world.touch(AINA, occurred_at=MONDAY - timedelta(days=7), visitor_id="vis_1")
    await world.touch(BUDI, occurred_at=MONDAY - timedelta(days=7, seconds=1), visitor_id="vis_1")
    await world.touch(BUDI, occurred_at=MONDAY + timedelta(seconds=1), visitor_id="vis_1")
    await world.order(1, 10_000, creator=None, clicks=["clk_1"])
    [(payload,)] = await world.rows("SELECT payload FROM colink.events WHERE topic = 'order.attributed'")
    assert '"outcome":"click"' in payload
    world.tamper_with_log(
        "INSERT INTO colink.tracking_archives SELECT 1, 3, '2026-03-01', sha256(''), 'tracking/a', now()",
        "DELETE FROM colink.tracking_events",
        "DELETE FROM colink.touches",
    )
    assert (await verified(world)).findings == []

    position = await position_of(world, "order.attributed")
    moved = "UPDATE colink.events SET payload = replace(payload, '2026-02-23T09:00:00Z', '2026-02-23T08:59:58Z')"
    assert world.tamper_with_log(f"{moved} WHERE position = {position}") == [1]
    findings = found(await verified(world))
    assert (Pass.ATTRIBUTION, Kind.DERIVED_DIFFERENTLY, position) in findings, "the click was outside its window"


async def test_an_empty_log_verifies(world: World) -> None:
    report = await verified(world)
    assert report.clean


async def test_a_changed_amount_of_an_entry(world: World) -> None:
    await a_few_orders(world)
    [(position, ordinal)] = await world.rows(
        "SELECT position, ordinal FROM colink.entries WHERE purpose = 'commission' ORDER BY 1, 2 LIMIT 1"
    )
    where = f"position = {position} AND ordinal = {ordinal}"
    assert world.tamper(f"UPDATE colink.entries SET amount = amount + 1 WHERE {where}") == [1]

    report = await verified(world)

    assert found(report) == {(Pass.ENTRIES, Kind.CHANGED, position)}
    [finding] = report.findings
    assert (finding.recorded, finding.derived) == ("1001", "1000")
    assert not report.clean


async def test_deleted_and_added_entry_rows(world: World) -> None:
    await a_few_orders(world)
    position = await position_of(world, "journal.posted", nth=2)
    assert world.tamper(f"DELETE FROM colink.entries WHERE position = {position} AND ordinal = 1") == [1]
    assert found(await verified(world)) == {(Pass.ENTRIES, Kind.MISSING, position)}

    world.tamper(
        "INSERT INTO colink.entries SELECT position, 99, journal_id, kind, account, payee_id, purpose, amount,"
        " currency, organization_id, order_id, line_id, payout_id, effective_at, recorded_at, credited_after"
        f" FROM colink.entries WHERE position = {position} AND ordinal = 0"
    )
    assert found(await verified(world)) == {
        (Pass.ENTRIES, Kind.MISSING, position),
        (Pass.ENTRIES, Kind.EXTRA, position),
    }


async def test_changed_missing_and_invented_balance_rows(world: World) -> None:
    await a_few_orders(world)
    account = f"payee:{AINA}:available"
    [(position,)] = await world.rows("SELECT max(position) FROM colink.entries WHERE account = %s", account)
    assert world.tamper(f"UPDATE colink.balances SET amount = amount + 500 WHERE account = '{account}'") == [1]
    assert found(await verified(world)) == {(Pass.BALANCES, Kind.CHANGED, position)}

    assert world.tamper(f"DELETE FROM colink.balances WHERE account = '{account}'") == [1]
    assert found(await verified(world)) == {(Pass.BALANCES, Kind.MISSING, position)}

    world.tamper("INSERT INTO colink.balances VALUES ('payee:cre_x:available', 'MYR', 1, 0, 1, 1, 1, 3)")
    assert found(await verified(world)) == {
        (Pass.BALANCES, Kind.MISSING, position),
        (Pass.BALANCES, Kind.EXTRA, 3),
    }


async def test_a_changed_amount_in_the_log(world: World) -> None:
    """One posting of the sale's journal is raised by a cent; the rows stay as they were."""
    await a_few_orders(world)
    position = await position_of(world, "journal.posted")
    assert world.tamper_with_log(
        f"UPDATE colink.events SET payload = replace(payload, '\"amount\":1000,', '\"amount\":1001,')"
        f" WHERE position = {position}"
    ) == [1]

    report = await verified(world)

    assert (Pass.JOURNALS, Kind.UNBALANCED, position) in found(report)
    assert (Pass.ENTRIES, Kind.CHANGED, position) in found(report)
    assert (Pass.DERIVATION, Kind.DERIVED_DIFFERENTLY, position) in found(report)
    assert report.findings[0].position == position


async def test_a_forged_split_and_attribution(world: World) -> None:
    await a_few_orders(world)
    split = await position_of(world, "order.split")
    attributed = await position_of(world, "order.attributed", nth=2)
    assert world.tamper_with_log(
        f"UPDATE colink.events SET payload = replace(payload, '\"commission\":1000,', '\"commission\":1100,')"
        f" WHERE position = {split}",
        f'UPDATE colink.events SET payload = replace(payload, \'"creator_id":"{BUDI}"\', \'"creator_id":"{AINA}"\')'
        f" WHERE position = {attributed}",
    ) == [1, 1]

    findings = found(await verified(world))

    assert (Pass.COMMISSION, Kind.DERIVED_DIFFERENTLY, split) in findings
    assert (Pass.ATTRIBUTION, Kind.DERIVED_DIFFERENTLY, attributed) in findings


async def test_terms_that_an_order_could_not_have_read(world: World) -> None:
    """A decision is made by the terms that stand when it is first recorded, and made again by the same ones."""
    await world.order(1, 10_000)
    rule = RuleDetails(id="rul_1", version=2, organization_id=ORGANIZATION, scope=Scope.DEFAULT, rate_bps=2_000)
    coupon = await position_of(world, "coupon.created", nth=2)
    revised = RuleRevised(originator_id="rul_1", originator_version=2, timestamp=world.clock.now(), details=rule)
    revision = (await world.record(revised)).position
    await world.order(1, 10_000, 2_000, later=timedelta(hours=1))
    assert (await verified(world)).clean
    first, second = [await position_of(world, "order.split", nth=nth) for nth in (1, 2)]
    attributed = await position_of(world, "order.attributed")

    def moved(field: str, position: int, *, to: int) -> str:
        change = f"replace(payload, '\"{field}\":{coupon}', '\"{field}\":{to}')"
        return f"UPDATE colink.events SET payload = {change} WHERE position = {position}"

    changes = [moved("position", second, to=revision), moved("terms_position", attributed, to=coupon - 1)]
    assert world.tamper_with_log(*changes) == [1, 1]
    assert found(await verified(world)) == {
        (Pass.ATTRIBUTION, Kind.DERIVED_DIFFERENTLY, attributed),
        (Pass.COMMISSION, Kind.DERIVED_DIFFERENTLY, second),
    }
    world.tamper_with_log(moved("position", first, to=coupon - 1))
    assert (Pass.COMMISSION, Kind.DERIVED_DIFFERENTLY, first) in found(await verified(world))


async def test_postings_to_no_account_of_the_chart(world: World) -> None:
    await a_few_orders(world)
    position = await position_of(world, "journal.posted")
    change = "replace(payload, 'platform:revenue', 'platform:petty_cash')"
    assert world.tamper_with_log(f"UPDATE colink.events SET payload = {change} WHERE position = {position}") == [1]
    assert (Pass.ACCOUNTS, Kind.UNKNOWN_ACCOUNT, position) in found(await verified(world))
    assert found(await verified(world, only=[Pass.ACCOUNTS], from_position=position + 1)) == set()


async def test_an_account_below_zero_is_named_where_it_began(world: World) -> None:
    """What is pending may not be negative: two clearings of one sale, though the sums of the books are right."""
    await a_few_orders(world)
    [(head,)] = await world.rows("SELECT position FROM colink.log_head")
    clearing = await position_of(world, "journal.posted", nth=6)
    columns = "schema_version, payload, organization_id, recorded_at, actor, correlation_id, causation_id"
    world.tamper_with_log(
        *(
            f"INSERT INTO colink.events (position, stream_id, version, topic, {columns}) SELECT {head + n},"
            f" stream_id || '{n}', version, topic, {columns} FROM colink.events WHERE position = {clearing}"
            for n in (1, 2)
        ),
        f"UPDATE colink.log_head SET position = {head + 2}",
    )
    assert found(await verified(world, only=[Pass.ACCOUNTS])) == {(Pass.ACCOUNTS, Kind.OVERDRAWN, head + 1)}
    assert found(await verified(world, only=[Pass.ACCOUNTS], from_position=head + 2)) == {
        (Pass.ACCOUNTS, Kind.OVERDRAWN, head + 1)
    }


async def test_a_journal_nothing_led_to(world: World) -> None:
    """A balanced journal smuggled into the log with its rows: only the derivation from the order sees it."""
    await a_few_orders(world)
    [(head,)] = await world.rows("SELECT position FROM colink.log_head")
    position = await position_of(world, "journal.posted")
    world.tamper_with_log(
        "INSERT INTO colink.events SELECT"
        f" {head + 1}, stream_id || '7', version, topic, schema_version, payload, organization_id, recorded_at"
        f" + interval '99 days', actor, correlation_id, causation_id FROM colink.events WHERE position = {position}",
        f"UPDATE colink.log_head SET position = {head + 1}",
    )
    assert (Pass.DERIVATION, Kind.EXTRA, head + 1) in found(await verified(world))


async def test_a_deleted_event_leaves_a_gap(world: World) -> None:
    await a_few_orders(world)
    position = await position_of(world, "order.attributed")
    assert world.tamper_with_log(f"DELETE FROM colink.events WHERE position = {position}") == [1]
    findings = found(await verified(world))
    assert (Pass.ORDER, Kind.GAP, position) in findings
    assert (Pass.ORDER, Kind.GAP, position + 1) in findings


async def test_a_log_cut_short(world: World) -> None:
    await a_few_orders(world)
    [(head,)] = await world.rows("SELECT position FROM colink.log_head")
    assert world.tamper_with_log(f"DELETE FROM colink.events WHERE position = {head}") == [1]
    assert (Pass.ORDER, Kind.GAP, head) in found(await verified(world))


async def test_an_unreadable_event_is_a_finding_and_no_end(world: World) -> None:
    await a_few_orders(world)
    position = await position_of(world, "order.split", nth=2)
    assert world.tamper_with_log(f"UPDATE colink.events SET payload = '{{' WHERE position = {position}") == [1]
    report = await verified(world)
    assert (Pass.SPLIT, Kind.UNREADABLE, position) in found(report)
    assert all(result.status is not Status.INCOMPLETE for result in report.passes)


async def test_changed_order_and_document_rows(world: World) -> None:
    await a_few_orders(world)
    cleared = await position_of(world, "order.cleared")
    registered = await position_of(world, "organization.registered")
    world.tamper(
        f"UPDATE colink.orders SET creator_id = '{BUDI}' WHERE order_id = '{ORDER}'",
        f"UPDATE colink.documents SET body = replace(body, ':500', ':5') WHERE id = '{ORGANIZATION}'",
    )
    assert found(await verified(world)) == {
        (Pass.ORDER_ROWS, Kind.CHANGED, cleared),
        (Pass.DOCUMENTS, Kind.CHANGED, registered),
    }


async def test_a_document_that_no_event_wrote_is_named_whatever_else_is_gone(world: World) -> None:
    [(coupon, campaign)] = await world.rows(
        "SELECT max(position) FILTER (WHERE kind = 'coupon'), max(position) FILTER (WHERE kind = 'campaign')"
        " FROM colink.documents"
    )
    forged = (
        "INSERT INTO colink.documents SELECT kind, '{}', {}, NULL, organization_id, part_of_terms, {}, body, position"
        " FROM colink.documents WHERE position = {} LIMIT 1"
    )
    world.tamper(
        forged.format("cpn_forged", 1, True, coupon),
        forged.format("cmp_1", 0, False, campaign),
        f"DELETE FROM colink.documents WHERE id IN ('rul_1', '{BUDI}')",  # so that there are as many as before
    )
    report = await verified(world)
    documents = report.result(Pass.DOCUMENTS).findings
    assert {(each.kind, each.position, each.subject) for each in documents} == {
        (Kind.EXTRA, coupon, "cpn_forged"),
        (Kind.EXTRA, campaign, "cmp_1"),
        (Kind.MISSING, await position_of(world, "commission_rule.added"), "rul_1"),
        (Kind.MISSING, await position_of(world, "creator.registered", nth=2), BUDI),
    }
    assert f"event {coupon} did not write version 1 of coupon cpn_forged" in {each.message for each in documents}


async def test_a_pass_that_cannot_run_is_incomplete(world: World) -> None:
    await a_few_orders(world)
    world.tamper("ALTER TABLE colink.balances RENAME TO balances_gone")
    report = await verified(world)
    assert report.result(Pass.BALANCES).status is Status.INCOMPLETE
    assert "balances" in (report.result(Pass.BALANCES).reason or "")
    assert report.result(Pass.SPLIT).status is Status.PASSED
    assert not report.clean


_NOT_READ = {
    "colink.audit_reads",
    "colink.schema_version",
    "colink.seal_alarms",
    "colink.tracking_salts",
    "colink.webhook_rejections",
}
"""Tables that nothing of these few orders is looked up in."""


async def test_whatever_table_is_lost_the_passes_that_need_it_are_incomplete(world: World) -> None:
    """And nothing is raised: the others go on."""
    await a_few_orders(world)
    await world.engine().run_until_caught_up()
    tables = await world.rows(
        "SELECT format('%%I.%%I', n.nspname, c.relname), c.relname FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('colink', 'colink_read')"
        " AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1"
    )
    stopped: dict[str, set[Pass]] = {}
    for place, name in tables:
        world.tamper_as_superuser(f"ALTER TABLE {place} RENAME TO lost")
        async with world.pool.connection() as conn:
            report = await verify(conn, world.mapper.event, outside=Outside(person_keys=keys()))
        world.tamper_as_superuser(f"ALTER TABLE {place.partition('.')[0]}.lost RENAME TO {name}")
        if place.startswith("colink."):
            assert report.findings == [], place
        else:  # the tables of reports are themselves verified to be there
            assert {finding.audit_pass for finding in report.findings} == {Pass.PROJECTIONS}, place
        results = [result for result in report.passes if result.status is Status.INCOMPLETE]
        assert all(name in (result.reason or "") for result in results), place
        stopped[place] = {result.audit_pass for result in results}
    assert stopped["colink.log_head"] == set(Pass)
    assert stopped["colink.entries"] == {Pass.ENTRIES}
    assert stopped["colink.tracking_events"] == {Pass.TRACKING, Pass.PROJECTIONS}
    assert {place for place, passes in stopped.items() if not passes} == _NOT_READ


async def test_a_part_of_the_log(world: World) -> None:
    """Rows as they are now say nothing about a part of the log; what happened in it is verified."""
    await a_few_orders(world)
    first = await position_of(world, "order.placed")
    second = await position_of(world, "order.placed", nth=2)
    account = f"payee:{AINA}:available"
    world.tamper(
        f"UPDATE colink.entries SET amount = amount + 1 WHERE position = {second + 3} AND ordinal = 0",
        f"UPDATE colink.balances SET amount = 0 WHERE account = '{account}'",
    )
    before = await verified(world, from_position=first, to_position=second - 1)
    assert (before.clean, before.result(Pass.BALANCES).status) == (True, Status.NOT_IN_RANGE)
    assert before.result(Pass.SPLIT).checked == 1
    behind = await verified(world, from_position=second)
    assert found(behind) == {(Pass.ENTRIES, Kind.CHANGED, second + 3)}
    with pytest.raises(InvalidInput):
        await verified(world, from_position=5, to_position=4)


async def test_what_a_newer_program_wrote_is_reported_and_not_passed_over(world: World) -> None:
    await world.order(1, 1000)
    head = (await world.rows("SELECT position FROM colink.log_head"))[0][0]
    columns = "stream_id, version, topic, schema_version, payload, recorded_at, actor, correlation_id"
    world.tamper_with_log(
        f"INSERT INTO colink.events (position, {columns}) SELECT {head} + n, 'new_' || n, 1,"
        " CASE n WHEN 1 THEN 'order.teleported' ELSE 'link.created' END, n, '{}', recorded_at, 'a', 'c'"
        f" FROM colink.events, generate_series(1, 2) n WHERE position = {head}",
        f"UPDATE colink.log_head SET position = {head} + 2",
    )
    report = await verified(world, only=[Pass.ORDER])
    assert [(finding.kind, finding.position, finding.message) for finding in report.findings] == [
        (
            Kind.UNREADABLE,
            head + n,
            f"this program does not know version {n} of {topic}: a newer CoLink may have written it",
        )
        for n, topic in ((1, "order.teleported"), (2, "link.created"))
    ]


async def test_rows_that_lean_on_the_events_of_something_else(world: World) -> None:
    """An order and a payout that never were, under the ids of journals that exist."""
    await a_few_orders(world)
    [(order, _), (payout, position)] = await world.rows(
        "SELECT stream_id, position FROM colink.events WHERE topic = 'journal.posted' ORDER BY position LIMIT 2"
    )
    changed = world.tamper(
        f"INSERT INTO colink.orders (order_id, created_position, position) VALUES ('{order}', 9, 9)",
        "INSERT INTO colink.payouts (payout_id, payee_id, currency, amount, status, stretches, created_position,"
        f" position) VALUES ('{payout}', 'crt_1', 'MYR', 100, 'requested', '[]', 9, {position})",
    )
    assert changed == [1, 1]
    assert found(await verified(world)) == {
        (Pass.ORDER_ROWS, Kind.EXTRA, 9),
        (Pass.PAYOUTS, Kind.EXTRA, position),
    }


async def test_a_head_of_another_time(world: World) -> None:
    """Everything told from now on would be recorded then."""
    await a_few_orders(world)
    await world.touch(AINA)
    [(head,)] = await world.rows("SELECT position FROM colink.log_head")
    later = "SET recorded_at = recorded_at + interval '9 years'"
    assert world.tamper(*(f"UPDATE colink.{name} {later}" for name in ("log_head", "tracking_head"))) == [1, 1]
    assert found(await verified(world)) == {
        (Pass.ORDER, Kind.HEAD_DIFFERS, head),
        (Pass.TRACKING, Kind.HEAD_DIFFERS, 1),
    }


async def test_an_event_that_belongs_to_something_else(world: World) -> None:
    """In the stream of an order, where no pass over orders looks at it and none can replay what comes after it."""
    await a_few_orders(world)
    [(head,)] = await world.rows("SELECT position FROM colink.log_head")
    columns = "schema_version, payload, organization_id, recorded_at, actor, correlation_id, causation_id"
    foreign = await position_of(world, "journal.posted")
    world.tamper_with_log(
        f"INSERT INTO colink.events (position, stream_id, version, topic, {columns}) SELECT {head + 1}, '{ORDER}',"
        f" (SELECT max(version) + 1 FROM colink.events WHERE stream_id = '{ORDER}'), topic, {columns}"
        f" FROM colink.events WHERE position = {foreign}",
        f"UPDATE colink.log_head SET position = {head + 1}",
    )
    assert (Pass.ORDER, Kind.EXTRA, head + 1) in found(await verified(world, only=[Pass.ORDER]))


async def test_an_event_of_a_shape_that_never_was(world: World) -> None:
    await world.order(1, 1000)
    [(head,)] = await world.rows("SELECT position FROM colink.log_head")
    columns = "organization_id, recorded_at, actor, correlation_id, causation_id"
    world.tamper_with_log(
        f"INSERT INTO colink.events (position, stream_id, version, topic, schema_version, payload, {columns})"
        f" SELECT {head + 1}, 'x', 1, 'order.teleported', 0, '', {columns} FROM colink.events"
        f" WHERE position = {head}",
        f"UPDATE colink.log_head SET position = {head + 1}",
    )
    assert found(await verified(world)) == {(Pass.ORDER, Kind.UNREADABLE, head + 1)}


async def test_an_event_that_says_it_is_of_another_shape_or_makes_something_else(world: World) -> None:
    """Journals are read by their money alone, and nothing but a command asks what a first event makes."""
    await world.order(1, 1000)
    for topic, old, new, kind in (
        ("journal.posted", '"class_version":2', '"class_version":3', Kind.UNREADABLE),
        ("order.placed", '"originator_topic":"order"', '"originator_topic":"payout"', Kind.EXTRA),
    ):
        position = await position_of(world, topic)
        for was, becomes in ((old, new), (new, old)):
            statement = f"UPDATE colink.events SET payload = replace(payload, '{was}', '{becomes}')"
            assert world.tamper_with_log(f"{statement} WHERE position = {position}") == [1]
            expected = {(Pass.ORDER, kind, position)} if becomes == new else set()
            assert found(await verified(world, only=[Pass.ORDER])) == expected


async def test_a_range_may_begin_anywhere(world: World) -> None:
    """Between an event and its journals too; those are derived from it all the same."""
    await a_few_orders(world)
    [(head,)] = await world.rows("SELECT position FROM colink.log_head")
    for first in range(1, head + 1):
        async with world.pool.connection() as conn:
            report = await verify(conn, world.mapper.event, from_position=first, effort=FINELY)
        assert report.findings == []
    position = await position_of(world, "journal.posted")
    change = "replace(replace(payload, ':1000,', ':1001,'), ':-10000,', ':-10001,')"
    assert world.tamper_with_log(f"UPDATE colink.events SET payload = {change} WHERE position = {position}") == [1]
    changed = await verified(world, from_position=position, only=[Pass.DERIVATION])
    assert found(changed) == {(Pass.DERIVATION, Kind.DERIVED_DIFFERENTLY, position)}
    forged = "UPDATE colink.events SET stream_id = stream_id || '7' WHERE position = "
    assert world.tamper_with_log(f"{forged}{position}") == [1]
    smuggled = await verified(world, from_position=position, only=[Pass.DERIVATION])
    assert (Pass.DERIVATION, Kind.EXTRA, position) in found(smuggled)
