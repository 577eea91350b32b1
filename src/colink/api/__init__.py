"""HTTP: routes to commands and queries, problem details; webhooks and redirects as bare ASGI routes."""
