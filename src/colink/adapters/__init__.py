"""How the outside is reached: PostgreSQL, store platforms, payment rails."""
