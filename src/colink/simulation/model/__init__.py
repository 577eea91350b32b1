"""A small second opinion on every balance, written from the semantics alone: it imports nothing of CoLink."""
