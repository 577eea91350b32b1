"""One module per group of addresses: bodies in, commands and queries, answers out. No rules of business here."""
