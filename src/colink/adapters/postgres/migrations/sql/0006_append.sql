-- The append of the commerce log, faster.

select 1;
