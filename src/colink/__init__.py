"""CoLink: an event-sourced ledger and commerce core for sellers and creators who sell together."""
