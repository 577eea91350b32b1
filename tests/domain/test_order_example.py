"""The worked example of semantics section 5, to the last unit, pass-through and clearing included.

Three lines of 199.00 with a 10.00 code, sold and partly refunded: both refunded lines end fully reversed although the
shop refunds 195.67 of a line of 195.66, and cash of 209.00 went back of the 391.33 reversed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import permutations

import pytest
from tests.domain.test_order_money import CREATOR, ORGANIZATION, STORE, News, Played, terms
from tests.domain.test_refunds import snapshot

from colink.application.record_order import StandaloneRefund
from colink.domain.ledger import JournalKind
from colink.domain.snapshots import (
    FinancialStatus,
    OrderLine,
    Refund,
    RefundLine,
    RefundTransaction,
    TransactionStatus,
)

SOLD_AT = datetime(2008, 1, 10, 16, tzinfo=UTC)
REFUNDED_AT = datetime(2025, 4, 2, 16, 29, 59, tzinfo=UTC)
REFUND = Refund(
    refund_id="509562969",
    processed_at=REFUNDED_AT,
    lines=(
        RefundLine(line_id="703073504", quantity=1, subtotal=Decimal("195.66"), tax=Decimal("3.98")),
        RefundLine(line_id="466157049", quantity=1, subtotal=Decimal("195.67"), tax=Decimal("3.98")),
    ),
    amount_only=Decimal(0),
    transactions=(
        RefundTransaction(transaction_id="179259969", amount=Decimal("209.00"), status=TransactionStatus.SUCCESS),
    ),
    detail=2,
    digest="refund",
)
ORDER = snapshot(
    {},
    total=59894,
    placed_at=SOLD_AT,
    updated_at=SOLD_AT,
    status=FinancialStatus.PARTIALLY_REFUNDED,
    lines=tuple(
        OrderLine(line_id=line_id, quantity=1, base=base, current_quantity=left)
        for line_id, base, left in (("466157049", 19566, 0), ("518995019", 19567, 1), ("703073504", 19567, 0))
    ),
    refunds=(REFUND,),
)
ALONE: News = StandaloneRefund(order_external_id="450789469", refund=REFUND)


@pytest.mark.parametrize("deliveries", [[ORDER], *([*order] for order in permutations([ORDER, ALONE, ALONE]))])
def test_the_numbers_of_the_example_in_any_order(deliveries: list[News]) -> None:
    played = Played(terms())
    for news in deliveries:
        played.receive(news)
    assert played.order is not None
    split = played.order.split
    assert split is not None

    assert [(line.base, line.platform_fee, line.commission) for line in split.lines] == [
        (19566, 978, 1956),
        (19567, 979, 1957),
        (19567, 978, 1957),
    ]
    assert [line.reversed_base for line in split.lines] == [19566, 0, 19567]
    assert [line.seller_take for line in split.lines] == [0, 16631, 0]
    assert sum(line.net_platform_fee for line in split.lines) == 979
    assert sum(line.net_commission for line in split.lines) == 1957
    assert (split.subtotal, split.collected, split.cash_refunded) == (58700, 59894, 20900)
    assert played.sums() == {
        (None, f"store:{STORE}:clearing"): -(59894 - 20900),
        ("518995019", "platform:revenue"): 979,
        ("518995019", f"payee:{CREATOR}:pending"): 1957,
        ("518995019", f"payee:{ORGANIZATION}:pending"): 16631,
        (None, f"payee:{ORGANIZATION}:pending"): 1194 + 39133 - 20900,
    }


def test_clearing_moves_all_but_what_the_buyer_is_still_owed() -> None:
    played = Played(terms())
    played.receive(ORDER)
    played.clear()
    clearing = [journal for journal in played.journals if journal.kind is JournalKind.CLEARING]
    assert [journal.effective_at for journal in clearing] == [datetime(2008, 1, 24, 16, tzinfo=UTC)]
    assert played.sums() == {
        (None, f"store:{STORE}:clearing"): -(59894 - 20900),
        ("518995019", "platform:revenue"): 979,
        ("518995019", f"payee:{CREATOR}:available"): 1957,
        ("518995019", f"payee:{ORGANIZATION}:available"): 16631,
        (None, f"payee:{ORGANIZATION}:available"): 1194,
        (None, f"payee:{ORGANIZATION}:pending"): 39133 - 20900,
    }
