"""Everything that HTTP reaches, wired: the API, webhooks, redirects and callbacks of one opened application."""

from __future__ import annotations

import secrets
from functools import partial

from starlette.types import ASGIApp

from colink.adapters.crawlers import KnownCrawlers
from colink.adapters.postgres.inbox import PostgresRejectionCounter
from colink.adapters.postgres.lookups import PostgresLookups
from colink.api.app import create_app
from colink.api.auth import Authenticator
from colink.api.metrics import Metrics
from colink.api.payout_callbacks import PayoutCallbacks
from colink.api.root import BareRoute, Root
from colink.api.services import Services
from colink.api.tracking import TrackingRoutes
from colink.api.webhooks import Webhooks
from colink.application.bounded import BoundedBus
from colink.application.track import RememberedLookups
from colink.bootstrap import Colink, new_secret
from colink.config import PayoutApproval
from colink.domain.customers import customer_ref_of
from colink.projections.api_keys import KnownKey, key_by_digest

_WEBHOOK_PATIENCE = 4.0  # seconds: platforms hang up after 5 (Shopify) and switch off webhooks that fail often
_CODE_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that is misread aloud
_CODE_LENGTH = 9


def build_asgi(colink: Colink) -> ASGIApp:
    """Everything that HTTP reaches."""
    metrics = Metrics()
    colink.observers.join(metrics)
    tracing = colink.tracing
    commerce = colink.commerce if tracing is None else tracing.queue(colink.commerce)
    touches = colink.tracking if tracing is None else tracing.bus(colink.tracking)
    public_url = colink.settings.public_url

    async def find_key(digest: str) -> KnownKey | None:
        async with colink.pool.connection() as connection:
            return await key_by_digest(connection, digest)

    services = Services(
        pool=colink.pool,
        commerce=commerce,
        clock=colink.clock,
        ids=colink.ids,
        orders=colink.orders,
        authenticator=Authenticator(find_key, clock=colink.clock),
        public_url=public_url,
        automatic_approval=colink.settings.payout_approval is PayoutApproval.AUTO,
        customer_ref=partial(customer_ref_of, pepper=colink.installation.pepper),
        replay=colink.replay,
        people=colink.people,
        privacy=colink.privacy,
        body=colink.inbox.delivery,
        metrics=metrics,
        tail=colink.tail,
        new_secret=new_secret,
        new_code=new_code,
    )
    tracking = TrackingRoutes(
        bus=touches,
        lookups=RememberedLookups(PostgresLookups(colink.pool, handle_digest=colink.people.handle_digest)),
        salts=colink.salts,
        crawlers=KnownCrawlers(),
        ids=colink.ids,
        clock=colink.clock,
        public_url=public_url,
        unrecorded=metrics.touch_unrecorded,
    )
    webhooks = Webhooks(
        bus=BoundedBus(commerce, seconds=_WEBHOOK_PATIENCE),
        stores=colink.stores,
        connectors=colink.connectors,
        clock=colink.clock,
        rejections=PostgresRejectionCounter(colink.pool),
        keys=colink.person_keys.keys,
        delivered=metrics.delivered,
        patience=_WEBHOOK_PATIENCE,
    )
    callbacks = PayoutCallbacks(bus=commerce, rails=colink.rails)
    bare = (
        BareRoute(template="/webhooks", serves=lambda path: path.startswith("/webhooks/"), app=webhooks, busy=True),
        BareRoute(template="/l", serves=tracking.serves, app=tracking, busy=True),
        BareRoute(template="/callbacks", serves=lambda path: path.startswith("/callbacks/"), app=callbacks),
    )
    root = Root(create_app(services), bare=bare, ids=colink.ids, metrics=metrics)
    return root if tracing is None else tracing.app(root)


def new_code() -> str:
    return "".join(secrets.choice(_CODE_ALPHABET) for _ in range(_CODE_LENGTH))
