"""What a verification says: passes, their findings, and whether each pass could run at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

MAX_FINDINGS = 1_000  # kept of each pass; the rest is counted


class Pass(StrEnum):
    """What is verified, in the order it is done. Wherever something new is decided, one of these derives it again."""

    ORDER = "order"
    CHAIN = "chain"
    SEAL = "seal"
    JOURNALS = "journals"
    ACCOUNTS = "accounts"
    ENTRIES = "entries"
    BALANCES = "balances"
    ATTRIBUTION = "attribution"
    COMMISSION = "commission"
    SPLIT = "split"
    REFUNDS = "refunds"
    CLEARING = "clearing"
    ORDER_ROWS = "order_rows"
    DERIVATION = "derivation"
    RECEIVABLES = "receivables"
    PAYOUTS = "payouts"
    DOCUMENTS = "documents"
    TERMS_HEADS = "terms_heads"
    INBOX = "inbox"
    PERSONAL = "personal"
    TRACKING = "tracking"
    PROJECTIONS = "projections"
    IDEMPOTENCY = "idempotency"


class Kind(StrEnum):
    """What is wrong."""

    GAP = "gap"
    TIME_GOES_BACK = "time_goes_back"
    HEAD_DIFFERS = "head_differs"
    UNREADABLE = "unreadable"
    UNBALANCED = "unbalanced"
    MISSING = "missing"
    EXTRA = "extra"
    CHANGED = "changed"
    DERIVED_DIFFERENTLY = "derived_differently"
    UNKNOWN_ACCOUNT = "unknown_account"
    CLOSED_PERIOD = "closed_period"
    OVERLAP = "overlap"
    OVERDRAWN = "overdrawn"
    DANGLING = "dangling"


class Status(StrEnum):
    PASSED = "passed"
    PARTIAL = "partial"
    """Nothing was found in what there is to look at; `reason` says what there is not yet, or no longer."""
    FAILED = "failed"
    INCOMPLETE = "incomplete"
    """The pass could not run to its end: nothing is known, which is not the same as nothing found."""
    NOT_IN_RANGE = "not_in_range"
    """The pass compares today's rows with the whole log, and less was asked for."""


_GRAVITY = (Status.NOT_IN_RANGE, Status.PASSED, Status.PARTIAL, Status.FAILED, Status.INCOMPLETE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A difference, and the position of the commerce log where it starts (pass `tracking`: of the tracking log; 0: it
    is about a row that names no position). `subject` names the row, stream or account; `recorded` and `derived` are
    the two sides as text, where there are two."""

    audit_pass: Pass
    kind: Kind
    position: int
    subject: str
    message: str
    recorded: str | None = None
    derived: str | None = None


@dataclass(kw_only=True)
class PassResult:
    """One pass. `checked` counts the things that were compared; `more` the findings that were not kept; `reason`:
    what it did not look at, and why; `erased`: things that nobody can look at any more, as the log says."""

    audit_pass: Pass
    status: Status = Status.PASSED
    checked: int = 0
    findings: list[Finding] = field(default_factory=list)
    more: int = 0
    reason: str | None = None
    erased: int = 0

    def find(
        self,
        kind: Kind,
        position: int,
        subject: str,
        message: str,
        *,
        recorded: object = None,
        derived: object = None,
    ) -> None:
        self.status = max(self.status, Status.FAILED, key=_GRAVITY.index)
        if len(self.findings) >= MAX_FINDINGS:
            self.more += 1
            return
        self.findings.append(
            Finding(
                audit_pass=self.audit_pass,
                kind=kind,
                position=position,
                subject=subject,
                message=message,
                recorded=None if recorded is None else str(recorded),
                derived=None if derived is None else str(derived),
            )
        )

    def add(self, other: PassResult) -> None:
        """Join what the same pass found in a later part of the log."""
        self.checked += other.checked
        self.erased += other.erased
        kept = MAX_FINDINGS - len(self.findings)
        self.findings += other.findings[:kept]
        self.more += other.more + len(other.findings[kept:])
        self.status = max(self.status, other.status, key=_GRAVITY.index)
        self.reason = self.reason or other.reason

    def leaves_out(self, what: str) -> None:
        """Say what is not covered, which nobody can help now: reports that are behind, events not sealed yet."""
        self.status = max(self.status, Status.PARTIAL, key=_GRAVITY.index)
        self.reason = f"{self.reason}; {what}" if self.reason else what

    def could_not_run(self, reason: str) -> None:
        self.status, self.reason = Status.INCOMPLETE, reason

    def needs_whole_log(self) -> None:
        self.status, self.reason = Status.NOT_IN_RANGE, "compares rows with the whole log"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was verified: positions `from_position` to `to_position` of a log whose head was `head`."""

    from_position: int
    to_position: int
    head: int
    passes: tuple[PassResult, ...]
    unsealed: int = 0
    """How many of these events the sealer has not sealed yet, so that no chain covers them."""

    @property
    def clean(self) -> bool:
        """Nothing was found and every pass that was asked for ran to its end."""
        return all(result.status not in {Status.FAILED, Status.INCOMPLETE} for result in self.passes)

    @property
    def complete(self) -> bool:
        """Every pass looked at everything there is: only then does silence say all of it is right."""
        return all(result.status in {Status.PASSED, Status.FAILED} for result in self.passes)

    @property
    def findings(self) -> list[Finding]:
        """All findings kept, by position."""
        return sorted(
            (finding for result in self.passes for finding in result.findings), key=lambda finding: finding.position
        )

    def result(self, audit_pass: Pass) -> PassResult:
        return next(result for result in self.passes if result.audit_pass is audit_pass)


def new_results() -> dict[Pass, PassResult]:
    return {audit_pass: PassResult(audit_pass=audit_pass) for audit_pass in Pass}


def first_difference(recorded: Iterable[object], derived: Iterable[object]) -> tuple[object, object] | None:
    """The first pair that differs; the shorter side is filled with None."""
    left, right = list(recorded), list(derived)
    for index in range(max(len(left), len(right))):
        a = left[index] if index < len(left) else None
        b = right[index] if index < len(right) else None
        if a != b:
            return a, b
    return None
