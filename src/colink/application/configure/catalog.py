"""Record products and their SKUs by the platform's own ids. The same product again is a change, or nothing new."""

from __future__ import annotations

from dataclasses import dataclass

from colink.application.configure.checks import Setup, check_money, check_text, referenced
from colink.application.ports import Decision, Facts, Needs
from colink.application.representations import shown
from colink.domain import ids
from colink.domain.catalog import Product, ProductDetails, Sku
from colink.domain.errors import InvalidInput
from colink.domain.money import Money
from colink.domain.organizations import StoreDetails

MOST_SKUS = 2_000


@dataclass(frozen=True, kw_only=True)
class NewSku:
    external_id: str
    sku: str
    price: Money


@dataclass(frozen=True, kw_only=True)
class RecordProduct(Setup):
    """Answers with the product and the ids of its SKUs. Ids are natural: store plus the platform's id."""

    organization_id: str
    store_id: str
    external_id: str
    title: str
    skus: tuple[NewSku, ...]

    @property
    def id(self) -> str:
        return ids.product_id(self.store_id, self.external_id)

    def needs(self) -> Needs:
        return Needs(streams=(self.id,), documents=((StoreDetails, self.store_id),))

    def decide(self, facts: Facts) -> Decision:
        self.check_within(self.organization_id, what="organization")
        store = referenced(facts, StoreDetails, self.store_id, field="store_id")
        self.check_within(store.organization_id, what="store")
        if store.organization_id != self.organization_id:
            msg = f"store {self.store_id} is not a store of organization {self.organization_id}"
            raise InvalidInput(msg, field="store_id")
        details = ProductDetails(
            id=self.id,
            organization_id=self.organization_id,
            store_id=self.store_id,
            external_id=check_text(self.external_id, field="external_id", longest=100),
            title=check_text(self.title, field="title", longest=500),
            skus=self._checked_skus(),
        )
        product = facts.aggregate(Product, self.id)
        if product is None:
            product = Product.record(details, at=facts.now)
        else:
            product.change(details, at=facts.now)
        return Decision(answer=shown(details), events=product.new_events(), organization_id=self.organization_id)

    def _checked_skus(self) -> tuple[Sku, ...]:
        if len(self.skus) > MOST_SKUS:
            msg = f"a product has at most {MOST_SKUS} SKUs"
            raise InvalidInput(msg, field="skus")
        seen: set[str] = set()
        checked = []
        for number, new in enumerate(self.skus):
            external_id = check_text(new.external_id, field=f"skus.{number}.external_id", longest=100)
            if external_id in seen:
                msg = f"skus.{number}.external_id {external_id!r} is there twice"
                raise InvalidInput(msg, field=f"skus.{number}.external_id")
            seen.add(external_id)
            checked.append(
                Sku(
                    id=ids.sku_id(self.store_id, external_id),
                    external_id=external_id,
                    sku=check_text(new.sku, field=f"skus.{number}.sku"),
                    price=check_money(new.price, field=f"skus.{number}.price"),
                )
            )
        return tuple(checked)
