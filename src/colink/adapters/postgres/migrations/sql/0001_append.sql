-- The append functions: the only way into the logs and their inline rows (architecture section 4).
--
-- Parameters are one text[] per table, holding one delimited text per column: values joined by U+001F with one more
-- U+001F at the end, NULL written as U+001E. `counts` says how many rows each table has, and every column is checked
-- against it. Rows refer to each other by ordinals, so nothing is ever joined by value.
--
-- plpgsql, VOLATILE, READ COMMITTED: each statement sees what was committed when the head was locked.

create function colink.check_columns(name text, columns text[], width integer, rows integer) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if cardinality(columns) <> width then
        raise exception '% has % columns instead of %', name, cardinality(columns), width using errcode = '22023';
    end if;
    if exists (
        select from unnest(columns) as value
         where cardinality(string_to_array(value, U&'\001F')) <> case when rows = 0 then 0 else rows + 1 end
    ) then
        raise exception 'the columns of % do not all have % rows', name, rows using errcode = '22023';
    end if;
end
$$;

create function colink.append_commerce(
    clock timestamptz,
    counts integer[],
    events text[], streams text[], keys text[], deliveries text[], bodies bytea[], terms_guards text[],
    balance_guards text[], entries text[], balances text[], documents text[], orders text[], payouts text[],
    private text[]
) returns table (command integer, reason text, base bigint, at timestamptz)
language plpgsql volatile security definer
set search_path = colink, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    sep constant text := U&'\001F';
    nul constant text := U&'\001E';
    head bigint;
    moment timestamptz;
    doc record;
begin
    -- 1. The head is always the first lock.
    select h.position, greatest(clock, h.recorded_at) into strict head, moment
      from log_head h where h.id = 1 for update;

    perform check_columns('events', events, 10, counts[1]);
    perform check_columns('streams', streams, 3, counts[2]);
    perform check_columns('keys', keys, 6, counts[3]);
    perform check_columns('deliveries', deliveries, 12, counts[4]);
    perform check_columns('terms_guards', terms_guards, 3, counts[5]);
    perform check_columns('balance_guards', balance_guards, 4, counts[6]);
    perform check_columns('entries', entries, 15, counts[7]);
    perform check_columns('balances', balances, 8, counts[8]);
    perform check_columns('documents', documents, 9, counts[9]);
    perform check_columns('orders', orders, 10, counts[10]);
    perform check_columns('payouts', payouts, 8, counts[11]);
    perform check_columns('private', private, 3, counts[12]);
    if cardinality(bodies) <> counts[4] then
        raise exception 'there are % bodies for % deliveries', cardinality(bodies), counts[4] using errcode = '22023';
    end if;

    -- 2. and 3. What fails is reported with its reason, and then nothing is written.
    return query
        select k.command::integer, 'idempotency', null::bigint, null::timestamptz
          from unnest(string_to_array(keys[1], sep), string_to_array(keys[2], sep), string_to_array(keys[3], sep))
               with ordinality as k (command, scope, key, n)
         where k.n <= counts[3]
           and exists (select from idempotency_keys i where i.scope = k.scope and i.key = k.key)
        union all
        select d.command::integer, 'delivery', null, null
          from unnest(string_to_array(deliveries[1], sep), string_to_array(deliveries[2], sep),
                      string_to_array(deliveries[3], sep), string_to_array(deliveries[12], sep))
               with ordinality as d (command, source, delivery_id, replay, n)
         where d.n <= counts[4]
           and exists (select from inbox i where i.source = d.source and i.delivery_id = d.delivery_id
                                             and (d.replay = 'f' or i.status = 'accepted'))
        union all
        select s.command::integer, 'version', null, null
          from unnest(string_to_array(streams[1], sep), string_to_array(streams[2], sep),
                      string_to_array(streams[3], sep))
               with ordinality as s (command, stream_id, version, n)
         where s.n <= counts[2]
           and (exists (select from events e where e.stream_id = s.stream_id and e.version >= s.version::integer)
                or (s.version::integer > 1
                    and not exists (select from events e
                                     where e.stream_id = s.stream_id and e.version = s.version::integer - 1)))
        union all
        select g.command::integer, 'guard', null, null
          from unnest(string_to_array(terms_guards[1], sep), string_to_array(terms_guards[2], sep),
                      string_to_array(terms_guards[3], sep))
               with ordinality as g (command, organization_id, position, n)
         where g.n <= counts[5]
           and g.position::bigint is distinct from coalesce(
               (select t.position from terms_heads t where t.organization_id = g.organization_id), 0)
        union all
        select g.command::integer, 'guard', null, null
          from unnest(string_to_array(balance_guards[1], sep), string_to_array(balance_guards[2], sep),
                      string_to_array(balance_guards[3], sep), string_to_array(balance_guards[4], sep))
               with ordinality as g (command, account, currency, version, n)
         where g.n <= counts[6]
           and g.version::bigint is distinct from coalesce(
               (select b.version from balances b where b.account = g.account and b.currency = g.currency), 0);
    if found then
        return;
    end if;

    -- 4. Everything else cannot fail but by a unique violation or a value that fits no column.
    if counts[1] > 0 then
        insert into events (position, stream_id, version, topic, schema_version, payload, organization_id, recorded_at,
                            actor, correlation_id, causation_id)
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
        update log_head set position = head + counts[1], recorded_at = moment where id = 1;
        -- One NOTIFY a batch: it takes an instance-wide lock at commit.
        perform pg_notify('colink_commerce', (head + counts[1])::text);
    end if;

    if counts[7] > 0 then
        -- `credited` is the running sum inside this batch; the balance row still holds the sum before it.
        insert into entries (position, ordinal, journal_id, kind, account, payee_id, purpose, amount, currency,
                             organization_id, order_id, line_id, payout_id, effective_at, recorded_at, credited_after)
        select head + e.event::integer, e.ordinal::integer, e.journal_id, e.kind, e.account, e.payee_id, e.purpose,
               e.amount::bigint, e.currency, e.organization_id, e.order_id, e.line_id, e.payout_id,
               e.effective_at::timestamptz, moment,
               case when e.credited is not null then e.credited::bigint + coalesce(
                   (select b.credited from balances b where b.account = e.account and b.currency = e.currency), 0)
               end
          from unnest(string_to_array(entries[1], sep), string_to_array(entries[2], sep),
                      string_to_array(entries[3], sep), string_to_array(entries[4], sep),
                      string_to_array(entries[5], sep), string_to_array(entries[6], sep, nul),
                      string_to_array(entries[7], sep), string_to_array(entries[8], sep),
                      string_to_array(entries[9], sep), string_to_array(entries[10], sep, nul),
                      string_to_array(entries[11], sep, nul), string_to_array(entries[12], sep, nul),
                      string_to_array(entries[13], sep, nul), string_to_array(entries[14], sep),
                      string_to_array(entries[15], sep, nul))
               with ordinality as e (event, ordinal, journal_id, kind, account, payee_id, purpose, amount, currency,
                                     organization_id, order_id, line_id, payout_id, effective_at, credited, n)
         where e.n <= counts[7];
    end if;

    if counts[8] > 0 then
        -- Grouped and sorted by account already: one row an account and currency.
        insert into balances as b (account, currency, amount, debits, credits, credited, version, position)
        select c.account, c.currency, c.amount::bigint, c.debits::bigint, c.credits::bigint, c.credited::bigint,
               c.version::bigint, head + c.event::integer
          from unnest(string_to_array(balances[1], sep), string_to_array(balances[2], sep),
                      string_to_array(balances[3], sep), string_to_array(balances[4], sep),
                      string_to_array(balances[5], sep), string_to_array(balances[6], sep),
                      string_to_array(balances[7], sep), string_to_array(balances[8], sep))
               with ordinality as c (account, currency, amount, debits, credits, credited, version, event, n)
         where c.n <= counts[8]
         order by c.n
        on conflict (account, currency) do update
           set amount = b.amount + excluded.amount, debits = b.debits + excluded.debits,
               credits = b.credits + excluded.credits, credited = b.credited + excluded.credited,
               version = b.version + excluded.version, position = excluded.position;
    end if;

    if counts[9] > 0 then
        -- Configuration is rare, so a loop may tell the old versions that they are old.
        for doc in
            select d.*
              from unnest(string_to_array(documents[1], sep), string_to_array(documents[2], sep),
                          string_to_array(documents[3], sep), string_to_array(documents[4], sep),
                          string_to_array(documents[5], sep, nul), string_to_array(documents[6], sep, nul),
                          string_to_array(documents[7], sep), string_to_array(documents[8], sep),
                          string_to_array(documents[9], sep))
                   with ordinality as d (event, kind, id, version, key, organization_id, part_of_terms, current, body,
                                         n)
             where d.n <= counts[9]
             order by d.n
        loop
            if doc.current = 't' then
                update documents d set current = false where d.kind = doc.kind and d.id = doc.id and d.current;
            end if;
            insert into documents (kind, id, version, key, organization_id, part_of_terms, current, body, position)
            values (doc.kind, doc.id, doc.version::integer, doc.key, doc.organization_id, doc.part_of_terms::boolean,
                    doc.current::boolean, doc.body, head + doc.event::integer);
            if doc.part_of_terms = 't' then
                insert into terms_heads (organization_id, position)
                values (doc.organization_id, head + doc.event::integer)
                on conflict (organization_id) do update set position = excluded.position;
            end if;
        end loop;
    end if;

    if counts[10] > 0 then
        insert into orders as o (order_id, organization_id, store_id, external_id, placed_at, creator_id, claims,
                                 clears_at, created_position, position)
        select r.order_id, r.organization_id, r.store_id, r.external_id, r.placed_at::timestamptz,
               nullif(r.creator_id, ''), r.claims, r.clears_at::timestamptz, head + r.first_event::integer,
               head + r.event::integer
          from unnest(string_to_array(orders[1], sep), string_to_array(orders[2], sep),
                      string_to_array(orders[3], sep), string_to_array(orders[4], sep, nul),
                      string_to_array(orders[5], sep, nul), string_to_array(orders[6], sep, nul),
                      string_to_array(orders[7], sep, nul), string_to_array(orders[8], sep, nul),
                      string_to_array(orders[9], sep, nul), string_to_array(orders[10], sep, nul))
               with ordinality as r (first_event, event, order_id, organization_id, store_id, external_id, placed_at,
                                     creator_id, claims, clears_at, n)
         where r.n <= counts[10]
         order by r.n
        on conflict (order_id) do update
           set organization_id = coalesce(excluded.organization_id, o.organization_id),
               store_id = coalesce(excluded.store_id, o.store_id),
               external_id = coalesce(excluded.external_id, o.external_id),
               placed_at = coalesce(excluded.placed_at, o.placed_at),
               creator_id = coalesce(excluded.creator_id, o.creator_id),
               claims = coalesce(excluded.claims, o.claims),
               clears_at = case when excluded.claims is not null then excluded.clears_at else o.clears_at end,
               position = excluded.position;
        -- An empty creator clears the column; the upsert above cannot tell it from "unchanged".
        update orders o set creator_id = null
          from unnest(string_to_array(orders[3], sep), string_to_array(orders[8], sep, nul))
               with ordinality as r (order_id, creator_id, n)
         where r.creator_id = '' and r.n <= counts[10] and o.order_id = r.order_id;
    end if;

    if counts[11] > 0 then
        insert into payouts as p (payout_id, payee_id, currency, amount, status, stretches, created_position, position)
        select r.payout_id, r.payee_id, r.currency, r.amount::bigint, r.status, r.stretches,
               head + r.first_event::integer, head + r.event::integer
          from unnest(string_to_array(payouts[1], sep), string_to_array(payouts[2], sep),
                      string_to_array(payouts[3], sep), string_to_array(payouts[4], sep),
                      string_to_array(payouts[5], sep), string_to_array(payouts[6], sep),
                      string_to_array(payouts[7], sep), string_to_array(payouts[8], sep))
               with ordinality as r (first_event, event, payout_id, payee_id, currency, amount, status, stretches, n)
         where r.n <= counts[11]
         order by r.n
        on conflict (payout_id) do update
           set amount = excluded.amount, status = excluded.status, stretches = excluded.stretches,
               position = excluded.position;
    end if;

    if counts[3] > 0 then
        insert into idempotency_keys (scope, key, request_digest, answer, position, recorded_at)
        select k.scope, k.key, k.request_digest, k.answer, head + k.event::integer, moment
          from unnest(string_to_array(keys[2], sep), string_to_array(keys[3], sep), string_to_array(keys[4], sep),
                      string_to_array(keys[5], sep), string_to_array(keys[6], sep, nul))
               with ordinality as k (scope, key, request_digest, answer, event, n)
         where k.n <= counts[3];
    end if;

    if counts[4] > 0 then
        insert into inbox as i (source, delivery_id, topic, headers, received_at, status, problem, answer, order_id,
                                position, recorded_at, body)
        select d.source, d.delivery_id, d.topic, d.headers, d.received_at::timestamptz, d.status, d.problem, d.answer,
               d.order_id, head + d.event::integer, moment, bodies[d.n]
          from unnest(string_to_array(deliveries[2], sep), string_to_array(deliveries[3], sep),
                      string_to_array(deliveries[4], sep), string_to_array(deliveries[5], sep),
                      string_to_array(deliveries[6], sep), string_to_array(deliveries[7], sep),
                      string_to_array(deliveries[8], sep, nul), string_to_array(deliveries[9], sep),
                      string_to_array(deliveries[10], sep, nul), string_to_array(deliveries[11], sep, nul))
               with ordinality as d (source, delivery_id, topic, headers, received_at, status, problem, answer,
                                     order_id, event, n)
         where d.n <= counts[4]
         order by d.n
        -- Only a replay gets here (step 2): bytes, headers and times of the first reading stay.
        on conflict (source, delivery_id) do update
           set status = excluded.status, problem = excluded.problem, answer = excluded.answer,
               order_id = excluded.order_id, position = excluded.position, replayed_at = excluded.recorded_at;
    end if;

    if counts[12] > 0 then
        insert into private_values (owner_id, name, value)
        select v.owner_id, v.name, v.value
          from unnest(string_to_array(private[1], sep), string_to_array(private[2], sep),
                      string_to_array(private[3], sep))
               with ordinality as v (owner_id, name, value, n)
         where v.n <= counts[12]
        on conflict (owner_id, name) do update set value = excluded.value;
    end if;

    return query select null::integer, null::text, head, moment;
end
$$;

create function colink.append_tracking(
    clock timestamptz, counts integer[], events text[], streams text[], touches text[]
) returns table (command integer, reason text, base bigint, at timestamptz)
language plpgsql volatile security definer
set search_path = colink, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    sep constant text := U&'\001F';
    nul constant text := U&'\001E';
    head bigint;
    moment timestamptz;
begin
    select h.position, greatest(clock, h.recorded_at) into strict head, moment
      from tracking_head h where h.id = 1 for update;

    perform check_columns('events', events, 10, counts[1]);
    perform check_columns('streams', streams, 3, counts[2]);
    perform check_columns('touches', touches, 10, counts[3]);

    return query
        select s.command::integer, 'version', null::bigint, null::timestamptz
          from unnest(string_to_array(streams[1], sep), string_to_array(streams[2], sep),
                      string_to_array(streams[3], sep))
               with ordinality as s (command, stream_id, version, n)
         where s.n <= counts[2]
           and (exists (select from tracking_events e
                         where e.stream_id = s.stream_id and e.version >= s.version::integer)
                or (s.version::integer > 1
                    and not exists (select from tracking_events e
                                     where e.stream_id = s.stream_id and e.version = s.version::integer - 1)));
    if found then
        return;
    end if;

    if counts[1] > 0 then
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
        update tracking_head set position = head + counts[1], recorded_at = moment where id = 1;
    end if;

    if counts[3] > 0 then
        insert into touches (touch_id, kind, visitor_id, link_id, campaign_id, creator_id, network_hash, occurred_at,
                             body, position)
        select t.touch_id, t.kind, t.visitor_id, t.link_id, t.campaign_id, t.creator_id, t.network_hash,
               t.occurred_at::timestamptz, t.body, head + t.event::integer
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
