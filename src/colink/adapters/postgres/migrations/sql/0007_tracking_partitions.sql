-- The tracking log and its touches, cut by month of recording (UTC), so that old months can be archived (ADR 0014).
--
-- A partition key is part of every unique index, so what is unique over all months is held by the append, which is the
-- only way in and holds the head: positions count on from the head, and a stream is looked for before it is begun.
-- Months are made ahead by the worker; the append makes one that is missing, so that a late worker costs no click.

-- Earliest time at which something with this id can have been recorded: a day before its UUIDv7 was made, for clocks
-- that disagree; -infinity for any other id. It keeps look-ups by id out of older months.
create function colink.id_time(id text) returns timestamptz language sql immutable parallel safe as $$
    select case when id ~ '_[0-9a-f]{8}-[0-9a-f]{4}-7'
                then to_timestamp(('x' || replace(substring(id from '_([0-9a-f]{8}-[0-9a-f]{4})-7'), '-', ''))
                                  ::bit(48)::bigint / 1000.0 - 86400)
                else '-infinity' end
$$;

-- The same for all of them. Look-ups are bounded by one value a statement: only by that are months left out before they
-- are opened, and opening them is what many months would cost.
create function colink.earliest_id_time(ids text[]) returns timestamptz language sql immutable parallel safe as $$
    select min(colink.id_time(id)) from unnest(ids) id
$$;

-- Tables ---------------------------------------------------------------------------------------------------------------

drop view colink.tracking_events_json;
alter table colink.tracking_events rename to tracking_events_whole;
alter index colink.tracking_events_pkey rename to tracking_events_whole_pkey;
alter index colink.tracking_events_stream rename to tracking_events_whole_stream;
alter table colink.touches rename to touches_whole;
alter index colink.touches_pkey rename to touches_whole_pkey;
alter index colink.touches_visitor rename to touches_whole_visitor;
alter index colink.touches_network rename to touches_whole_network;

create table colink.tracking_events (
    position        bigint      not null,
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
    primary key (position, recorded_at),
    constraint tracking_events_stream unique (stream_id, version, recorded_at)
) partition by range (recorded_at);
comment on table colink.tracking_events is 'The tracking log: clicks and views, a partition a month.';
create trigger append_only before update or delete or truncate on colink.tracking_events
    for each statement execute function colink.refuse_change();
alter table colink.tracking_events enable always trigger append_only;

create view colink.tracking_events_json as
    select position, stream_id, version, topic, schema_version, payload::jsonb as payload, organization_id,
           recorded_at, actor, correlation_id, causation_id
      from colink.tracking_events;

create table colink.touches (
    touch_id     text        not null,
    kind         text        not null,
    visitor_id   text,
    link_id      text,
    campaign_id  text,
    creator_id   text        not null,
    network_hash text,
    occurred_at  timestamptz not null,
    body         text        not null,
    position     bigint      not null,
    recorded_at  timestamptz not null,
    primary key (touch_id, recorded_at)
) partition by range (recorded_at);
comment on column colink.touches.recorded_at is 'That of its event, so that both are in partitions of the same month.';
create index touches_visitor on colink.touches (visitor_id, occurred_at desc, position desc)
    where visitor_id is not null;
create index touches_network on colink.touches (network_hash, occurred_at) where network_hash is not null;

alter table colink.tracking_head
    add month_from timestamptz not null default 'infinity',
    add month_until timestamptz not null default '-infinity';
comment on column colink.tracking_head.month_from is 'The month that is known to have its partitions.';

create table colink.tracking_archives (
    first_position bigint      primary key,
    last_position  bigint      not null check (last_position >= first_position),
    month          date        not null,
    chain          bytea       not null check (octet_length(chain) = 32),
    file           text        not null,
    archived_at    timestamptz not null
);
comment on table colink.tracking_archives is 'Months that left the tracking log: an audit calls them archived, not missing.';
comment on column colink.tracking_archives.chain is
    'Hash chain over the events up to last_position, as colink.domain.sealing.encoding makes it.';
create trigger append_only before update or delete or truncate on colink.tracking_archives
    for each statement execute function colink.refuse_change();
alter table colink.tracking_archives enable always trigger append_only;

-- Months ---------------------------------------------------------------------------------------------------------------

-- Make the partitions of the month of `moment`, if they are not there. The caller holds the head. Made beside and then
-- attached: that waits for no reader.
create function colink.add_tracking_month(moment timestamptz) returns boolean
language plpgsql volatile set search_path = colink, pg_temp as $$
declare
    starts constant timestamptz := date_trunc('month', moment, 'UTC');
    ends constant timestamptz := (starts at time zone 'UTC' + interval '1 month') at time zone 'UTC';
    events constant text := to_char(starts at time zone 'UTC', '"tracking_events_"YYYY_MM');
    touched constant text := to_char(starts at time zone 'UTC', '"touches_"YYYY_MM');
begin
    if to_regclass(format('colink.%I', events)) is not null then
        return false;
    end if;
    execute format('create table colink.%I (like colink.tracking_events including comments)', events);
    execute format('alter table colink.tracking_events attach partition colink.%I for values from (%L) to (%L)',
                   events, starts, ends);
    -- A statement that names the partition does not pass by the triggers of the whole.
    execute format('create trigger append_only before update or delete or truncate on colink.%I'
                   ' for each statement execute function colink.refuse_change()', events);
    execute format('alter table colink.%I enable always trigger append_only', events);
    execute format('create table colink.%I (like colink.touches including comments)', touched);
    execute format('alter table colink.touches attach partition colink.%I for values from (%L) to (%L)',
                   touched, starts, ends);
    return true;
end
$$;

-- For the worker: make the month of `clock` and the next. How many were made.
create function colink.prepare_tracking_months(clock timestamptz) returns integer
language plpgsql volatile security definer set search_path = colink, pg_temp as $$
begin
    perform from tracking_head where id = 1 for update;
    return add_tracking_month(clock)::integer + add_tracking_month(clock + interval '1 month')::integer;
end
$$;

select colink.add_tracking_month(month)
  from (select date_trunc('month', now(), 'UTC') + n * interval '1 month' as month from generate_series(0, 1) n
        union
        select distinct date_trunc('month', recorded_at, 'UTC') from colink.tracking_events_whole
        order by month) months;
insert into colink.tracking_events select * from colink.tracking_events_whole order by position;
insert into colink.touches
select t.*, e.recorded_at
  from colink.touches_whole t join colink.tracking_events_whole e on e.position = t.position order by t.position;
drop table colink.tracking_events_whole, colink.touches_whole;

-- Append ---------------------------------------------------------------------------------------------------------------

drop function colink.append_tracking;

-- As in 0001_append.sql, and two things more: the month is made where it is missing, and a touch that was decided to be
-- the first of its place is refused where another process has recorded one since ('repeat'): it is decided again.
create function colink.append_tracking(
    clock timestamptz, counts integer[], events text[], streams text[], touches text[], firsts text[]
) returns table (command integer, reason text, base bigint, at timestamptz)
language plpgsql volatile security definer
set search_path = colink, pg_temp
set enable_seqscan = off
-- One plan for all months: which are looked into is found when it runs.
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    sep constant text := U&'\001F';
    nul constant text := U&'\001E';
    head bigint;
    moment timestamptz;
    starts timestamptz;
    ends timestamptz;
    streams_since timestamptz;
    firsts_since timestamptz;
begin
    select h.position, greatest(clock, h.recorded_at), h.month_from, h.month_until
      into strict head, moment, starts, ends
      from tracking_head h where h.id = 1 for update;

    perform check_columns('events', events, 10, counts[1]);
    perform check_columns('streams', streams, 3, counts[2]);
    perform check_columns('touches', touches, 10, counts[3]);
    perform check_columns('firsts', firsts, 7, counts[4]);
    streams_since := earliest_id_time((string_to_array(streams[2], sep))[1:counts[2]]);
    select min(since::timestamptz) - interval '1 day' into firsts_since
      from unnest((string_to_array(firsts[3], sep))[1:counts[4]]) since;

    return query
        select s.command::integer, 'version', null::bigint, null::timestamptz
          from unnest(string_to_array(streams[1], sep), string_to_array(streams[2], sep),
                      string_to_array(streams[3], sep))
               with ordinality as s (command, stream_id, version, n)
         where s.n <= counts[2]
           and coalesce((select true from tracking_events e
                          where e.stream_id = s.stream_id and e.recorded_at >= streams_since
                            and e.version >= s.version::integer limit 1),
                        s.version::integer > 1
                        and (select true from tracking_events e
                              where e.stream_id = s.stream_id and e.recorded_at >= streams_since
                                and e.version = s.version::integer - 1 limit 1) is null)
        union all
        select f.command::integer, 'repeat', null::bigint, null::timestamptz
          from unnest(string_to_array(firsts[1], sep), string_to_array(firsts[2], sep),
                      string_to_array(firsts[3], sep), string_to_array(firsts[4], sep),
                      string_to_array(firsts[5], sep), string_to_array(firsts[6], sep, nul),
                      string_to_array(firsts[7], sep, nul))
               with ordinality as f (command, network_hash, since, kind, creator_id, link_id, campaign_id, n)
         cross join lateral (select from touches t
                              where t.network_hash = f.network_hash and t.occurred_at >= f.since::timestamptz
                                and t.recorded_at >= firsts_since and t.kind = f.kind
                                and t.creator_id = f.creator_id and t.link_id is not distinct from f.link_id
                                and t.campaign_id is not distinct from f.campaign_id
                              order by t.occurred_at desc limit 1) found
         where f.n <= counts[4];
    if found then
        return;
    end if;

    if counts[1] > 0 then
        if moment < starts or moment >= ends then
            perform add_tracking_month(moment);
            starts := date_trunc('month', moment, 'UTC');
            ends := (starts at time zone 'UTC' + interval '1 month') at time zone 'UTC';
        end if;
        insert into tracking_events (position, stream_id, version, topic, schema_version, payload, organization_id,
                                     recorded_at, actor, correlation_id, causation_id)
        select head + e.n, e.stream_id, e.version::integer, e.topic, e.schema_version::smallint, e.payload,
               e.organization_id, moment, e.actor, e.correlation_id, e.causation_id
          from unnest(string_to_array(events[1], sep), string_to_array(events[2], sep),
                      string_to_array(events[3], sep), string_to_array(events[4], sep),
                      string_to_array(events[5], sep), string_to_array(events[6], sep),
                      string_to_array(events[7], sep, nul), string_to_array(events[8], sep),
                      string_to_array(events[9], sep), string_to_array(events[10], sep, nul))
               with ordinality as e (command, stream_id, version, topic, schema_version, payload, organization_id,
                                     actor, correlation_id, causation_id, n)
         where e.n <= counts[1];
        update tracking_head
           set position = head + counts[1], recorded_at = moment, month_from = starts, month_until = ends
         where id = 1;
    end if;

    if counts[3] > 0 then
        insert into touches (touch_id, kind, visitor_id, link_id, campaign_id, creator_id, network_hash, occurred_at,
                             body, position, recorded_at)
        select t.touch_id, t.kind, t.visitor_id, t.link_id, t.campaign_id, t.creator_id, t.network_hash,
               t.occurred_at::timestamptz, t.body, head + t.event::integer, moment
          from unnest(string_to_array(touches[1], sep), string_to_array(touches[2], sep),
                      string_to_array(touches[3], sep), string_to_array(touches[4], sep, nul),
                      string_to_array(touches[5], sep, nul), string_to_array(touches[6], sep, nul),
                      string_to_array(touches[7], sep), string_to_array(touches[8], sep, nul),
                      string_to_array(touches[9], sep), string_to_array(touches[10], sep))
               with ordinality as t (event, touch_id, kind, visitor_id, link_id, campaign_id, creator_id,
                                     network_hash, occurred_at, body, n)
         where t.n <= counts[3];
    end if;

    return query select null::integer, null::text, head, moment;
end
$$;

-- Archive --------------------------------------------------------------------------------------------------------------

-- How long touches stay at least: the longest window of any campaign (7 days where none is longer), and 30 days for
-- orders that are told of late.
create function colink.tracking_is_needed_for() returns interval
language sql stable set search_path = colink, pg_temp as $$
    select make_interval(days => 30, hours => greatest(168, max((body::jsonb ->> 'click_window_hours')::integer),
                                                       max((body::jsonb ->> 'view_window_hours')::integer)))
      from documents where kind = 'campaign' and current
$$;

-- The months that have partitions, oldest first, with the positions in them (null: none).
create function colink.tracking_months()
returns table (month date, ends timestamptz, first_position bigint, last_position bigint)
language plpgsql stable security definer set search_path = colink, pg_temp as $$
declare
    part record;
begin
    for part in
        select c.relname as name, to_date(right(c.relname, 7), 'YYYY_MM') as month
          from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = 'colink.tracking_events'::regclass order by 2
    loop
        month := part.month;
        ends := (part.month + interval '1 month') at time zone 'UTC';
        execute format('select min(position), max(position) from colink.%I', part.name)
           into first_position, last_position;
        return next;
    end loop;
end
$$;

-- What stands before the first link of the tracking log; and what stands before the next one to be archived.
create function colink.tracking_genesis() returns bytea
language sql stable set search_path = colink, pg_temp
as $$
    select sha256(convert_to('colink.chain.1' || U&'\001F' || 'colink/' || value || '/tracking', 'UTF8'))
      from installation where name = 'log_id'
$$;
create function colink.tracking_chain_start() returns bytea
language sql stable set search_path = colink, pg_temp
as $$
    select coalesce((select chain from tracking_archives order by first_position desc limit 1), tracking_genesis())
$$;

-- Take a whole month out of the log, after its events were written to `file`, whose hash chain ends with `written`.
-- Only the oldest, only when nothing needs it any more, and only if its rows give that very chain. Waits a moment for
-- readers of the whole log, then gives up (lock_not_available), so that nobody waits behind it: try again.
create function colink.archive_tracking_month(archived date, written bytea, file text) returns void
language plpgsql volatile security definer
set search_path = colink, pg_temp
set lock_timeout = '250ms'
as $$
#variable_conflict use_variable
declare
    sep constant text := U&'\001F';
    nul constant text := U&'\001E';
    suffix constant text := to_char(archived, 'YYYY_MM');
    ends constant timestamptz := (archived + interval '1 month') at time zone 'UTC';
    chain bytea := tracking_chain_start();
    leaf bytea;
    events bigint := 0;
    behind text;
    known record;
    held record;
begin
    if archived <> date_trunc('month', archived)::date
       or to_regclass(format('colink.%I', 'tracking_events_' || suffix)) is null then
        raise exception 'the tracking log has no month %', to_char(archived, 'YYYY-MM') using errcode = '22023';
    end if;
    if ends > now() - tracking_is_needed_for() then
        raise exception 'orders may still be credited to touches of %: it can be archived from % on',
            to_char(archived, 'YYYY-MM'), to_char(ends + tracking_is_needed_for(), 'YYYY-MM-DD')
            using errcode = '55000';
    end if;
    if exists (select from tracking_months() m where m.month < archived) then
        raise exception 'there are older months than %: archive them first', to_char(archived, 'YYYY-MM')
            using errcode = '55000';
    end if;
    -- Long, and without a lock: the month is over, and whether rows came in after all is looked at below.
    select m.first_position, m.last_position into strict known from tracking_months() m where m.month = archived;
    for leaf in execute format(
        'select sha256(''\x00''::bytea || convert_to(concat_ws($1, ''colink.event.1'', position, stream_id, version,'
        ' topic, schema_version, payload, coalesce(organization_id, $2),'
        ' (extract(epoch from recorded_at) * 1000000)::bigint, actor, correlation_id, coalesce(causation_id, $2)),'
        ' ''UTF8'')) from colink.%I order by position', 'tracking_events_' || suffix) using sep, nul
    loop
        chain := sha256(chain || leaf);
        events := events + 1;
    end loop;
    if chain is distinct from written then
        raise exception 'what was written of % is not what the log holds', to_char(archived, 'YYYY-MM')
            using errcode = '22023';
    end if;
    if known.first_position <> coalesce((select max(a.last_position) + 1 from tracking_archives a), 1)
       or known.last_position - known.first_position + 1 <> events then
        raise exception 'events of % are missing from the log: run `colink audit verify`', to_char(archived, 'YYYY-MM')
            using errcode = '55000';
    end if;

    perform from tracking_head where id = 1 for update;
    select m.last_position into strict held from tracking_months() m where m.month = archived;
    if held.last_position is distinct from known.last_position then
        raise exception 'events were added to % meanwhile: try again', to_char(archived, 'YYYY-MM')
            using errcode = '55000';
    end if;
    select c.projection into behind
      from projection_checkpoints c
      join projection_versions v on v.projection = c.projection and v.version = c.version and v.retired_at is null
     where c.log = 'tracking' and c.position < known.last_position limit 1;
    if found then
        raise exception 'the projection % has not read the events of % yet', behind, to_char(archived, 'YYYY-MM')
            using errcode = '55000';
    end if;

    execute format('alter table colink.tracking_events detach partition colink.%I', 'tracking_events_' || suffix);
    execute format('alter table colink.touches detach partition colink.%I', 'touches_' || suffix);
    execute format('drop table colink.%I, colink.%I', 'tracking_events_' || suffix, 'touches_' || suffix);
    if events > 0 then
        insert into tracking_archives
        values (known.first_position, known.last_position, archived, chain, file, clock_timestamp());
    end if;
end
$$;

grant select on colink.tracking_events, colink.tracking_events_json, colink.touches, colink.tracking_archives to {app};
revoke all on function colink.id_time, colink.earliest_id_time, colink.add_tracking_month, colink.prepare_tracking_months,
    colink.append_tracking, colink.tracking_is_needed_for, colink.tracking_months, colink.tracking_genesis,
    colink.tracking_chain_start, colink.archive_tracking_month from public;
grant execute on function colink.id_time, colink.earliest_id_time, colink.prepare_tracking_months, colink.append_tracking,
    colink.tracking_is_needed_for, colink.tracking_months, colink.tracking_genesis, colink.tracking_chain_start,
    colink.archive_tracking_month to {app};
