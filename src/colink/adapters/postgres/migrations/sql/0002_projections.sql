-- Async projections (architecture section 5). Their tables carry a version in their names: a rebuild fills the next
-- ones beside those in use and then moves `live_version`. Nothing here is truth; all of it follows from the logs.

create table colink.projections (
    name         text    primary key,
    live_version integer not null
);
comment on table colink.projections is 'Which version of its tables readers of a projection use.';
insert into colink.projections (name, live_version) values ('attribution_report', 1), ('leaderboard', 1);

create table colink.projection_checkpoints (
    projection     text        not null,
    version        integer     not null,
    log            text        not null check (log in ('commerce', 'tracking')),
    position       bigint      not null,
    error          text,
    error_position bigint,
    updated_at     timestamptz not null default clock_timestamp(),
    primary key (projection, version, log)
) with (fillfactor = 50);
comment on column colink.projection_checkpoints.error_position is
    'The event this projection stopped at; it goes on after the two error columns were emptied.';

-- Attribution report: an empty text stands for "none" where the column is part of a key.

create table colink.attribution_orders_v1 (
    order_id        text   primary key,
    organization_id text   not null,
    creator_id      text,
    campaign_id     text,
    link_id         text,
    placed_at       timestamptz,
    currency        text,
    revenue         bigint not null,
    commission      bigint not null
) with (fillfactor = 80);
comment on table colink.attribution_orders_v1 is 'What each order adds to attribution_sales_v1.';

create table colink.attribution_sales_v1 (
    organization_id text        not null,
    quarter         timestamptz not null,
    creator_id      text        not null,
    campaign_id     text        not null,
    link_id         text        not null,
    currency        text        not null,
    orders          bigint      not null,
    revenue         bigint      not null,
    commission      bigint      not null,
    primary key (organization_id, quarter, creator_id, campaign_id, link_id, currency)
) with (fillfactor = 80);
comment on column colink.attribution_sales_v1.quarter is 'Start of the quarter of an hour the orders were placed in.';

create table colink.attribution_touches_v1 (
    organization_id  text        not null,
    destination_host text        not null,
    quarter          timestamptz not null,
    creator_id       text        not null,
    campaign_id      text        not null,
    link_id          text        not null,
    clicks           bigint      not null,
    views            bigint      not null,
    primary key (organization_id, destination_host, quarter, creator_id, campaign_id, link_id)
) with (fillfactor = 80);

-- Leaderboard

create table colink.leaderboard_orders_v1 (like colink.attribution_orders_v1 including all);
comment on table colink.leaderboard_orders_v1 is 'What each order adds to leaderboard_scores_v1.';

create table colink.leaderboard_scores_v1 (
    board               text        not null,
    metric              text        not null,
    currency            text        not null,
    quarter             timestamptz not null,
    creator_id          text        not null,
    value               bigint      not null,
    reached_at_position bigint      not null,
    primary key (board, metric, currency, quarter, creator_id)
) with (fillfactor = 80);
comment on column colink.leaderboard_scores_v1.quarter is
    'Start of the quarter of an hour; -infinity holds the sum over all time.';

-- What an auditor follows: from a payout to its entries, from an order to the deliveries about it.

create index entries_of_payout on colink.entries (payout_id, position) where payout_id is not null;
create index inbox_of_order on colink.inbox (order_id, seq) where order_id is not null;

-- Projections are run by the application's role: it may write these tables, and nothing is gained by forging them.

grant select, insert, update, delete on colink.projections, colink.projection_checkpoints,
    colink.attribution_orders_v1, colink.attribution_sales_v1, colink.attribution_touches_v1,
    colink.leaderboard_orders_v1, colink.leaderboard_scores_v1 to {app};
