"""The promise: an entry's status is the first that fits of reversed, held, pending, reserved, paid and cleared
(semantics section 6), by the claim and by where its cleared credits lie among the stretches that payouts hold."""

from __future__ import annotations

import pytest

from colink.domain.split import Claim
from colink.projections.statuses import EntryStatus, Holdings, Place, Statuses, Taken, claim_status, places_after


def claim(net: int, *, cleared: int = 0, held: int = 0) -> Claim:
    return Claim(line_id="11", payee_id="cre_1", net=net, cleared=cleared, held=held)


def taken(*parts: tuple[int, int], requested: int = 5) -> tuple[Taken, ...]:
    return tuple(Taken(start=start, end=end, requested=requested) for start, end in parts)


def on_line(*parts: tuple[int, int], void_from: int | None = None) -> tuple[Place, ...]:
    return tuple(Place(start=start, end=end, void_from=void_from) for start, end in parts)


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
    holdings = Holdings(reserved=taken(*reserved), paid=taken(*paid))
    assert claim_status(owed, places=on_line(*places), holdings=holdings) == EntryStatus(status)


@pytest.mark.parametrize(
    ("void_from", "places", "paid", "status"),
    [
        # the payout was requested before the money was taken back; later it only nets the debit
        (6, [(0, 100)], [(0, 100)], "paid"),
        (4, [(0, 100)], [(0, 160)], "reversed"),
        (6, [(0, 100)], [(100, 160)], "reversed"),
        (6, [(0, 100)], [(0, 60)], "cleared"),
    ],
)
def test_of_a_claim_that_came_to_nothing_only_what_was_asked_for_before_is_paid(
    void_from: int, places: list[tuple[int, int]], paid: list[tuple[int, int]], status: str
) -> None:
    holdings = Holdings(paid=taken(*paid, requested=5))
    found = claim_status(claim(0, cleared=100), places=on_line(*places, void_from=void_from), holdings=holdings)
    assert found == EntryStatus(status)


def test_a_claim_that_was_partly_paid_before_stays_so_when_a_later_payout_nets_the_rest() -> None:
    holdings = Holdings(paid=(*taken((0, 60), requested=3), *taken((60, 200), requested=9)))
    places = on_line((0, 100), void_from=6)
    assert claim_status(claim(0, cleared=100), places=places, holdings=holdings) == EntryStatus.PAID


def test_credits_are_void_from_the_entry_that_leaves_their_claim_nothing() -> None:
    def place(start: int, end: int, void_from: int | None = None) -> Place:
        return Place(start=start, end=end, void_from=void_from)

    assert places_after([]) == []
    assert places_after([(3, 100, 150)]) == [place(50, 150)]
    # A part taken back leaves money; the rest of it none; money that comes later is another credit.
    history = [(3, 100, 150), (4, -40, None), (7, -60, None), (9, 30, 200)]
    assert places_after(history[:2]) == [place(50, 150)]
    assert places_after(history[:3]) == [place(50, 150, 7)]
    assert places_after(history) == [place(50, 150, 7), place(170, 200)]
    # Two credits fall together; one that only repays a debt was never anybody's.
    assert places_after([(3, 10, 10), (4, 10, 20), (8, -20, None)]) == [place(0, 10, 8), place(10, 20, 8)]
    assert places_after([(3, -50, None), (5, 50, 50)]) == [place(0, 50, 5)]


def test_only_a_payees_pending_and_available_entries_of_an_order_have_one() -> None:
    statuses = Statuses(claims={("ord_1", "11", "cre_1"): claim(100)})

    def of(account: str, order_id: str | None = "ord_1", purpose: str = "commission") -> EntryStatus:
        return statuses.of_entry(account=account, purpose=purpose, currency="MYR", order_id=order_id, line_id="11")

    assert of("payee:cre_1:pending") == of("payee:cre_1:available") == EntryStatus.PENDING
    for account in ("payee:cre_1:in_transit", "platform:revenue", "store:sto_1:clearing", "seller:org_1:receivable"):
        assert of(account) == EntryStatus.POSTED
    assert of("payee:cre_1:available", order_id=None) == EntryStatus.POSTED
    assert of("payee:cre_1:available", purpose="dispute_fee") == EntryStatus.POSTED
    assert of("payee:cre_2:pending") == EntryStatus.REVERSED
