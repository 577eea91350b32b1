-- Blue/green rebuilds of the async projections (architecture section 5, decision 11).
--
-- The tables of a version are made by the engine, as the application, from the definition in the projection's own
-- module, in a schema where it may do that and where nothing else lives. What stood in colink.*_v1 follows from the
-- logs: the engine makes it again there.

create schema colink_read;
comment on schema colink_read is 'Tables of the async projections, one set a version. Nothing here is truth.';
grant usage, create on schema colink_read to {app};

drop table colink.attribution_orders_v1, colink.attribution_sales_v1, colink.attribution_touches_v1,
    colink.leaderboard_orders_v1, colink.leaderboard_scores_v1;
truncate colink.projection_checkpoints;

drop table colink.projections;
create table colink.projections (
    name         text    not null,
    shape        integer not null,
    live_version integer,
    primary key (name, shape)
);
comment on table colink.projections is
    'Which version of its tables readers of a projection use, by the shape they know. Null: none is complete yet.';

create table colink.projection_versions (
    projection   text        not null,
    version      integer     not null,
    shape        integer     not null,
    tables       text[]      not null,
    created_at   timestamptz not null default clock_timestamp(),
    completed_at timestamptz,
    retired_at   timestamptz,
    dropped_at   timestamptz,
    primary key (projection, version)
);
comment on table colink.projection_versions is
    'Every version there ever was: numbers are not used again. Being built, completed, retired for another, dropped.';

grant select, insert, update, delete on colink.projections, colink.projection_versions to {app};
