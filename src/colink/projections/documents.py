"""What is configured, by id and by unique key: organisations, stores, products, campaigns, rules, links, coupons,
creators, payout accounts, API keys, who was erased; accounts, payments and invoices of sellers who collect the money
themselves. Inline rows and their queries; decoding into details classes is here too.

Documents that judge orders are part of their organisation's terms: writing one moves the terms (semantics section 4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row

from colink.domain.access import ApiKeyCreated, ApiKeyDetails, ApiKeyRevocation, ApiKeyRevoked
from colink.domain.bookings import BookingApproved, BookingDetails, BookingProposed, BookingRejected
from colink.domain.campaigns import CampaignCreated, CampaignDetails
from colink.domain.catalog import ProductChanged, ProductDetails, ProductRecorded, Sku
from colink.domain.commission import RuleAdded, RuleDetails, RuleRevised
from colink.domain.creators import CreatorDetails, CreatorRegistered
from colink.domain.organizations import OrganizationDetails, OrganizationRegistered, StoreConnected, StoreDetails
from colink.domain.payout_accounts import PayoutAccountDetails, PayoutAccountRegistered, PayoutAccountReplaced
from colink.domain.people import ERASURES, ErasedPerson
from colink.domain.periods import ClosedPeriods, PeriodClosed
from colink.domain.seller_account_events import (
    SellerAccountAdopted,
    SellerAccountAllocated,
    SellerAccountBooked,
    SellerAccountCovered,
    SellerAccountCredited,
    SellerAccountDetails,
    SellerAccountInvoiced,
    SellerAccountOpened,
    SellerAccountReturned,
    SellerAccountTakenBack,
)
from colink.domain.seller_billing import (
    SellerInvoiceDetails,
    SellerInvoiceIssued,
    SellerPaymentDetails,
    SellerPaymentReceived,
    SellerPaymentReturned,
)
from colink.domain.settlements import SettlementDetails, SettlementRecorded
from colink.domain.tracking import CouponCreated, CouponDetails, LinkCreated, LinkDetails
from colink.domain.withholding import WithholdingDetails, WithholdingSet
from colink.projections.inline import DocumentRow, projects

D = TypeVar("D")
CLOSED_PERIODS = "closed_periods"
"""The kind of what is closed of the ledger: an append that writes one closes the periods (0008_periods.sql)."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How details of one class are filed. `key`: unique within the kind; `key_field`: the input it comes from."""

    name: str
    organization_id: Callable[[Any], str | None]
    key: Callable[[Any], str | None] = lambda _: None
    key_field: str | None = None
    part_of_terms: bool = False


_KINDS: dict[type[Any], _Kind] = {
    OrganizationDetails: _Kind("organization", lambda d: d.id, part_of_terms=True),
    StoreDetails: _Kind("store", lambda d: d.organization_id, part_of_terms=True),
    ProductDetails: _Kind("product", lambda d: d.organization_id),
    Sku: _Kind("sku", lambda _: None),
    CreatorDetails: _Kind("creator", lambda _: None, key=lambda d: d.key, key_field="handle"),
    CampaignDetails: _Kind(
        "campaign", lambda d: d.organization_id, key=lambda d: d.slug, key_field="slug", part_of_terms=True
    ),
    RuleDetails: _Kind("commission_rule", lambda d: d.organization_id, part_of_terms=True),
    LinkDetails: _Kind("link", lambda d: d.organization_id, key=lambda d: d.code, key_field="code"),
    CouponDetails: _Kind(
        "coupon",
        lambda d: d.organization_id,
        key=lambda d: coupon_key(d.store_id, d.code),
        key_field="code",
        part_of_terms=True,
    ),
    PayoutAccountDetails: _Kind("payout_account", lambda d: d.organization_id),
    SettlementDetails: _Kind("settlement", lambda d: d.organization_id),
    SellerAccountDetails: _Kind("seller_account", lambda d: d.organization_id),
    SellerPaymentDetails: _Kind("seller_payment", lambda d: d.organization_id),
    SellerInvoiceDetails: _Kind("seller_invoice", lambda d: d.organization_id),
    BookingDetails: _Kind("booking", lambda d: d.organization_id),
    WithholdingDetails: _Kind("withholding", lambda d: d.organization_id),
    ClosedPeriods: _Kind(CLOSED_PERIODS, lambda _: None),
    ApiKeyDetails: _Kind("api_key", lambda d: d.organization_id, key=lambda d: d.digest, key_field="key"),
    ApiKeyRevocation: _Kind("api_key_revocation", lambda _: None),
    ErasedPerson: _Kind("erased_person", lambda _: None),
}
KEY_FIELDS = {kind.name: kind.key_field for kind in _KINDS.values() if kind.key_field}
"""Which input field the unique key of a kind comes from."""


def coupon_key(store_id: str, code: str) -> str:
    """Coupon codes are unique in a store, whatever their case."""
    return f"{store_id}:{code.lower()}"


def kind_of(details_class: type[Any]) -> str:
    """The kind under which details of that class are filed."""
    return _KINDS[details_class].name


def _row(details: Any, *, version: int, organization_id: str | None = None) -> DocumentRow:
    kind = _KINDS[type(details)]
    return DocumentRow(
        kind=kind.name,
        id=details.id,
        version=version,
        body=msgspec.json.encode(details).decode(),
        organization_id=organization_id or kind.organization_id(details),
        key=kind.key(details),
        part_of_terms=kind.part_of_terms,
    )


def document_of(event: Any) -> Sequence[DocumentRow]:
    """One row an event, at the stream's version."""
    return [_row(event.details, version=event.originator_version)]


def documents_of_product(event: ProductRecorded | ProductChanged) -> Sequence[DocumentRow]:
    """The product and each of its SKUs. A SKU's version is that of the product that carries it."""
    product = event.details
    return [
        _row(product, version=event.originator_version),
        *(
            _row(sku, version=event.originator_version, organization_id=product.organization_id)
            for sku in product.skus
        ),
    ]


for _event_class in (
    OrganizationRegistered,
    StoreConnected,
    CreatorRegistered,
    CampaignCreated,
    RuleAdded,
    RuleRevised,
    LinkCreated,
    CouponCreated,
    PayoutAccountRegistered,
    PayoutAccountReplaced,
    SettlementRecorded,
    ApiKeyCreated,
    ApiKeyRevoked,
    *ERASURES,
    SellerAccountOpened,
    SellerAccountCredited,
    SellerAccountAdopted,
    SellerAccountBooked,
    SellerAccountCovered,
    SellerAccountAllocated,
    SellerAccountReturned,
    SellerAccountTakenBack,
    SellerAccountInvoiced,
    SellerPaymentReceived,
    SellerPaymentReturned,
    SellerInvoiceIssued,
    PeriodClosed,
    WithholdingSet,
    BookingProposed,
    BookingApproved,
    BookingRejected,
):
    projects(_event_class)(document_of)
projects(ProductRecorded)(documents_of_product)
projects(ProductChanged)(documents_of_product)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A stored document; `body` is the JSON text of its details class."""

    kind: str
    id: str
    version: int
    key: str | None
    organization_id: str | None
    body: str
    position: int

    def details(self, details_class: type[D]) -> D:
        return msgspec.json.decode(self.body, type=details_class)


_SELECT = "select kind, id, version, key, organization_id, body, position from colink.documents"


async def document_by_id(
    connection: AsyncConnection[TupleRow], details_class: type[Any], id_: str, *, version: int | None = None
) -> Document | None:
    """The newest version, or the one asked for."""
    async with connection.cursor(row_factory=class_row(Document)) as cursor:
        if version is None:
            await cursor.execute(f"{_SELECT} where kind = %s and id = %s and current", (kind_of(details_class), id_))
        else:
            await cursor.execute(
                f"{_SELECT} where kind = %s and id = %s and version = %s", (kind_of(details_class), id_, version)
            )
        return await cursor.fetchone()


async def document_by_key(
    connection: AsyncConnection[TupleRow], details_class: type[Any], key: str
) -> Document | None:
    async with connection.cursor(row_factory=class_row(Document)) as cursor:
        await cursor.execute(f"{_SELECT} where kind = %s and key = %s and current", (kind_of(details_class), key))
        return await cursor.fetchone()


async def list_documents(
    connection: AsyncConnection[TupleRow],
    details_class: type[Any],
    *,
    organization_id: str | None = None,
    after_id: str | None = None,
    limit: int = 100,
) -> list[Document]:
    """Newest versions of a kind (of one organisation, where given) by id, those after `after_id`."""
    conditions, values = ["kind = %(kind)s", "current"], {"kind": kind_of(details_class), "limit": limit}
    if organization_id is not None:
        conditions.append("organization_id = %(organization_id)s")
        values["organization_id"] = organization_id
    if after_id is not None:
        conditions.append("id > %(after_id)s")
        values["after_id"] = after_id
    async with connection.cursor(row_factory=class_row(Document)) as cursor:
        await cursor.execute(f"{_SELECT} where {' and '.join(conditions)} order by id limit %(limit)s", values)
        return await cursor.fetchall()
