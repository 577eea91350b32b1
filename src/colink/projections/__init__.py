"""What can be asked: one module per read model (its table, its fold, its queries) and the engine that runs them."""
