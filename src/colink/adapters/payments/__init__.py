"""Payment rails: each sends payouts and reports what became of them."""
