-- Money between us and the outside.
select 1;
