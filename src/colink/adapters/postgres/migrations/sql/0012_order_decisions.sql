-- What people decide about orders: holds, releases, settlements.
select 1;
