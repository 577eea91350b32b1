"""Sellers, stores, creators, campaigns, rules, links, coupons and payout accounts of one seed: as commands for the
service, and as plain facts for the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any

import msgspec

from colink.application.configure.campaigns import CreateCampaign
from colink.application.configure.catalog import NewSku, RecordProduct
from colink.application.configure.creators import RegisterCreator
from colink.application.configure.organizations import ConnectStore, RegisterOrganization
from colink.application.configure.promotion import CreateCoupon, CreateLink
from colink.application.configure.rules import AddCommissionRule, ReviseCommissionRule
from colink.application.payouts import RegisterPayoutAccount
from colink.application.ports import Caller, Clock, Command
from colink.application.privacy.people import People
from colink.domain.commission import Scope
from colink.domain.customers import customer_ref_of
from colink.domain.ids import product_id, sku_id
from colink.domain.money import Money
from colink.domain.organizations import FeeSchedule, Platform, Settlement, StoreDetails
from colink.domain.payout_accounts import Rail, payout_account_id
from colink.simulation.rules import drawn_rate, spelt

Facts = dict[str, Any]

OPERATOR = Caller(actor="key:operator", correlation_id="simulation")
FINANCE = Caller(actor="key:finance", correlation_id="simulation")
CONTROLLER = Caller(actor="key:controller", correlation_id="simulation")
SECRET = "shpss_simulated"  # noqa: S105 - of shops that exist in one process only
_CURRENCIES = ("MYR", "MYR", "MYR", "JPY", "KWD")
# Whole and broken hours, before and behind UTC; clocks that change in the night, some of them at midnight.
_ZONES = (
    "UTC",
    "Asia/Kuala_Lumpur",
    "Asia/Kolkata",
    "Pacific/Auckland",
    "America/New_York",
    "America/St_Johns",
    "America/Santiago",
    "Asia/Beirut",
    "Africa/Cairo",
)


@dataclass(frozen=True, kw_only=True)
class Change:
    """A command of an operator, and what it tells the model: a kind and its facts."""

    command: Command
    kind: str
    facts: Facts


@dataclass
class Business:
    """What there is. Everything is drawn from `random`."""

    random: Random
    pepper: bytes
    people: People
    clock: Clock
    organizations: list[Facts] = field(default_factory=list)
    stores: list[Facts] = field(default_factory=list)
    creators: list[Facts] = field(default_factory=list)
    campaigns: list[Facts] = field(default_factory=list)
    links: list[Facts] = field(default_factory=list)
    coupons: list[Facts] = field(default_factory=list)
    rules: list[Facts] = field(default_factory=list)
    payees: list[tuple[str, str]] = field(default_factory=list)
    _numbers: int = 0

    def begin(self) -> Iterator[Change]:
        """Everything that is there on the first day, in an order that works."""
        for number in range(1, self.random.randint(2, 4) + 1):
            yield self._organization(f"org_{number}")
        for organization in self.organizations:
            for _ in range(self.random.randint(1, 2)):
                yield self._store(organization)
        for store in self.stores:
            yield from self._products(store)
        for number in range(1, self.random.randint(3, 7) + 1):
            yield self._creator(f"cre_{number}")
        for organization in self.organizations:
            for _ in range(self.random.randint(1, 2)):
                yield self._campaign(organization)
            for scope in (Scope.DEFAULT, *self.random.choices(list(Scope), k=self.random.randint(1, 4))):
                yield self.new_rule(organization, scope)
        for creator in self.creators:
            for _ in range(self.random.randint(1, 3)):
                yield self._link(creator)
        for _ in range(self.random.randint(2, 6)):
            yield self.new_coupon()
        yield from self._payout_accounts()

    @property
    def currencies(self) -> list[str]:
        """Those that stores sell in."""
        return sorted({store["currency"] for store in self.stores})

    def _payout_accounts(self) -> Iterator[Change]:
        self.payees = [
            (payee["id"], currency) for payee in (*self.organizations, *self.creators) for currency in self.currencies
        ]
        for payee, currency in self.payees:
            if self.random.random() < 0.9:
                yield self.payout_account(payee, currency)

    def _next(self, prefix: str) -> str:
        self._numbers += 1
        return f"{prefix}_{self._numbers}"

    def _dated(self, prefix: str) -> str:
        """An id that tells when it was made, as a UUIDv7 does."""
        self._numbers += 1
        milliseconds = _seconds(self.clock.now()) * 1000
        text = f"{milliseconds << 80 | 0x7 << 76 | 0b10 << 62 | self._numbers:032x}"
        return f"{prefix}_{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def _organization(self, id_: str) -> Change:
        facts: Facts = {
            "id": id_,
            "fee_bps": self.random.choice([0, 250, 500, 1000, 333]),
            "hold_days": self.random.choice([0, 1, 7, 14, 14, 21]),
            "keeps_fee": self.random.random() < 0.25,
            "advance": self.random.random() < 0.3,
            "timezone": self.random.choice(_ZONES),
        }
        self.organizations.append(facts)
        command = RegisterOrganization(
            caller=OPERATOR,
            id=id_,
            name=f"Seller {id_}",
            platform_fee_bps=facts["fee_bps"],
            hold_days=facts["hold_days"],
            timezone=facts["timezone"],
            refund_platform_fee=not facts["keeps_fee"],
            advance=facts["advance"],
        )
        return Change(command=command, kind="organization", facts=facts)

    def _store(self, organization: Facts) -> Change:
        id_ = self._next("sto")
        currency = self.random.choice(_CURRENCIES)
        facts = {
            "id": id_,
            "organization": organization["id"],
            "currency": currency,
            "platform_collected": self.random.random() < 0.5,
            "fee_rate_bps": self.random.choice([0, 200, 290]),
            "fee_fixed": self.random.choice([0, 0, 50, 100]),
            "domain": f"{id_.replace('_', '')}.example",
            "products": [],
        }
        settlement = Settlement.PLATFORM_COLLECTED if facts["platform_collected"] else Settlement.SELLER_COLLECTED
        details = StoreDetails(
            id=id_,
            organization_id=organization["id"],
            platform=Platform.SHOPIFY,
            name=f"Store {id_}",
            settlement=settlement,
            domain=facts["domain"],
            payment_fee=FeeSchedule(rate_bps=facts["fee_rate_bps"], fixed=facts["fee_fixed"]),
        )
        facts["details"] = details
        self.stores.append(facts)
        command = ConnectStore(
            caller=OPERATOR,
            id=id_,
            organization_id=organization["id"],
            platform=Platform.SHOPIFY,
            name=details.name,
            settlement=settlement,
            credentials={"webhook_secrets": [SECRET]},
            domain=details.domain,
            payment_fee=details.payment_fee,
        )
        return Change(command=command, kind="store", facts=facts)

    def _products(self, store: Facts) -> Iterator[Change]:
        for _ in range(self.random.randint(2, 4)):
            self._numbers += 1
            external = str(7000 + self._numbers)
            variants = [f"{external}{n}" for n in range(self.random.randint(1, 2))]
            store["products"].append({"id": external, "variants": variants})
            skus = tuple(
                NewSku(external_id=variant, sku=f"SKU-{variant}", price=Money(1000, store["currency"]))
                for variant in variants
            )
            command = RecordProduct(
                caller=OPERATOR,
                organization_id=store["organization"],
                store_id=store["id"],
                external_id=external,
                title=f"Product {external}",
                skus=skus,
            )
            yield Change(command=command, kind="product", facts={})

    def _creator(self, id_: str) -> Change:
        email = f"{id_}@example.com" if self.random.random() < 0.8 else None
        told: Facts = {"handle": id_.replace("_", "-"), "display_name": f"Person of {id_}", "email": email}
        facts = {"id": id_, "email": email, "personal": {name: text for name, text in told.items() if text}}
        self.creators.append(facts)
        command = RegisterCreator(
            caller=OPERATOR,
            id=id_,
            customer_ref=customer_ref_of(email, pepper=self.pepper),
            sealed=self.people.seal_profile(id_, **told),
            **told,
        )
        return Change(command=command, kind="creator", facts=facts)

    def _campaign(self, organization: Facts) -> Change:
        id_ = self._next("cmp")
        own = [
            (store, product)
            for store in self.stores
            if store["organization"] == organization["id"]
            for product in store["products"]
        ]
        chosen = self.random.sample(own, self.random.randint(1, len(own))) if self.random.random() < 0.4 else []
        facts = {
            "id": id_,
            "organization": organization["id"],
            "click_hours": self.random.choice([1, 24, 168, 168]),
            "view_hours": self.random.choice([1, 24, 24]),
            "hold_days": self.random.choice([None, None, 0, 3, 30]),
            "notice_days": self.random.choice([0, 5, 30]),
            "products": sorted(product["id"] for _, product in chosen),
        }
        self.campaigns.append(facts)
        command = CreateCampaign(
            caller=OPERATOR,
            id=id_,
            organization_id=organization["id"],
            name=id_,
            slug=id_.replace("_", "-"),
            click_window_hours=facts["click_hours"],
            view_window_hours=facts["view_hours"],
            hold_days=facts["hold_days"],
            notice_days=facts["notice_days"],
            product_ids=tuple(product_id(store["id"], product["id"]) for store, product in chosen),
        )
        return Change(command=command, kind="campaign", facts=facts)

    def new_rule(self, organization: Facts, scope: Scope) -> Change:
        """A rule of some scope, for all creators or one, always or for a while."""
        random, id_ = self.random, self._next("rul")
        store = random.choice([each for each in self.stores if each["organization"] == organization["id"]])
        product = random.choice(store["products"])
        variant = random.choice(product["variants"])
        own_campaigns = [each for each in self.campaigns if each["organization"] == organization["id"]]
        target: Any = "default"
        target_id: str | None = None
        if scope is Scope.CAMPAIGN:
            target = target_id = random.choice(own_campaigns)["id"]
        elif scope is Scope.PRODUCT:
            target, target_id = (store["id"], product["id"]), product_id(store["id"], product["id"])
        elif scope is Scope.SKU:
            target, target_id = (store["id"], variant), sku_id(store["id"], variant)
        facts = drawn_rate(random, organization, store["currency"]) | {
            "id": f"{id_}.1",
            "rule": id_,
            "version": 1,
            "organization": organization["id"],
            "scope": scope.value,
            "target": target,
            "creator": random.choice(self.creators)["id"] if random.random() < 0.3 else None,
        }
        command = AddCommissionRule(
            caller=OPERATOR,
            id=id_,
            organization_id=organization["id"],
            scope=scope,
            target_id=target_id,
            creator_id=facts["creator"],
            **spelt(facts),
        )
        return Change(command=command, kind="rule", facts=facts)

    def accepted(self, change: Change) -> None:
        """A rule stands from now on: only then it can be revised."""
        if change.kind == "rule":
            self.rules.append(change.facts)

    def revised_rule(self) -> Change:
        old = self.random.choice(self.rules)
        newest = max((each for each in self.rules if each["rule"] == old["rule"]), key=lambda each: each["version"])
        organization = next(each for each in self.organizations if each["id"] == old["organization"])
        version = newest["version"] + 1
        facts = newest | drawn_rate(self.random, organization, newest["currency"])
        facts |= {"id": f"{newest['rule']}.{version}", "version": version}
        command = ReviseCommissionRule(
            caller=OPERATOR, rule_id=facts["rule"], organization_id=facts["organization"], **spelt(facts)
        )
        return Change(command=command, kind="rule", facts=facts)

    def _link(self, creator: Facts) -> Change:
        id_ = self._dated("lnk")
        campaign = self.random.choice(self.campaigns) if self.random.random() < 0.6 else None
        domain = self.random.choice(self.stores)["domain"]
        facts = {
            "id": id_,
            "creator": creator["id"],
            "campaign": campaign["id"] if campaign else None,
            "host": None if campaign else domain,
            "made": _seconds(self.clock.now()),
        }
        self.links.append(facts)
        command = CreateLink(
            caller=OPERATOR,
            id=id_,
            creator_id=creator["id"],
            campaign_id=facts["campaign"],
            destination=f"https://{domain}/products/1",
            code=f"link-{len(self.links)}",
        )
        return Change(command=command, kind="link", facts=facts)

    def new_coupon(self) -> Change:
        id_ = self._dated("cou")
        store = self.random.choice(self.stores)
        own = [each for each in self.campaigns if each["organization"] == store["organization"]]
        facts = {
            "id": id_,
            "store": store["id"],
            "code": f"Save{self._numbers}",
            "creator": self.random.choice(self.creators)["id"],
            "campaign": self.random.choice(own)["id"] if self.random.random() < 0.5 else None,
            "made": _seconds(self.clock.now()),
        }
        self.coupons.append(facts)
        command = CreateCoupon(
            caller=OPERATOR,
            id=id_,
            store_id=store["id"],
            code=facts["code"],
            creator_id=facts["creator"],
            campaign_id=facts["campaign"],
        )
        return Change(command=command, kind="coupon", facts=facts)

    def payout_account(self, payee: str, currency: str) -> Change:
        """An account whose provider does something of everything."""
        random = self.random
        details: dict[str, str | int] = {}
        if random.random() < 0.3:
            details["outcome"] = random.choice(["paid", "failed", "returned", "returned"])
        if random.random() < 0.5:
            details["delay_ms"] = random.choice([1_000, 600_000, 3_600_000])
        if random.random() < 0.5:
            faults = ["timeout", "error_before", "error_after", "channel_down", "channel_down", "refuse"]
            details["fault"] = random.choice(faults)
        minimum = random.choice([None, None, 1, 500, 5_000])
        by = FINANCE if random.random() < 0.1 else OPERATOR
        command = RegisterPayoutAccount(
            caller=by,
            payee_id=payee,
            rail=Rail.SANDBOX,
            currency=currency,
            details=details,
            sealed=self.people.seal_account(
                payee, details, account_id=payout_account_id(payee, currency), name=self._next("acd")
            ),
            minimum=None if minimum is None else Money(minimum, currency),
        )
        facts = {
            "payee": payee,
            "currency": currency,
            "details": details,
            "minimum": minimum,
            "by": by.actor,
            "told": msgspec.json.encode(dict(sorted(details.items()))).decode(),
        }
        return Change(command=command, kind="payout_account", facts=facts)


def _seconds(time: datetime) -> int:
    return int(time.timestamp())
