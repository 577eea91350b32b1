-- Balances at any moment, fast.
select 1;
