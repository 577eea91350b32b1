-- The tracking log is cut by time, so that old touches can be dropped or archived.

select 1;
