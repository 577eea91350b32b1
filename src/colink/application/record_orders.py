"""Record many orders of one store at once, as an operator or the store's seller tells them: each order for itself,
the request as a whole once.

An order is idempotent by its content: told again it changes nothing. A request with an idempotency key reserves the
key before the first order and keeps its answer under it after the last. Killed in between, it goes on when it is sent
again; the same key with another request is refused before any order of it is recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from colink.application.ports import (
    Caller,
    CommandQueue,
    Decision,
    Facts,
    Idempotency,
    JsonObject,
    Needs,
    Recorded,
    Request,
)
from colink.application.problems import problem_document
from colink.application.record_order import RecordOrder
from colink.domain.errors import ColinkError, ConcurrentUpdate, Forbidden, InvalidInput, Unavailable
from colink.domain.organizations import OrganizationDetails, Settlement, StoreDetails
from colink.domain.snapshots import OrderSnapshot

SLICE = 125  # orders of a request that wait at once, twice: webhooks that come meanwhile wait behind no more
LANES = 2

FirstAnswer = Callable[[Idempotency], Awaitable[JsonObject | None]]
"""What was answered under a key; None where nothing was. Raises IdempotencyConflict for another request's key."""


@dataclass(frozen=True, kw_only=True)
class KeepAnswer(Request):
    """Keeps an answer under the request's idempotency key, and nothing else."""

    answer: JsonObject

    def needs(self) -> Needs:
        return Needs()

    def decide(self, facts: Facts) -> Decision:  # noqa: ARG002 - an answer does not depend on what is known
        return Decision(answer=self.answer)


def check_may_tell_of_orders(store: StoreDetails, organization: OrganizationDetails) -> None:
    """For a caller bound to an organisation, the rule of connecting a store: who can tell of sales that never were
    tells only of those that we pay nothing out for from our own money. Raises Forbidden."""
    if store.settlement is not Settlement.SELLER_COLLECTED:
        msg = f"a key bound to an organization tells of no orders of a {store.settlement} store: ask the operator"
        raise Forbidden(msg, field="store_id")
    if organization.advance:
        msg = (
            "creators of this organization are paid in advance, so a key bound to it tells of no orders: ask the "
            "operator"
        )
        raise Forbidden(msg, field="store_id")


async def record_orders(
    snapshots: Sequence[OrderSnapshot | InvalidInput],
    *,
    store: StoreDetails,
    caller: Caller,
    idempotency: Idempotency | None,
    bus: CommandQueue,
    first_answer: FirstAnswer,
) -> Recorded:
    """Record the snapshots; one that could not be read is given as what was wrong with it.

    The answer is `{"results": [...], "accepted", "duplicate", "rejected"}`: a result per order, in their order, and
    how many of each there are. A result is `{"index", "status", "external_id", "order_id"}` or `{"index", "status":
    "rejected", "problem"}`; `duplicate`: the order knew all of it. Raises IdempotencyConflict, and Unavailable where
    some orders could not be recorded now; the same request again records those.
    """
    if idempotency is not None:
        await bus.submit(KeepAnswer(caller=caller, idempotency=idempotency, answer={}))
        kept = await first_answer(_of_answer(idempotency))
        if kept is not None:
            return Recorded(answer=kept, replayed=True)
    outcomes = await _record_all(snapshots, store=store, caller=caller, bus=bus)
    results = [_result(index, outcome, snapshots[index]) for index, outcome in enumerate(outcomes)]
    counts = {
        status: sum(result["status"] == status for result in results)
        for status in ("accepted", "duplicate", "rejected")
    }
    answer: dict[str, Any] = {"results": results, **counts}
    if idempotency is None:
        return Recorded(answer=answer)
    return await bus.submit(KeepAnswer(caller=caller, idempotency=_of_answer(idempotency), answer=answer))


def _of_answer(idempotency: Idempotency) -> Idempotency:
    """Where the answer is kept. No key that is sent holds a space."""
    return replace(idempotency, key=f"{idempotency.key} answer")


async def _record_all(
    snapshots: Sequence[OrderSnapshot | InvalidInput], *, store: StoreDetails, caller: Caller, bus: CommandQueue
) -> list[Recorded | Exception]:
    """What became of each, in order. Raises Unavailable, once nothing is under way, where any must come again."""
    outcomes: list[Recorded | Exception] = [
        snapshot if isinstance(snapshot, InvalidInput) else Unavailable("not tried") for snapshot in snapshots
    ]
    commands = [
        (index, RecordOrder(caller=caller, store=store, news=snapshot))
        for index, snapshot in enumerate(snapshots)
        if not isinstance(snapshot, InvalidInput)
    ]
    slices = iter([commands[start : start + SLICE] for start in range(0, len(commands), SLICE)])

    async def lane(slices: Iterator[list[tuple[int, RecordOrder]]]) -> None:
        for part in slices:
            recorded = await bus.submit_many([command for _, command in part])
            for (index, _), outcome in zip(part, recorded, strict=True):
                outcomes[index] = outcome

    ended = await asyncio.gather(*(lane(slices) for _ in range(LANES)), return_exceptions=True)
    for error in (*(end for end in ended if end is not None), *outcomes):
        if isinstance(error, (Unavailable, ConcurrentUpdate)):
            done = sum(isinstance(outcome, Recorded) for outcome in outcomes)
            msg = f"{done} of {len(outcomes)} orders were recorded; send the same request again: {error.detail}"
            raise Unavailable(msg) from error
        if isinstance(error, BaseException) and not isinstance(error, ColinkError):
            raise error
    return outcomes


def _result(index: int, outcome: Recorded | Exception, told: OrderSnapshot | InvalidInput) -> dict[str, Any]:
    if isinstance(outcome, ColinkError):
        problem = problem_document(outcome)
        problem["field"] = f"orders[{index}]" + (f".{outcome.field}" if outcome.field else "")
        result: dict[str, Any] = {"index": index, "status": "rejected", "problem": problem}
        return result if isinstance(told, InvalidInput) else result | {"external_id": told.external_id}
    assert isinstance(outcome, Recorded) and isinstance(told, OrderSnapshot)  # noqa: S101, PT018 - others were raised
    return {
        "index": index,
        "status": "accepted" if outcome.position is not None else "duplicate",
        "external_id": told.external_id,
        "order_id": outcome.answer["order_id"],
    }
