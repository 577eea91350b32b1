"""Verification: what an auditor derives again from the log, and what counts as a difference.

Pure; `projections.audit` reads the log and the rows it is compared with. Semantics section 9.
"""
