"""The auditor's own test: everything that is recorded is changed once, one thing at a time, and must be found."""
