"""Signing and checking what was sealed. Nothing in here needs a database: whoever verifies a proof imports this."""
