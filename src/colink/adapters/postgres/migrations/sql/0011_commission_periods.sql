-- Tiers and caps that are settled by the month or day.
select 1;
