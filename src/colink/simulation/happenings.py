"""What happens in a simulated business and when: shoppers, orders, deliveries late, doubled, lost and polled.

Everything is drawn from one Random. `advance` moves the virtual clock and gives what reaches the service by then; it
knows nothing of the service.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from colink.simulation.business import Business
from colink.simulation.rules import START
from colink.simulation.sales import Sale, Told

Facts = dict[str, Any]

_HOUR, _DAY = 3_600, 86_400


@dataclass
class VirtualClock:
    """A Clock that only the simulator moves."""

    time: datetime = START

    def now(self) -> datetime:
        return self.time


class SeededIds:
    """An IdFactory: the same ids in every run."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}_{self._count:08}"


@dataclass
class Arrivals:
    """What reaches the service in one go: touches first, then deliveries, in this order."""

    touches: list[Facts] = field(default_factory=list)
    deliveries: list[Told] = field(default_factory=list)


class Happenings:
    def __init__(self, random: Random, business: Business, clock: VirtualClock) -> None:
        self.random = random
        self.business = business
        self.clock = clock
        self._events: list[tuple[int, int, Callable[[int], None]]] = []
        self._mail: list[tuple[int, int, Told]] = []
        self._sequence = 0
        self._sales: dict[int, Sale] = {}
        self._touches: list[Facts] = []

    def advance(self, *, shoppers: int) -> Arrivals:
        """Some time passes, in which so many shoppers come by."""
        pause = self.random.choice([60, _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, _DAY, 2 * _DAY])
        now = _seconds(self.clock.time)
        for _ in range(shoppers):
            self._later(now + self.random.randint(0, pause), self._shopper)
        return self.until(now + pause)

    def until(self, end: int) -> Arrivals:
        while self._events and self._events[0][0] <= end:
            at, _, happen = heapq.heappop(self._events)
            happen(at)
        self.clock.time = datetime.fromtimestamp(end, UTC)
        arrivals = Arrivals(touches=self._touches)
        self._touches = []
        while self._mail and self._mail[0][0] <= end:
            arrivals.deliveries.append(heapq.heappop(self._mail)[2])
        return arrivals

    def go_on(self, days: int) -> Arrivals:
        """Time passes without new shoppers."""
        return self.until(_seconds(self.clock.time) + days * _DAY)

    def rest(self) -> Arrivals:
        """All that is still on its way arrives."""
        arrivals = self.go_on(0)
        while self._mail:
            arrivals.deliveries.append(heapq.heappop(self._mail)[2])
        return arrivals

    def something_late(self, numbers: Iterable[int]) -> Arrivals:
        """Orders are paid when nobody expects it, give money back or bring another key; that is told at once."""
        now = _seconds(self.clock.time)
        return Arrivals(deliveries=[told for number in numbers for told in self._sales[number].happen_late(now)])

    def _later(self, at: int, happen: Callable[[int], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (at, self._sequence, happen))

    def _shopper(self, at: int) -> None:
        """Touches, and usually an order some time after the last of them, at the edge of a window now and then."""
        random = self.random
        visitor = f"vis_{self._sequence}" if random.random() < 0.7 else None
        clicks, touch = [], None
        for _ in range(random.choice([0, 1, 1, 1, 2, 3])):
            touch = self._touch(at, visitor)
            if touch["kind"] == "click":
                clicks.append(touch["id"])
            at += random.choice([0, 1, 60, _HOUR, _DAY])
        store = self._shop(touch)
        keys = {
            "click": random.choice(clicks) if clicks and random.random() < 0.8 else None,
            "visitor": visitor if random.random() < 0.6 else None,
            "code": self._code(store),
            "later_code": self.random.choice(self._codes_of(store)),
            "email": self._email(),
            "shown": random.random() < 0.9,
        }
        wait = random.choice([0, 5, _HOUR, _HOUR + 1, _DAY, _DAY + 1, 3 * _DAY, 7 * _DAY, 7 * _DAY + 1])
        self._later(at + wait, lambda placed: self._order(store, keys, placed))

    def _touch(self, at: int, visitor: str | None) -> Facts:
        random, business = self.random, self.business
        view = random.random() < 0.3
        if view:
            campaign, creator = random.choice(business.campaigns), random.choice(business.creators)
            made = {"creator": creator["id"], "campaign": campaign["id"], "host": None, "link": None, "made": None}
        else:
            link = random.choice(business.links)
            made = {key: link[key] for key in ("creator", "campaign", "host", "made")} | {"link": link["id"]}
        self._sequence += 1
        touch = made | {
            "id": f"{'vew' if view else 'clk'}_{self._sequence:08}",
            "kind": "view" if view else "click",
            "at": at,
            "visitor": visitor,
            "set_aside": random.random() < 0.05,
        }
        self._later(at, lambda _: self._touches.append(touch))
        return touch

    def _shop(self, touch: Facts | None) -> Facts:
        """Where somebody buys: mostly where they were led to."""
        campaign = next((each for each in self.business.campaigns if touch and each["id"] == touch["campaign"]), None)
        led_to = [
            store
            for store in self.business.stores
            if (campaign and store["organization"] == campaign["organization"])
            or (touch and store["domain"] == touch["host"])
        ]
        fact: Facts = self.random.choice(led_to if led_to and self.random.random() < 0.8 else self.business.stores)
        return fact

    def _code(self, store: Facts) -> str | None:
        own, draw = self._codes_of(store), self.random.random()
        if own[0] and draw < 0.35:
            code = str(self.random.choice(own))
            return self.random.choice([code, code.upper(), code.lower()])
        return "NOBODYS" if draw > 0.95 else None

    def _codes_of(self, store: Facts) -> list[str | None]:
        """Of its coupons; None where it has none."""
        return [each["code"] for each in self.business.coupons if each["store"] == store["id"]] or [None]

    def _email(self) -> str | None:
        draw = self.random.random()
        known = [creator["email"] for creator in self.business.creators if creator["email"]]
        if known and draw < 0.06:
            return str(self.random.choice(known)).upper()
        return None if draw > 0.9 else f"buyer{self.random.randint(1, 120)}@example.com"

    def _order(self, store: Facts, keys: Facts, at: int) -> None:
        number = 100_001 + len(self._sales)
        sale = self._sales[number] = Sale(self.random, store, number, at, keys)
        self._send(sale, sale.place(), at)
        for _ in range(self.random.choice([0, 0, 1, 1, 2, 3, 6])):
            wait = self.random.choice([0, 60, _HOUR, _DAY, 5 * _DAY, 20 * _DAY])
            at += wait
            self._later(at, lambda time: self._send(sale, sale.happen(time), time))

    def _send(self, sale: Sale, told: list[Told], at: int) -> None:
        """At least once, late and unordered; what was lost is found by asking the shop."""
        for each in told:
            draw = self.random.random()
            if draw < 0.05:
                self._later(at + self.random.randint(_HOUR, 3 * _DAY), lambda time: self._poll(sale, time))
                continue
            self._post(each, at + self._delay())
            while self.random.random() < 0.08:
                self._post(each, at + self._delay())

    def _poll(self, sale: Sale, at: int) -> None:
        self._post(sale.poll(at), at)

    def _delay(self) -> int:
        return self.random.choice([0, 1, 5, 5, 5, 30, 600, _HOUR, _DAY, 4 * _DAY])

    def _post(self, told: Told, at: int) -> None:
        self._sequence += 1
        heapq.heappush(self._mail, (at, self.random.randrange(1 << 30) << 30 | self._sequence, told))


def _seconds(time: datetime) -> int:
    return int((time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1))
