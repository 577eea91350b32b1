"""The demo's story: a shop, three creators, and shoppers who find it, buy, and sometimes give things back.

Made from a seed, and pure: no clock, no ids of ours, no HTTP. What the story means in money is `expectations.py`'s,
what it looks like on the wire `deliveries.py`'s.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum

from colink.cli.shopify_traffic import Item

CURRENCY = "MYR"
PLATFORM_FEE_BPS = 500
HOLD_DAYS = 14
PAYMENT_FEE_BPS, PAYMENT_FEE_FIXED = 290, 100  # of what is collected, and sen an order
SHOP_DOMAIN = "batik-house.myshopify.com"
CAMPAIGN_SLUG = "raya"
COUPON_CODE = "MEI10"
_CENT = Decimal("0.01")
_TAX = Decimal("0.06")


@dataclass(frozen=True, kw_only=True)
class Creator:
    handle: str
    name: str
    email: str


AINA = Creator(handle="aina", name="Aina Rahman", email="aina@creators.example")
BEN = Creator(handle="ben", name="Ben Raj", email="ben@creators.example")
MEI = Creator(handle="mei", name="Mei Tan", email="mei@creators.example")
CREATORS = (AINA, BEN, MEI)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A SKU of the shop, by Shopify's ids."""

    product_id: int
    product: str
    variant_id: int
    sku: str
    price: Decimal


SARONG_RED = Variant(product_id=8101, product="Batik sarong", variant_id=41001, sku="SARONG-RED", price=Decimal(129))
SARONG_BLUE = replace(SARONG_RED, variant_id=41002, sku="SARONG-BLUE", price=Decimal("139.90"))
TOTE_SMALL = Variant(product_id=8102, product="Tote bag", variant_id=42001, sku="TOTE-S", price=Decimal("59.95"))
TOTE_LARGE = replace(TOTE_SMALL, variant_id=42002, sku="TOTE-L", price=Decimal("79.05"))
VARIANTS = (SARONG_RED, SARONG_BLUE, TOTE_SMALL, TOTE_LARGE)
CAMPAIGN_PRODUCT_ID = SARONG_RED.product_id  # the campaign is about sarongs only


@dataclass(frozen=True, kw_only=True)
class Link:
    """`in_campaign`: it belongs to the campaign, else it just leads to the shop."""

    code: str
    creator: Creator
    in_campaign: bool


LINKS = (
    Link(code="aina-raya", creator=AINA, in_campaign=True),
    Link(code="ben-raya", creator=BEN, in_campaign=True),
    Link(code="ben-shop", creator=BEN, in_campaign=False),
    Link(code="mei-shop", creator=MEI, in_campaign=False),
)
AINA_RAYA, BEN_RAYA, BEN_SHOP, MEI_SHOP = LINKS


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A commission rule by what it is for; `rate_bps` of a line, or `fixed` sen per unit."""

    scope: str
    variant: Variant | None = None
    creator: Creator | None = None
    rate_bps: int | None = None
    fixed: int | None = None


RULE_OF_AINA = Rule(scope="campaign", creator=AINA, rate_bps=1500)
RULE_OF_CAMPAIGN = Rule(scope="campaign", rate_bps=1200)
RULE_OF_SKU = Rule(scope="sku", variant=SARONG_BLUE, fixed=1250)
RULE_OF_PRODUCT = Rule(scope="product", variant=TOTE_SMALL, rate_bps=1000)
RULE_BY_DEFAULT = Rule(scope="default", rate_bps=800)
RULES = (RULE_OF_AINA, RULE_OF_CAMPAIGN, RULE_OF_SKU, RULE_OF_PRODUCT, RULE_BY_DEFAULT)


class Found(StrEnum):
    """How CoLink can find the touches of an order."""

    NOTE = "the click id in the order's note attributes"
    LANDING = "the click id in its landing page"
    VISITOR = "the visitor cookie's id"
    NOTHING = "nothing"


class Fate(StrEnum):
    """What becomes of an order."""

    KEPT = "kept"
    PART_RETURNED = "part returned"
    RETURNED = "returned"
    GOODWILL = "amount-only refund"
    SHIPPING_BACK = "shipping refunded"
    CANCELLED = "cancelled"
    CANCELLED_OWED = "cancelled, money still owed"
    EDITED = "edited"
    UNPAID = "never paid"
    TEST = "test order"


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a shopper does before buying: follow a link, or see the campaign on behalf of a creator. `prefetched`:
    the browser loaded the link ahead, and nobody looked."""

    link: Link | None = None
    view_of: Creator | None = None
    prefetched: bool = False


@dataclass(frozen=True, kw_only=True)
class PlannedOrder:
    """One order of the story. `credited` and `outcome` are what its shopper's way should lead to."""

    number: int
    order_id: int
    email: str
    steps: tuple[Step, ...]
    found: Found
    coupon: str | None
    items: tuple[Item, ...]
    shipping: Decimal
    taxes_included: bool
    fate: Fate
    outcome: str
    credited: Creator | None
    in_campaign: bool
    in_order: bool
    returned_late: bool = False

    @property
    def has_money(self) -> bool:
        return self.fate not in {Fate.UNPAID, Fate.TEST}


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`showpiece` is the order that the demo explains; it is among `orders`."""

    seed: int
    orders: tuple[PlannedOrder, ...]

    @property
    def showpiece(self) -> PlannedOrder:
        return self.orders[0]


@dataclass(frozen=True, kw_only=True)
class _Way:
    """How a shopper came, and whom that should credit."""

    steps: tuple[Step, ...]
    found: Found
    outcome: str
    credited: Creator | None
    in_campaign: bool
    coupon: str | None = None


FEWEST_ORDERS = 20  # every kind of fate and way occurs


def tell(*, seed: int, orders: int) -> Scenario:
    """The story with that seed: `orders` orders, at least `FEWEST_ORDERS`."""
    chance = random.Random(seed)  # noqa: S311 - a story, no secret
    planned = [_showpiece(), _own_purchase()]
    fates = _dealt(chance, orders - len(planned))
    planned += [_planned(chance, number, fate) for number, fate in enumerate(fates, start=len(planned))]
    return Scenario(seed=seed, orders=tuple(_some_returned_late(planned)))


def _some_returned_late(orders: Sequence[PlannedOrder]) -> list[PlannedOrder]:
    """One in twelve of what was kept comes back after the payout, of Aina's first: hers is the statement shown."""
    kept = [order for order in orders[2:] if order.fate is Fate.KEPT and order.credited is not None]
    kept.sort(key=lambda order: (order.credited != AINA, order.number))
    late = {order.number for order in kept[::12]}
    return [replace(order, returned_late=order.number in late) for order in orders]


def _dealt(chance: random.Random, count: int) -> list[Fate]:
    """Each fate at least once, then by weight."""
    weights = {
        Fate.KEPT: 50,
        Fate.PART_RETURNED: 12,
        Fate.RETURNED: 8,
        Fate.GOODWILL: 7,
        Fate.SHIPPING_BACK: 5,
        Fate.CANCELLED: 5,
        Fate.CANCELLED_OWED: 3,
        Fate.EDITED: 5,
        Fate.UNPAID: 3,
        Fate.TEST: 2,
    }
    fates = [*Fate, *chance.choices(list(weights), list(weights.values()), k=max(count - len(Fate), 0))]
    chance.shuffle(fates)
    return fates


def _showpiece() -> PlannedOrder:
    """Ben's link, Mei's page, Aina's link, and Mei's that only the browser saw. One of three pieces comes back."""
    return PlannedOrder(
        number=1001,
        order_id=_order_id(0),
        email="shopper-1001@example.com",
        steps=(
            Step(link=BEN_RAYA),
            Step(view_of=MEI),
            Step(link=AINA_RAYA),
            Step(link=MEI_SHOP, prefetched=True),
        ),
        found=Found.NOTE,
        coupon=None,
        items=(_item(0, 0, SARONG_RED, 1, tax_included=False), _item(0, 1, TOTE_LARGE, 2, tax_included=False)),
        shipping=Decimal(8),
        taxes_included=False,
        fate=Fate.PART_RETURNED,
        outcome="click",
        credited=AINA,
        in_campaign=True,
        in_order=False,
    )


def _own_purchase() -> PlannedOrder:
    """Ben buys through his own link: credited, and held until somebody has looked at it."""
    return PlannedOrder(
        number=1002,
        order_id=_order_id(1),
        email=BEN.email,
        steps=(Step(link=BEN_SHOP),),
        found=Found.NOTE,
        coupon=None,
        items=(_item(1, 0, SARONG_BLUE, 1, tax_included=False),),
        shipping=Decimal(0),
        taxes_included=False,
        fate=Fate.KEPT,
        outcome="click",
        credited=BEN,
        in_campaign=False,
        in_order=True,
    )


def _planned(chance: random.Random, index: int, fate: Fate) -> PlannedOrder:
    way = chance.choices([make for make, _ in _WAYS], [weight for _, weight in _WAYS])[0](chance)
    taxes_included = chance.random() < 0.3
    variants = chance.sample(VARIANTS, 2 if fate is Fate.EDITED else chance.choice((1, 1, 2)))
    items = tuple(
        _item(
            index,
            place,
            variant,
            2 if fate is Fate.PART_RETURNED and place == 0 else chance.choice((1, 1, 1, 2, 3)),
            discount=Decimal("0.10") if way.coupon else Decimal(0),
            tax_included=taxes_included,
        )
        for place, variant in enumerate(variants)
    )
    shipping = Decimal(8) if fate is Fate.SHIPPING_BACK else chance.choice((Decimal(0), Decimal(8), Decimal("12.50")))
    return PlannedOrder(
        number=1001 + index,
        order_id=_order_id(index),
        email=f"shopper-{1001 + index}@example.com",
        steps=way.steps,
        found=way.found,
        coupon=way.coupon,
        items=items,
        shipping=shipping,
        taxes_included=taxes_included,
        fate=fate,
        outcome=way.outcome,
        credited=way.credited,
        in_campaign=way.in_campaign,
        in_order=chance.random() < 0.6,
    )


def _by_link(chance: random.Random) -> _Way:
    steps = [Step(link=link) for link in chance.sample(LINKS, chance.choice((1, 1, 2)))]
    last = steps[-1].link or AINA_RAYA
    return _Way(
        steps=tuple(steps),
        found=chance.choice((Found.NOTE, Found.NOTE, Found.LANDING, Found.VISITOR)),
        outcome="click",
        credited=last.creator,
        in_campaign=last.in_campaign,
    )


def _by_view(chance: random.Random) -> _Way:
    creator = chance.choice(CREATORS)
    return _Way(
        steps=(Step(view_of=creator),), found=Found.VISITOR, outcome="view", credited=creator, in_campaign=True
    )


def _by_coupon(chance: random.Random) -> _Way:
    """Mei's code, in half of the cases after somebody else's link: the code comes first."""
    steps = (Step(link=chance.choice((AINA_RAYA, BEN_SHOP))),) if chance.random() < 0.5 else ()
    return _Way(
        steps=steps,
        found=Found.NOTE if steps else Found.NOTHING,
        outcome="coupon",
        credited=MEI,
        in_campaign=True,
        coupon=COUPON_CODE,
    )


def _by_nobody(_: random.Random) -> _Way:
    return _Way(steps=(), found=Found.NOTHING, outcome="none", credited=None, in_campaign=False)


_WAYS: Sequence[tuple[Callable[[random.Random], _Way], int]] = (
    (_by_link, 60),
    (_by_view, 10),
    (_by_coupon, 18),
    (_by_nobody, 12),
)


def _order_id(index: int) -> int:
    return 5_600_000_001_000 + index


def _item(
    index: int,
    place: int,
    variant: Variant,
    quantity: int,
    *,
    tax_included: bool,
    discount: Decimal = Decimal(0),
) -> Item:
    gross = variant.price * quantity
    off = (gross * discount).quantize(_CENT, ROUND_HALF_EVEN)
    taxable = gross - off
    tax = taxable * _TAX / (1 + _TAX) if tax_included else taxable * _TAX
    return Item(
        line_id=_order_id(index) * 10 + place,
        title=variant.product,
        price=variant.price,
        quantity=quantity,
        product_id=variant.product_id,
        variant_id=variant.variant_id,
        sku=variant.sku,
        discount=off,
        tax=tax.quantize(_CENT, ROUND_HALF_EVEN),
    )
