"""Whole businesses lived in minutes: a random world, the real service on a real database, and a model that predicts."""
