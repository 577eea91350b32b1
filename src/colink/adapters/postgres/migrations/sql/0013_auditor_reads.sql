-- What auditors read is logged.
select 1;
