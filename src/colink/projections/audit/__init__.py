"""Reads the log and everything that is compared with it, for auditors: `verify` and `trace`."""

from colink.projections.audit.seals_pass import Outside
from colink.projections.audit.trace import Trace, trace
from colink.projections.audit.verify import verify

__all__ = ["Outside", "Trace", "trace", "verify"]
