-- Orders whose seller collects the money himself: what is posted for them behind a position, and what of it are
-- credits. Only their receivables are in these indexes (projections/seller_billing.py).
create index entries_receivable on colink.entries (account, currency, position) where purpose = 'receivable';
create index entries_receivable_credits on colink.entries (account, currency, position)
    where purpose = 'receivable' and amount > 0;
