"""What reports need to know of an organisation: its days and the hosts of its shops, from the inline documents."""

from __future__ import annotations

from dataclasses import dataclass

from colink.domain.errors import NotFound
from colink.projections.engine import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """`timezone` is an IANA name; `hosts` are the domains of the organisation's stores, as `host_key` spells them."""

    timezone: str
    hosts: tuple[str, ...]


def host_key(host: str) -> str:
    """One spelling for hosts that attribution takes for the same shop (`attribution.leads_to_store`)."""
    return host.partition(":")[0].lower().removeprefix("www.")


async def places_of(conn: Connection, organization_id: str) -> Places:
    """Raises NotFound for an unknown organisation."""
    cursor = await conn.execute(
        "SELECT o.body::json ->> 'timezone', ARRAY(SELECT s.body::json ->> 'domain' FROM colink.documents s"
        " WHERE s.kind = 'store' AND s.organization_id = o.id AND s.current"
        " AND s.body::json ->> 'domain' IS NOT NULL)"
        " FROM colink.documents o WHERE o.kind = 'organization' AND o.id = %s AND o.current",
        (organization_id,),
    )
    row = await cursor.fetchone()
    if row is None:
        msg = f"there is no organisation {organization_id}"
        raise NotFound(msg, field="organization_id")
    return Places(timezone=row[0], hosts=tuple(sorted({host_key(host) for host in row[1]})))


async def organization_of_campaign(conn: Connection, campaign_id: str) -> str:
    """Raises NotFound for an unknown campaign."""
    cursor = await conn.execute(
        "SELECT organization_id FROM colink.documents WHERE kind = 'campaign' AND id = %s AND current", (campaign_id,)
    )
    row = await cursor.fetchone()
    if row is None:
        msg = f"there is no campaign {campaign_id}"
        raise NotFound(msg, field="campaign_id")
    return str(row[0])
