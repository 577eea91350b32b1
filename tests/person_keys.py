"""Keys of personal data for tests that set up parts of the application by themselves."""

from __future__ import annotations

from dataclasses import replace

from colink.application.deliveries import inbox_id
from colink.application.ports import Delivery
from colink.application.privacy.envelope import PersonKeys

KEYS = PersonKeys.generate()


def keys() -> PersonKeys:
    return KEYS


def opened(delivery: Delivery) -> Delivery:
    """A delivery on its way into the inbox, as it came."""
    if delivery.key is None:
        return delivery
    place = inbox_id(delivery.source, delivery.delivery_id)
    return replace(delivery, body=KEYS.unwrapped(delivery.key).open_body(delivery.body, place=place), key=None)
