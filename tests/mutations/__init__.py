"""Tests that were seen to fail: the invariants of the ledger, their tests, and breaks those failed for."""
