"""A small second opinion on every balance, written apart: it imports nothing of CoLink.

Where the semantics leave room it reads them as the decisions do (decision 25): there it is no second opinion.
"""
