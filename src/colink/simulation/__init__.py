"""Whole businesses lived in minutes: a random world, the real service and database, and a model."""
