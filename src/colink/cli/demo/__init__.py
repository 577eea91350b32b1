"""`colink demo`: a story with its own shop, creators and shoppers, played over HTTP and then verified.

scenario      who they are, what is bought and what comes back: from a seed, pure
deliveries    what Shopify sends about it
expectations  what it must come to, in plain arithmetic of its own
processes     database, servers and workers as child processes
shop          operator, payees and finance, over HTTP
shoppers      browsers and webhooks, over HTTP
story         plays all of it
checks        compares the ending with the expectations
telling       how it is told at a terminal, with `explained`; `report`: as one document
command       the command
"""
