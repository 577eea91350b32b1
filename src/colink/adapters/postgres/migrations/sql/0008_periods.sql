-- Closed periods, and balances that cannot overflow.
select 1;
