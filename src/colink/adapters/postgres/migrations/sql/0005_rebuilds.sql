-- Blue/green rebuilds of the async projections.

select 1;
