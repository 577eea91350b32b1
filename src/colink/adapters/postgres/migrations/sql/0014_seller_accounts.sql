-- What is posted to a seller's receivable beside his orders and payments (true-ups, write-offs, journals by hand) is on
-- his account. Accounts of before have still to adopt it: their rows say so, as their events do when they are read.

create index entries_charges on colink.entries (account, currency, position)
    where left(account, 7) = 'seller:' and purpose not in ('receivable', 'seller_payment');
update colink.documents set body = left(body, -1) || ',"since":null,"held":0,"returned":0}'
 where kind = 'seller_account';
