"""The predicted ledger: every account's balance, from what arrived and what the clock and people did. Semantics 6, 7.

`Books` takes plain facts and bytes; what concerns no order is done by the parts of its own that it names. Each method
that moves money returns what it expects to change, zeros left out, and has added it to `balances`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from colink.simulation.model.amounts import fine, minor
from colink.simulation.model.attribution import Knowledge, credited, promised_rule
from colink.simulation.model.balances import Balances, Change, add
from colink.simulation.model.bookings import Bookings
from colink.simulation.model.counting import Counting
from colink.simulation.model.deliveries import Facts, read_dispute, read_order, read_refund
from colink.simulation.model.money import ClaimKey, cash_refunded, money_at
from colink.simulation.model.orders import FAR, Order
from colink.simulation.model.payouts import Payouts
from colink.simulation.model.privacy import Privacy
from colink.simulation.model.sellers import Sellers


class Books:
    """The whole platform. `now`: in seconds."""

    def __init__(self, now: Callable[[], int] = lambda: 0) -> None:
        self.known = Knowledge()
        self.now = now
        self.orders: dict[tuple[str, str], Order] = {}
        self.balances = Balances()
        self.sellers = Sellers(self.balances, self.orders, now, self.known.clears_by_time)
        self.counting = Counting(self.known, self.orders, self.balances, self.sellers)
        self.bookings = Bookings(self.balances, self.known, self.sellers)
        erased: set[str] = set()
        self.payouts = Payouts(self.balances, erased)
        self.privacy = Privacy(self.payouts.by_id, self.orders, erased)

    # Deliveries ---------------------------------------------------------------------------------------------------

    def deliver(self, store_id: str, topic: str, body: bytes, *, id_: str) -> Change:
        """A verified delivery, `id_` the platform's, that was taken in for the first time or again."""
        store, name = self.known.stores[store_id], f"{store_id} {id_}"
        if topic == "orders/edited":
            self.privacy.keep(name, name, body)
            return {}
        told = json.loads(body)
        self.privacy.keep((store_id, str(told.get("order_id", told["id"]))), name, body)
        if topic in {"refunds/create", "disputes/create", "disputes/update", "order_transactions/create"}:
            order = self._order(store, str(told["order_id"]))
            if topic == "refunds/create":
                order.told.take_refund(read_refund(told, store["currency"]))
            elif topic == "order_transactions/create":
                amount = minor(fine(told["amount"]), store["currency"])
                order.told.take_tender(str(told["id"]), told["status"], amount)
            else:
                order.told.disputes.append(read_dispute(told, store["currency"]))
        else:
            snapshot = read_order(body)
            order = self._order(store, snapshot["id"])
            order.told.take_snapshot(snapshot)
            order.currency = snapshot["currency"]
        self._credit(order)
        return self._settle(order)

    def take_account(self, account: Facts) -> None:
        """Where a payee is paid to from now on."""
        if version := self.payouts.take_account(account):
            name = f"account {account['currency']} {version}"
            self.privacy.keep(account["payee"], name, account["told"])

    def _order(self, store: Facts, external_id: str) -> Order:
        return self.orders.setdefault((store["id"], external_id), Order(store, external_id))

    def _credit(self, order: Order) -> None:
        """A delivery may bring another key, until something has cleared."""
        if not order.told.snapshots:
            return
        if order.extent is None:
            order.extent = self.known.extent
        if not order.by_hand and not self.has_cleared(order):
            order.credit = credited(self.known, order.store, order.told.in_order, order.extent)

    def has_cleared(self, order: Order) -> bool:
        """Whether it stays with its creator: something of it has cleared, or of what he earns by the day or month
        that it counts in."""
        return order.has_cleared or self.counting.has_cleared_together(order)

    def _settle(self, order: Order) -> Change:
        """What the order should have posted, less what it has."""
        if not order.told.snapshots:
            return {}
        moments = order.told.moments()
        if not moments or order.told.in_order[-1]["test"]:
            return {}
        if order.rules_known is None:
            order.rules_known = len(self.known.rules)
        self._owe(order, moments)
        self.counting.notice(order)
        return self._post(order)

    def _owe(self, order: Order, moments: list[int]) -> None:
        """What is owed now, and when what may clear of it is due: a rise a holding period after its time (commission
        that is counted by the day or month not before that has ended), a fall eats what would be due last."""
        hold = self.known.hold_seconds(order.store, order.credit)
        reached: dict[ClaimKey, int] = {}
        due: dict[ClaimKey, list[tuple[int, int]]] = {}
        pass_through: ClaimKey = (None, order.store["organization"])
        most = FAR
        for moment in moments:
            money = self._money(order, moment)
            if money is None:
                continue
            order.money = money
            # A release covers what was owed ever since: what goes back of it is not free for a later debt.
            owed = int(money["held"].get(pass_through, 0))
            order.owed = owed
            if order.released is not None:
                later = moment > order.released["at"]
                most = min(most, owed) if later else owed
                free = self._left_of_release(order, order.released, moment)
                money["held"][pass_through] = max(owed - (min(free, most) if later else free), 0)
            for key in reached.keys() | money["owed"].keys():
                may_clear = max(money["owed"].get(key, 0) - money["held"].get(key, 0), 0)
                rise = may_clear - reached.get(key, 0)
                reached[key] = may_clear
                steps = due.setdefault(key, [])
                if rise > 0:
                    steps.append((max(moment + hold, self.counting.not_before(order, key)), rise))
                while rise < 0:
                    at, amount = steps.pop()
                    if amount + rise > 0:
                        steps.append((at, amount + rise))
                    rise = min(rise + amount, 0)
        order.due = due

    def _left_of_release(self, order: Order, released: Facts, moment: int) -> int:
        """Less the money that has gone back since for the refunds that finance knew."""
        owed, known = int(released["owed"]), released["cash"]
        now = {each["id"]: cash_refunded([each]) for each in order.told.known_at(moment)[1]}
        back = sum(max(now.get(id_, 0) - cash, 0) for id_, cash in known.items())
        return max(owed - int(back), 0)

    def _money(self, order: Order, moment: int) -> Facts | None:
        store, credit = order.store, order.credit
        organization = self.known.organizations[store["organization"]]
        snapshots, refunds = order.told.known_at(moment)
        rules = self.known.rules[: order.rules_known]
        campaign = self.known.campaigns.get(credit["campaign"] or "")

        def rule_of(line: Facts) -> Facts | None:
            rule = promised_rule(
                rules,
                line,
                credit=credit,
                store=store,
                campaign=campaign,
                currency=order.currency,
                at=order.placed_at,
            )
            return self.counting.served(rule, order) if rule is not None else None

        terms = {
            "organization": store["organization"],
            "store": store["id"],
            "fee_bps": organization["fee_bps"],
            "keeps_fee": organization["keeps_fee"],
            "fee_rate_bps": store["fee_rate_bps"],
            "fee_fixed": store["fee_fixed"],
            "platform_collected": store["platform_collected"],
        }
        return money_at(
            snapshots,
            refunds,
            terms=terms,
            creator=credit["creator"],
            rule_of=rule_of,
            gift_cards=order.told.gift_cards,
            dispute=order.told.dispute_at(moment),
            stated_fee=order.told.stated_at("payment", moment),
            dispute_fee=order.told.stated_at("dispute", moment),
        )

    # Claims -------------------------------------------------------------------------------------------------------

    def _held(self, order: Order, key: ClaimKey) -> int:
        money = order.money
        if money is None:
            return 0
        owed = max(int(money["owed"].get(key, 0)), 0)
        if order.stops(key):
            return owed
        return min(int(money["held"].get(key, 0)), owed)

    def owed_to_buyer(self, order: Order) -> int:
        """What of the pass-through is held although nobody looks into the order."""
        key = (None, order.store["organization"])
        return (
            0
            if any(who in {None, key[1]} and line is None for who, line in order.reviews)
            else self._held(order, key)
        )

    def settle(
        self, store_id: str, currency: str, *, gross: int, fee: int, stated: Sequence[Facts], at: int
    ) -> Change:
        """The store's provider paid out what it had collected, less its fee, and showed the fees of some orders:
        `{order, kind, amount}` each."""
        changed: Change = {
            (f"store:{store_id}:clearing", currency): gross,
            ("processor:shopify:cash", currency): fee - gross,
            ("processor:shopify:fees", currency): -fee,
        }
        self.balances.book(changed)
        for each in stated:
            order = self._order(self.known.stores[store_id], each["order"])
            order.told.take_stated_fee(each["kind"], each["amount"], at)
            add(changed, self._settle(order))
        return changed

    def decide_order(
        self,
        order: Order,
        what: str,
        *,
        now: int,
        payee: str | None = None,
        line: str | None = None,
        campaign: str | None = None,
    ) -> Change:
        """Finance holds it, or what one payee or line has of it, or releases a hold, or credits it to `payee`."""
        match what:
            case "hold":
                order.reviews.add((payee, line))
            case "release":
                order.reviews.discard((payee, line))
            case "release own link":
                order.own_link_of = order.credit["creator"]
            case "release owed":
                last = order.told.moments()[-1]
                order.released = {
                    "owed": order.owed,
                    "at": max(now, last),
                    "cash": {each["id"]: cash_refunded([each]) for each in order.told.known_at(last)[1]},
                }
            case "credit":
                order.by_hand = True
                order.credit = {"creator": payee, "campaign": campaign, "own_link": False, "made": None}
        return self._settle(order)

    def _post(self, order: Order) -> Change:
        if order.money is None:
            return {}
        target: Change = {}
        order.has_pending, order.cleared_in_all = False, 0
        order.held_whole.clear()

        def add(account: str, amount: int) -> None:
            target[account, order.currency] = target.get((account, order.currency), 0) + amount

        for key, owed in order.money["owed"].items():
            payee = key[1]
            # A hold of all of it takes what has cleared, and gives it back when it ends (decision 21). One of a part
            # takes for good: when it ends, what is due clears again.
            held = self._held(order, key)
            if 0 < held < owed and key in order.cleared:
                order.cleared[key] = min(order.cleared[key], owed - held)
            if 0 < owed <= held:
                order.held_whole.add(key)
            available = min(owed - held, order.cleared.get(key, 0))
            add(f"payee:{payee}:available", available)
            add(f"payee:{payee}:pending", owed - available)
            order.has_pending = order.has_pending or owed > available
            order.cleared_in_all += max(available, 0)
        for account, amount in order.money["others"].items():
            add(account, amount)
        changed = {
            key: target.get(key, 0) - order.posted.get(key, 0)
            for key in target.keys() | order.posted.keys()
            if target.get(key, 0) != order.posted.get(key, 0)
        }
        order.posted = target
        self._bill(order, order.money["billed"])
        order.next_due = self._next_due(order)
        return self.balances.book(changed)

    def _bill(self, order: Order, billed: Mapping[tuple[str, str], int]) -> None:
        """What is posted to the receivable: of the sale first, then of refunds."""
        keys = sorted({*order.billed, *billed}, key=lambda key: key[0] != "sale")
        amounts = [billed.get(key, 0) - order.billed.get(key, 0) for key in keys]
        order.billed = dict(billed)
        place = order.store["organization"], order.currency
        self.sellers.billed((order.store["id"], order.number), place, [amount for amount in amounts if amount])

    def settle_sellers(self, now: int) -> Change:
        """The worker settles orders from what sellers paid. What a cap took off an order that is refunded is owed
        again before what was paid for it settles others."""
        changed: Change = {}

        def count(keys: Sequence[tuple[str, str]]) -> None:
            add(changed, self.counting.count_ended([self.orders[key] for key in keys], now))

        self.sellers.settle(count)
        self._look_again_when_due()
        return changed

    def bill_sellers(self) -> None:
        """The worker issues invoices."""
        self.sellers.bill(lambda organization: str(self.known.organizations[organization]["timezone"]))

    def _look_again_when_due(self) -> None:
        """Of orders that clear when they are settled."""
        for order in self.orders.values():
            if not self.known.clears_by_time(order.store):
                order.next_due = self._next_due(order)

    def pay_of_seller(self, payment: Facts) -> Change:
        change: Change = {}

        def count(keys: Sequence[tuple[str, str]]) -> None:
            add(change, self.counting.count_ended([self.orders[key] for key in keys], self.now()))

        add(change, self.sellers.pay(payment, count))
        self._look_again_when_due()
        return change

    def bounce(self, payment: Facts, *, at: int, reason: str) -> Change:
        change = self.sellers.bounce(payment, at=at, reason=reason)
        self._look_again_when_due()
        return change

    def _clears(self, order: Order, key: ClaimKey, now: int) -> int:
        """K by that time, clearings never lowering it."""
        if self._waits_for_returns(order) or (order.is_unpaid and not self.known.clears_by_time(order.store)):
            return order.cleared.get(key, 0)
        money = order.money
        owed = money["owed"].get(key, 0) if money else 0
        not_due = sum(amount for at, amount in order.due.get(key, ()) if at > now)
        held = self._held(order, key)
        return max(order.cleared.get(key, 0), owed - held - not_due)

    def _next_due(self, order: Order) -> int | None:
        times = {at for steps in order.due.values() for at, _ in steps}
        for time in sorted(times):
            if any(self._clears(order, key, time) > order.cleared.get(key, 0) for key in order.due):
                return time
        return None

    def clear(self, now: int) -> Change:
        """The worker clears everything that is due, one after the other as they are named; a period that ended is
        counted before an order of it clears, and may leave something to be taken back before others do."""
        changed: Change = {}
        due = [order for order in self.orders.values() if order.next_due is not None and order.next_due <= now]
        for order in sorted(due, key=lambda order: f"{order.store['id']}.{order.number}"):
            if self._waits_for_returns(order):
                continue
            add(changed, self.counting.count_ended([order], now))
            raised = {key: self._clears(order, key, now) for key in order.due}
            raised = {key: amount for key, amount in raised.items() if amount > order.cleared.get(key, 0)}
            order.cleared |= raised
            order.has_cleared = order.has_cleared or bool(raised)
            if raised and not self.known.clears_by_time(order.store):
                order.forgets_what_is_not_owed()
            add(changed, self._post(order))
        self._look_again_when_due()
        return changed

    def _waits_for_returns(self, order: Order) -> bool:
        by_time = self.known.clears_by_time(order.store)
        return not by_time and self.sellers.waits((order.store["organization"], order.currency))
