"""What can be done: commands and their handlers, one module per use case. Handlers load, call the domain, append."""
