-- The event store (architecture section 4): two append-only logs and the inline rows written with their events.
-- Rows of every table here come in through the append functions of 0001_append.sql only, unless said otherwise.

create schema if not exists colink;

-- Logs ---------------------------------------------------------------------------------------------------------------

create table colink.events (
    position        bigint      primary key,
    stream_id       text        not null,
    version         integer     not null,
    topic           text        not null,
    schema_version  smallint    not null,
    payload         text        not null,
    organization_id text,
    recorded_at     timestamptz not null,
    actor           text        not null,
    correlation_id  text        not null,
    causation_id    text,
    constraint events_stream unique (stream_id, version)
);
comment on table colink.events is 'The commerce log: the only truth. Positions are gapless and in commit order.';

create table colink.log_head (
    id          smallint    primary key default 1 check (id = 1),
    position    bigint      not null,
    recorded_at timestamptz not null
) with (fillfactor = 10);
comment on table colink.log_head is 'The last position of the commerce log. Always the first lock of an append.';
insert into colink.log_head (position, recorded_at) values (0, '-infinity');

create view colink.events_json as
    select position, stream_id, version, topic, schema_version, payload::jsonb as payload, organization_id,
           recorded_at, actor, correlation_id, causation_id
      from colink.events;

create table colink.tracking_events (
    position        bigint      primary key,
    stream_id       text        not null,
    version         integer     not null,
    topic           text        not null,
    schema_version  smallint    not null,
    payload         text        not null,
    organization_id text,
    recorded_at     timestamptz not null,
    actor           text        not null,
    correlation_id  text        not null,
    causation_id    text,
    constraint tracking_events_stream unique (stream_id, version)
);
comment on table colink.tracking_events is 'The tracking log: clicks and views.';

create table colink.tracking_head (
    id          smallint    primary key default 1 check (id = 1),
    position    bigint      not null,
    recorded_at timestamptz not null
) with (fillfactor = 10);
insert into colink.tracking_head (position, recorded_at) values (0, '-infinity');

create view colink.tracking_events_json as
    select position, stream_id, version, topic, schema_version, payload::jsonb as payload, organization_id,
           recorded_at, actor, correlation_id, causation_id
      from colink.tracking_events;

create function colink.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% on %.% is refused: the log is append-only', tg_op, tg_table_schema, tg_table_name
        using errcode = 'insufficient_privilege';
end
$$;

create trigger append_only before update or delete or truncate on colink.events
    for each statement execute function colink.refuse_change();
alter table colink.events enable always trigger append_only;
create trigger append_only before update or delete or truncate on colink.tracking_events
    for each statement execute function colink.refuse_change();
alter table colink.tracking_events enable always trigger append_only;

-- Ledger -------------------------------------------------------------------------------------------------------------

create table colink.entries (
    position        bigint      not null,
    ordinal         integer     not null,
    journal_id      text        not null,
    kind            text        not null,
    account         text        not null,
    payee_id        text,
    purpose         text        not null,
    amount          bigint      not null,
    currency        text        not null,
    organization_id text,
    order_id        text,
    line_id         text,
    payout_id       text,
    effective_at    timestamptz not null,
    recorded_at     timestamptz not null,
    credited_after  bigint,
    primary key (position, ordinal)
);
comment on column colink.entries.credited_after is
    'Length of the payee''s line of cleared credits after this entry (payouts left out); null for other entries.';
create index entries_account on colink.entries (account, position, ordinal);
create index entries_order on colink.entries (order_id, position, ordinal) where order_id is not null;
create index entries_payee on colink.entries (payee_id, position, ordinal) where payee_id is not null;
create index entries_credited on colink.entries (account, currency, credited_after) where credited_after is not null;

create table colink.balances (
    account  text   not null,
    currency text   not null,
    amount   bigint not null,
    debits   bigint not null,
    credits  bigint not null,
    credited bigint not null,
    version  bigint not null,
    position bigint not null,
    primary key (account, currency)
) with (fillfactor = 50);
comment on column colink.balances.version is 'Number of entries of the account; an append may be guarded by it.';
comment on column colink.balances.debits is 'Sum of the negative entries, as a number below or equal zero.';

-- Configuration ------------------------------------------------------------------------------------------------------

create table colink.documents (
    kind            text    not null,
    id              text    not null,
    version         integer not null,
    key             text,
    organization_id text,
    part_of_terms   boolean not null,
    current         boolean not null,
    body            text    not null,
    position        bigint  not null,
    primary key (kind, id, version)
);
create unique index documents_current on colink.documents (kind, id) where current;
create unique index documents_key on colink.documents (kind, key) where current and key is not null;
create index documents_organization on colink.documents (organization_id, kind, id) where current;
create index documents_terms on colink.documents (organization_id, position) where part_of_terms;

create table colink.terms_heads (
    organization_id text   primary key,
    position        bigint not null
) with (fillfactor = 50);
comment on table colink.terms_heads is 'Position of the last event that changed an organisation''s terms.';

-- Orders and payouts -------------------------------------------------------------------------------------------------

create table colink.orders (
    order_id         text   primary key,
    organization_id  text,
    store_id         text,
    external_id      text,
    placed_at        timestamptz,
    creator_id       text,
    claims           text,
    clears_at        timestamptz,
    created_position bigint not null,
    position         bigint not null
) with (fillfactor = 70);
create index orders_due on colink.orders (clears_at) where clears_at is not null;
create index orders_organization on colink.orders (organization_id, created_position);
create index orders_creator on colink.orders (creator_id, created_position) where creator_id is not null;
create index orders_external on colink.orders (store_id, external_id);

create table colink.payouts (
    payout_id        text   primary key,
    payee_id         text   not null,
    currency         text   not null,
    amount           bigint not null,
    status           text   not null,
    stretches        text   not null,
    created_position bigint not null,
    position         bigint not null
) with (fillfactor = 70);
create index payouts_payee on colink.payouts (payee_id, currency, created_position);
create index payouts_status on colink.payouts (status, created_position);

-- Commands and deliveries --------------------------------------------------------------------------------------------

create table colink.idempotency_keys (
    scope          text        not null,
    key            text        not null,
    request_digest text        not null,
    answer         text        not null,
    position       bigint,
    recorded_at    timestamptz not null,
    primary key (scope, key)
);

create table colink.inbox (
    seq         bigint      generated always as identity unique,
    source      text        not null,
    delivery_id text        not null,
    topic       text        not null,
    headers     text        not null,
    body        bytea       not null,
    received_at timestamptz not null,
    status      text        not null,
    problem     text,
    answer      text        not null,
    order_id    text,
    position    bigint,
    recorded_at timestamptz not null,
    replayed_at timestamptz,
    primary key (source, delivery_id)
);
comment on table colink.inbox is
    'Every delivery as it came. Bytes and first reading stay; a replay of one that was not accepted moves its status.';
create index inbox_status on colink.inbox (source, status, seq);

create table colink.private_values (
    owner_id text not null,
    name     text not null,
    value    text not null,
    primary key (owner_id, name)
);
comment on table colink.private_values is 'Secrets and personal values: kept out of the log, so that they can be erased.';

-- Touches ------------------------------------------------------------------------------------------------------------

create table colink.touches (
    touch_id     text        primary key,
    kind         text        not null,
    visitor_id   text,
    link_id      text,
    campaign_id  text,
    creator_id   text        not null,
    network_hash text,
    occurred_at  timestamptz not null,
    body         text        not null,
    position     bigint      not null
);
create index touches_visitor on colink.touches (visitor_id, occurred_at desc, position desc)
    where visitor_id is not null;
create index touches_network on colink.touches (network_hash, occurred_at) where network_hash is not null;

-- Kept beside the log, written by the application directly -------------------------------------------------------------

create table colink.tracking_salts (
    day  date  primary key,
    salt bytea not null
);
comment on table colink.tracking_salts is 'Daily salts of the network hashes; destroyed after 48 hours.';

create table colink.webhook_rejections (
    source text   not null,
    reason text   not null,
    count  bigint not null,
    primary key (source, reason)
);
comment on table colink.webhook_rejections is 'How often an unsigned delivery was turned away. Nothing else is kept of it.';

-- What makes this installation itself. Random once, read only afterwards.
create table colink.installation (
    name  text primary key,
    value text not null
);
insert into colink.installation (name, value)
select name,
       encode(sha256(convert_to(gen_random_uuid()::text || gen_random_uuid() || gen_random_uuid(), 'UTF8')), 'hex')
  from unnest(array['pepper', 'cookie_key']) as name;
