"""Register organisations and connect their stores. A store's credentials never enter the log."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from colink.application.configure.checks import Setup, check_host, check_money, check_range, check_text
from colink.application.ports import Decision, Facts, Needs, PrivateValue
from colink.application.representations import shown
from colink.domain.errors import Forbidden, InvalidInput
from colink.domain.money import MAX_AMOUNT, Money
from colink.domain.organizations import (
    FeeSchedule,
    Organization,
    OrganizationDetails,
    Platform,
    Settlement,
    Store,
    StoreDetails,
)

MOST_SECRETS = 20
_CREDENTIAL_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, kw_only=True)
class RegisterOrganization(Setup):
    """Answers with the organisation."""

    id: str
    name: str
    platform_fee_bps: int
    hold_days: int = 14
    timezone: str = "UTC"
    refund_platform_fee: bool = True
    advance: bool = False

    def needs(self) -> Needs:
        return Needs(streams=(self.id,))

    def decide(self, facts: Facts) -> Decision:
        if self.within is not None:
            msg = "a key bound to an organization cannot register another"
            raise Forbidden(msg)
        details = OrganizationDetails(
            id=self.id,
            name=check_text(self.name, field="name"),
            platform_fee_bps=check_range(self.platform_fee_bps, field="platform_fee_bps", least=0, most=10_000),
            hold_days=check_range(self.hold_days, field="hold_days", least=0, most=365),
            timezone=check_timezone(self.timezone),
            refund_platform_fee=self.refund_platform_fee,
            advance=self.advance,
        )
        organization = Organization.register(details, at=facts.now)
        return Decision(answer=shown(details), events=organization.new_events(), organization_id=self.id)


@dataclass(frozen=True, kw_only=True)
class ConnectStore(Setup):
    """Answers with the store, without its credentials: those are kept as private values of the store, one a name,
    each as JSON. Shopify's are `webhook_secrets`, a list of texts (a list, because a rotated secret signs on).

    Who knows the secret can tell of sales that never were. So a caller bound to an organisation connects only stores
    whose money the seller collects itself; Forbidden for another."""

    id: str
    organization_id: str
    platform: Platform
    name: str
    settlement: Settlement
    credentials: Mapping[str, Any]
    domain: str | None = None
    payment_fee: FeeSchedule | None = None

    def needs(self) -> Needs:
        return Needs(streams=(self.id,), documents=((OrganizationDetails, self.organization_id),))

    def decide(self, facts: Facts) -> Decision:
        organization = self.organization(facts, self.organization_id)
        if self.within is not None:
            self._check_tells_of_no_money_of_ours(organization)
        details = StoreDetails(
            id=self.id,
            organization_id=self.organization_id,
            platform=self.platform,
            name=check_text(self.name, field="name"),
            settlement=self.settlement,
            domain=check_host(self.domain, field="domain") if self.domain is not None else None,
            payment_fee=check_fee(self.payment_fee),
        )
        store = Store.connect(details, at=facts.now)
        return Decision(
            answer=shown(details),
            events=store.new_events(),
            organization_id=self.organization_id,
            private=[
                PrivateValue(owner_id=self.id, name=name, value=json.dumps(value, ensure_ascii=False))
                for name, value in check_credentials(self.platform, self.credentials).items()
            ],
        )

    def _check_tells_of_no_money_of_ours(self, organization: OrganizationDetails) -> None:
        """Who knows a store's secret can tell of sales that never were: so a seller connects no store whose sales we
        would pay out from our own money."""
        if self.settlement is not Settlement.SELLER_COLLECTED:
            msg = (
                f"a key bound to an organization connects no {self.settlement} store: ask the operator to connect it"
            )
            raise Forbidden(msg, field="settlement")
        if organization.advance:
            msg = (
                "creators of this organization are paid in advance, so a key bound to it connects no store: ask the "
                "operator to connect it"
            )
            raise Forbidden(msg, field="organization_id")


def check_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not found; a name that leaves the folder; a name that is a folder
        known = False
    else:
        known = True
    if not known:
        msg = f"timezone {name!r} is not in the IANA database; give one such as Asia/Kuala_Lumpur"
        raise InvalidInput(msg, field="timezone")
    return name


def check_fee(fee: FeeSchedule | None) -> FeeSchedule | None:
    if fee is None:
        return None
    check_range(fee.rate_bps, field="payment_fee.rate_bps", least=0, most=10_000)
    if isinstance(fee.fixed, Money):
        check_money(fee.fixed, field="payment_fee.fixed")
    elif fee.fixed is not None:
        check_range(fee.fixed, field="payment_fee.fixed", least=0, most=MAX_AMOUNT)
    return fee


def check_credentials(platform: Platform, credentials: Mapping[str, Any]) -> Mapping[str, Any]:
    """Raises InvalidInput that never repeats what was given."""
    for name, value in credentials.items():
        if not _CREDENTIAL_NAME.fullmatch(name):
            msg = "names of credentials are lower-case words such as webhook_secrets"
            raise InvalidInput(msg, field="credentials")
        if "\\u0000" in json.dumps(value):
            msg = f"credentials.{name} must not hold NUL characters"
            raise InvalidInput(msg, field=f"credentials.{name}")
    if platform is Platform.SHOPIFY:
        check_secrets(credentials.get("webhook_secrets"), field="credentials.webhook_secrets")
    return credentials


def check_secrets(secrets: object, *, field: str) -> None:
    if not isinstance(secrets, list | tuple) or not 1 <= len(secrets) <= MOST_SECRETS:
        msg = f"{field} must be a list of 1 to {MOST_SECRETS} secrets"
        raise InvalidInput(msg, field=field)
    for secret in secrets:
        if not isinstance(secret, str) or not 1 <= len(secret.strip()) <= 500:
            msg = f"each of {field} must be a text of 1 to 500 characters"
            raise InvalidInput(msg, field=field)
