"""What is true: aggregates, events, value objects and policies. Pure; no I/O, no clock, no randomness."""
