"""The whole check of semantics section 9 that this version can make: pass after pass, in one snapshot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from colink.domain.audit.report import Pass, Report, new_results
from colink.domain.errors import InvalidInput
from colink.projections.audit.context import Progress, Verification
from colink.projections.audit.document_pass import check_documents, check_terms_heads
from colink.projections.audit.inbox_pass import check_inbox
from colink.projections.audit.ledger_passes import check_ledger
from colink.projections.audit.log_passes import check_positions, check_references, check_streams
from colink.projections.audit.order_passes import check_orders, check_payouts, check_unexplained
from colink.projections.audit.tracking_pass import check_tracking
from colink.projections.engine import Connection, Decoder

Check = Callable[[Verification], Awaitable[None]]

_CHECKS: Sequence[tuple[Check, tuple[Pass, ...]]] = (
    (check_positions, (Pass.POSITIONS,)),
    (check_streams, (Pass.STREAMS,)),
    (check_ledger, (Pass.JOURNALS, Pass.ENTRIES, Pass.BALANCES)),
    (check_orders, (Pass.ATTRIBUTIONS, Pass.SPLITS, Pass.CLEARINGS, Pass.ORDER_ROWS, Pass.DERIVATION)),
    (check_payouts, (Pass.PAYOUTS, Pass.DERIVATION)),
    (check_documents, (Pass.DOCUMENTS,)),
    (check_terms_heads, (Pass.TERMS_HEADS,)),
    (check_inbox, (Pass.INBOX,)),
    (check_tracking, (Pass.TRACKING,)),
    (check_references, (Pass.REFERENCES,)),
)


def _no_progress(audit_pass: Pass, done: int, total: int) -> None:
    """Nobody is watching."""


async def verify(
    conn: Connection,
    decode: Decoder,
    *,
    from_position: int = 1,
    to_position: int | None = None,
    progress: Progress = _no_progress,
) -> Report:
    """Verify positions `from_position` to `to_position` (the head, where None) of the commerce log. `conn` is in no
    transaction; everything is read in one read-only snapshot, so writers need not stop.

    A pass that fails for a reason of its own (a lost table, say) is reported as incomplete and the others go on.
    Raises InvalidInput for a range that is none.
    """
    if from_position < 1 or (to_position is not None and to_position < from_position):
        msg = f"positions {from_position} to {to_position} are no range"
        raise InvalidInput(msg, field="from")
    async with conn.transaction():
        await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor = await conn.execute("SELECT position FROM colink.log_head")
        row = await cursor.fetchone()
        head = row[0] if row else 0
        last = head if to_position is None else min(to_position, head)
        v = Verification(
            conn=conn,
            decode=decode,
            first=from_position,
            last=last,
            head=head,
            results=new_results(),
            progress=progress,
        )
        for check, passes in _CHECKS:
            await _run(v, check, passes)
        derivable = v.results[Pass.DERIVATION].reason is None and v.results[Pass.JOURNALS].reason is None
        if derivable:
            check_unexplained(v)
    return Report(from_position=from_position, to_position=last, head=head, passes=tuple(v.results.values()))


async def _run(v: Verification, check: Check, passes: Sequence[Pass]) -> None:
    try:
        async with v.conn.transaction():
            await check(v)
    except Exception as error:  # noqa: BLE001 - whatever stops a pass makes it incomplete, which is a result
        for audit_pass in passes:
            v.results[audit_pass].could_not_run(f"{type(error).__name__}: {error}")
    for audit_pass in passes:
        v.progress(audit_pass, v.results[audit_pass].checked, v.results[audit_pass].checked)
