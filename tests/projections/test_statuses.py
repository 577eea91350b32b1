"""The promise: an entry's status is the first that fits of reversed, held, pending, reserved, paid and cleared
(semantics section 6), by the claim and by where its cleared credits lie among the stretches that payouts hold."""

from __future__ import annotations

import pytest

from colink.domain.payouts import Stretch
from colink.domain.split import Claim
from colink.projections.statuses import EntryStatus, Holdings, Statuses, claim_status


def claim(net: int, *, cleared: int = 0, held: int = 0) -> Claim:
    return Claim(line_id="11", payee_id="cre_1", net=net, cleared=cleared, held=held)


def stretches(*parts: tuple[int, int]) -> tuple[Stretch, ...]:
    return tuple(Stretch(start=start, end=end) for start, end in parts)


@pytest.mark.parametrize(
    ("owed", "places", "reserved", "paid", "status"),
    [
        (claim(100), [], [], [], "pending"),
        (claim(100, cleared=60), [(0, 60)], [], [], "pending"),
        (claim(100, cleared=60), [(0, 60)], [], [(0, 60)], "pending"),
        (claim(100, cleared=100), [(0, 100)], [], [], "cleared"),
        (claim(100, held=100), [], [], [], "held"),
        (claim(100, held=1), [], [], [], "held"),
        (claim(100, cleared=100, held=1), [(0, 100)], [(0, 100)], [], "held"),
        (claim(0), [], [], [], "reversed"),
        (claim(0, held=5), [], [], [], "reversed"),
        (claim(0, cleared=100), [(0, 100)], [], [], "reversed"),
        (claim(0, cleared=100), [(0, 100)], [(0, 100)], [], "reversed"),
        (claim(0, cleared=100), [(0, 100)], [], [(0, 100)], "paid"),
        (claim(0, cleared=100), [(0, 100)], [], [(0, 1)], "cleared"),
        (claim(-20, cleared=0), [], [], [], "cleared"),
        # reserved: any of it in a live payout, the edges of half-open stretches being outside
        (claim(100, cleared=100), [(50, 150)], [(149, 200)], [], "reserved"),
        (claim(100, cleared=100), [(50, 150)], [(150, 200)], [], "cleared"),
        (claim(100, cleared=100), [(50, 150)], [(0, 50)], [], "cleared"),
        (claim(100, cleared=100), [(50, 150)], [(100, 150)], [(0, 100)], "reserved"),
        # paid: all of it in paid payouts, however many
        (claim(100, cleared=100), [(50, 150)], [], [(0, 150)], "paid"),
        (claim(100, cleared=100), [(50, 150)], [], [(0, 100), (100, 150)], "paid"),
        (claim(100, cleared=100), [(50, 150)], [], [(0, 149)], "cleared"),
        (claim(100, cleared=100), [(0, 60), (200, 240)], [], [(0, 60)], "cleared"),
        (claim(100, cleared=100), [(0, 60), (200, 240)], [], [(0, 60), (190, 300)], "paid"),
        # a refund after the payout leaves a smaller claim, its money paid all the same
        (claim(40, cleared=40), [(0, 100)], [], [(0, 100)], "paid"),
    ],
)
def test_the_first_that_fits(
    owed: Claim,
    places: list[tuple[int, int]],
    reserved: list[tuple[int, int]],
    paid: list[tuple[int, int]],
    status: str,
) -> None:
    holdings = Holdings(reserved=stretches(*reserved), paid=stretches(*paid))
    assert claim_status(owed, places=stretches(*places), holdings=holdings) == EntryStatus(status)


def test_only_a_payees_pending_and_available_entries_of_an_order_have_one() -> None:
    statuses = Statuses(claims={("ord_1", "11", "cre_1"): claim(100)})

    def of(account: str, order_id: str | None = "ord_1") -> EntryStatus:
        return statuses.of_entry(account=account, currency="MYR", order_id=order_id, line_id="11")

    assert of("payee:cre_1:pending") == of("payee:cre_1:available") == EntryStatus.PENDING
    for account in ("payee:cre_1:in_transit", "platform:revenue", "store:sto_1:clearing", "seller:org_1:receivable"):
        assert of(account) == EntryStatus.POSTED
    assert of("payee:cre_1:available", order_id=None) == EntryStatus.POSTED
    assert of("payee:cre_2:pending") == EntryStatus.REVERSED
