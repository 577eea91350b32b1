-- Closed periods, and balances that cannot overflow.
--
-- open_from: journals take effect no earlier; null while no period was ever closed. It moves with the closing that is
-- appended, under the lock that every append takes first.
alter table colink.log_head add column open_from timestamptz;
comment on column colink.log_head.open_from is 'Journals take effect no earlier: the periods before are closed.';

-- Amounts of single entries fit bigint; their sums need not, and one that does not would stop every order that posts to
-- the account. Sums are whole numbers all the same.
alter table colink.balances
    alter column amount type numeric(38), alter column debits type numeric(38), alter column credits type numeric(38),
    alter column credited type numeric(38);
alter table colink.entries alter column credited_after type numeric(38);
alter table colink.entries add column occurred_at timestamptz;
comment on column colink.entries.occurred_at is
    'Its own time, where a closed period moved effective_at; null for all others.';

alter table colink.payouts add column tax bigint not null default 0;
comment on column colink.payouts.tax is 'Tax withheld of the amount, in minor units; the payee gets the rest.';

-- The append with what is new in it: every journal sums to zero per currency and takes effect in an open period.
create or replace function colink.append_commerce(
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
    open_from timestamptz;
    doc record;
    wrong record;
begin
    -- 1. The head is always the first lock.
    select h.position, greatest(clock, h.recorded_at), h.open_from into strict head, moment, open_from
      from log_head h where h.id = 1 for update;

    if array[cardinality(events), cardinality(streams), cardinality(keys), cardinality(deliveries),
             cardinality(terms_guards), cardinality(balance_guards), cardinality(entries), cardinality(balances),
             cardinality(documents), cardinality(orders), cardinality(payouts), cardinality(private),
             cardinality(counts), cardinality(bodies)]
       <> array[10, 3, 6, 12, 3, 4, 16, 8, 9, 10, 9, 3, 12, counts[4]] then
        raise exception 'the tables of an append do not have their columns' using errcode = '22023';
    end if;
    -- The columns of a table with rows are checked where they are read (columns_end). A table without is not read.
    if (counts[1] = 0 and array_to_string(events, '') <> '') or (counts[2] = 0 and array_to_string(streams, '') <> '')
       or (counts[3] = 0 and array_to_string(keys, '') <> '')
       or (counts[4] = 0 and array_to_string(deliveries, '') <> '')
       or (counts[5] = 0 and array_to_string(terms_guards, '') <> '')
       or (counts[6] = 0 and array_to_string(balance_guards, '') <> '')
       or (counts[7] = 0 and array_to_string(entries, '') <> '')
       or (counts[8] = 0 and array_to_string(balances, '') <> '')
       or (counts[9] = 0 and array_to_string(documents, '') <> '')
       or (counts[10] = 0 and array_to_string(orders, '') <> '')
       or (counts[11] = 0 and array_to_string(payouts, '') <> '')
       or (counts[12] = 0 and array_to_string(private, '') <> '') then
        raise exception 'a table of an append has columns and no rows' using errcode = '22023';
    end if;

    -- 2. and 3. What fails is reported with its reason, and then nothing is written. Rows are looked up by a select of
    -- one value each, never by `exists`: a plan made for an empty table may hash all of the table for that, every time.
    return query
        select k.command::integer, 'idempotency', null::bigint, null::timestamptz
          from unnest(string_to_array(keys[1], sep), string_to_array(keys[2], sep), string_to_array(keys[3], sep))
               with ordinality as k (command, scope, key, n)
         where k.n <= counts[3]
           and (select true from idempotency_keys i where i.scope = k.scope and i.key = k.key limit 1)
        union all
        select d.command::integer, 'delivery', null, null
          from unnest(string_to_array(deliveries[1], sep), string_to_array(deliveries[2], sep),
                      string_to_array(deliveries[3], sep), string_to_array(deliveries[12], sep))
               with ordinality as d (command, source, delivery_id, replay, n)
         where d.n <= counts[4]
           and (select true from inbox i where i.source = d.source and i.delivery_id = d.delivery_id
                                           and (d.replay = 'f' or i.status = 'accepted') limit 1)
        union all
        select s.command::integer, 'version', null, null
          from unnest(string_to_array(streams[1], sep), string_to_array(streams[2], sep),
                      string_to_array(streams[3], sep))
               with ordinality as s (command, stream_id, version, n)
         where case when s.n <= counts[2]
                    then coalesce((select true from events e
                                    where e.stream_id = s.stream_id and e.version >= s.version::integer limit 1),
                                  s.version::integer > 1
                                  and (select true from events e
                                        where e.stream_id = s.stream_id and e.version = s.version::integer - 1
                                        limit 1) is null)
                    else columns_end('streams', s.n = counts[2] + 1,
                                     s.command || s.stream_id || s.version) end
        union all
        select g.command::integer, 'guard', null, null
          from unnest(string_to_array(terms_guards[1], sep), string_to_array(terms_guards[2], sep),
                      string_to_array(terms_guards[3], sep))
               with ordinality as g (command, organization_id, position, n)
         where case when g.n <= counts[5]
                    then g.position::bigint is distinct from coalesce(
                         (select t.position from terms_heads t where t.organization_id = g.organization_id), 0)
                    else columns_end('terms_guards', g.n = counts[5] + 1,
                                     g.command || g.organization_id || g.position) end
        union all
        select g.command::integer, 'guard', null, null
          from unnest(string_to_array(balance_guards[1], sep), string_to_array(balance_guards[2], sep),
                      string_to_array(balance_guards[3], sep), string_to_array(balance_guards[4], sep))
               with ordinality as g (command, account, currency, version, n)
         where case when g.n <= counts[6]
                    then g.version::bigint is distinct from coalesce(
                         (select b.version from balances b where b.account = g.account and b.currency = g.currency), 0)
                    else columns_end('balance_guards', g.n = counts[6] + 1,
                                     g.command || g.account || g.currency || g.version) end;
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
         where case when e.n <= counts[1] then true
                    else columns_end('events', e.n = counts[1] + 1,
                                     e.command || e.stream_id || e.version || e.topic || e.schema_version ||
                                     e.payload || e.organization_id || e.actor || e.correlation_id ||
                                     e.causation_id) end;
        update log_head set position = head + counts[1], recorded_at = moment where id = 1;
        -- One NOTIFY a batch: it takes an instance-wide lock at commit.
        perform pg_notify('colink_commerce', (head + counts[1])::text);
    end if;

    if counts[7] > 0 then
        -- `credited` is the running sum inside this batch; the balance row still holds the sum before it.
        insert into entries (position, ordinal, journal_id, kind, account, payee_id, purpose, amount, currency,
                             organization_id, order_id, line_id, payout_id, effective_at, recorded_at, credited_after,
                             occurred_at)
        select head + e.event::integer, e.ordinal::integer, e.journal_id, e.kind, e.account, e.payee_id, e.purpose,
               e.amount::bigint, e.currency, e.organization_id, e.order_id, e.line_id, e.payout_id,
               e.effective_at::timestamptz, moment,
               case when e.credited is not null then e.credited::numeric + coalesce(
                   (select b.credited from balances b where b.account = e.account and b.currency = e.currency), 0)
               end,
               e.occurred_at::timestamptz
          from unnest(string_to_array(entries[1], sep), string_to_array(entries[2], sep),
                      string_to_array(entries[3], sep), string_to_array(entries[4], sep),
                      string_to_array(entries[5], sep), string_to_array(entries[6], sep, nul),
                      string_to_array(entries[7], sep), string_to_array(entries[8], sep),
                      string_to_array(entries[9], sep), string_to_array(entries[10], sep, nul),
                      string_to_array(entries[11], sep, nul), string_to_array(entries[12], sep, nul),
                      string_to_array(entries[13], sep, nul), string_to_array(entries[14], sep),
                      string_to_array(entries[15], sep, nul), string_to_array(entries[16], sep, nul))
               with ordinality as e (event, ordinal, journal_id, kind, account, payee_id, purpose, amount, currency,
                                     organization_id, order_id, line_id, payout_id, effective_at, credited,
                                     occurred_at, n)
         where case when e.n <= counts[7] then true
                    else columns_end('entries', e.n = counts[7] + 1,
                                     e.event || e.ordinal || e.journal_id || e.kind || e.account || e.payee_id ||
                                     e.purpose || e.amount || e.currency || e.organization_id || e.order_id ||
                                     e.line_id || e.payout_id || e.effective_at || e.credited ||
                                     coalesce(e.occurred_at, '')) end;
        -- What was just written, journal by journal: the domain has checked both, and this does not believe it.
        select e.position - head as event, e.currency, sum(e.amount) as total, min(e.effective_at) as earliest
          into wrong
          from entries e where e.position > head
         group by e.position, e.currency
        having sum(e.amount) <> 0 or min(e.effective_at) < open_from
         limit 1;
        if found and wrong.total <> 0 then
            raise exception 'the % postings of the journal that is event % of the batch sum to %, not to zero',
                wrong.currency, wrong.event, wrong.total using errcode = '23514';
        elsif found then
            -- Only where a period was closed since the batch was read: all of it is decided again.
            raise exception 'event % of the batch is effective at %, and the ledger is closed before %',
                wrong.event, wrong.earliest, open_from using errcode = 'CL001';
        end if;
    end if;

    if counts[8] > 0 then
        -- Grouped and sorted by account already: one row an account and currency.
        insert into balances as b (account, currency, amount, debits, credits, credited, version, position)
        select c.account, c.currency, c.amount::numeric, c.debits::numeric, c.credits::numeric, c.credited::numeric,
               c.version::bigint, head + c.event::integer
          from unnest(string_to_array(balances[1], sep), string_to_array(balances[2], sep),
                      string_to_array(balances[3], sep), string_to_array(balances[4], sep),
                      string_to_array(balances[5], sep), string_to_array(balances[6], sep),
                      string_to_array(balances[7], sep), string_to_array(balances[8], sep))
               with ordinality as c (account, currency, amount, debits, credits, credited, version, event, n)
         where case when c.n <= counts[8] then true
                    else columns_end('balances', c.n = counts[8] + 1,
                                     c.account || c.currency || c.amount || c.debits || c.credits || c.credited ||
                                     c.version || c.event) end
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
             where case when d.n <= counts[9] then true
                        else columns_end('documents', d.n = counts[9] + 1,
                                         d.event || d.kind || d.id || d.version || d.key || d.organization_id ||
                                         d.part_of_terms || d.current || d.body) end
             order by d.n
        loop
            if doc.current = 't' then
                update documents d set current = false where d.kind = doc.kind and d.id = doc.id and d.current;
            end if;
            insert into documents (kind, id, version, key, organization_id, part_of_terms, current, body, position)
            values (doc.kind, doc.id, doc.version::integer, doc.key, doc.organization_id, doc.part_of_terms::boolean,
                    doc.current::boolean, doc.body, head + doc.event::integer);
            if doc.kind = 'closed_periods' then
                update log_head set open_from = (doc.body::json ->> 'open_from')::timestamptz where id = 1;
            end if;
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
         where case when r.n <= counts[10] then true
                    else columns_end('orders', r.n = counts[10] + 1,
                                     r.first_event || r.event || r.order_id || r.organization_id || r.store_id ||
                                     r.external_id || r.placed_at || r.creator_id || r.claims || r.clears_at) end
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
        insert into payouts as p (payout_id, payee_id, currency, amount, status, stretches, tax, created_position,
                                  position)
        select r.payout_id, r.payee_id, r.currency, r.amount::bigint, r.status, r.stretches, r.tax::bigint,
               head + r.first_event::integer, head + r.event::integer
          from unnest(string_to_array(payouts[1], sep), string_to_array(payouts[2], sep),
                      string_to_array(payouts[3], sep), string_to_array(payouts[4], sep),
                      string_to_array(payouts[5], sep), string_to_array(payouts[6], sep),
                      string_to_array(payouts[7], sep), string_to_array(payouts[8], sep),
                      string_to_array(payouts[9], sep))
               with ordinality as r (first_event, event, payout_id, payee_id, currency, amount, status, stretches, tax,
                                     n)
         where case when r.n <= counts[11] then true
                    else columns_end('payouts', r.n = counts[11] + 1,
                                     r.first_event || r.event || r.payout_id || r.payee_id || r.currency || r.amount
                                     || r.status || r.stretches || r.tax) end
         order by r.n
        on conflict (payout_id) do update
           set amount = excluded.amount, status = excluded.status, stretches = excluded.stretches,
               tax = excluded.tax, position = excluded.position;
    end if;

    if counts[3] > 0 then
        insert into idempotency_keys (scope, key, request_digest, answer, position, recorded_at)
        select k.scope, k.key, k.request_digest, k.answer, head + k.event::integer, moment
          from unnest(string_to_array(keys[1], sep), string_to_array(keys[2], sep), string_to_array(keys[3], sep),
                      string_to_array(keys[4], sep), string_to_array(keys[5], sep), string_to_array(keys[6], sep, nul))
               with ordinality as k (command, scope, key, request_digest, answer, event, n)
         where case when k.n <= counts[3] then true
                    else columns_end('keys', k.n = counts[3] + 1,
                                     k.command || k.scope || k.key || k.request_digest || k.answer || k.event) end;
    end if;

    if counts[4] > 0 then
        insert into inbox as i (source, delivery_id, topic, headers, received_at, status, problem, answer, order_id,
                                position, recorded_at, body)
        select d.source, d.delivery_id, d.topic, d.headers, d.received_at::timestamptz, d.status, d.problem, d.answer,
               d.order_id, head + d.event::integer, moment, bodies[d.n]
          from unnest(string_to_array(deliveries[1], sep), string_to_array(deliveries[2], sep),
                      string_to_array(deliveries[3], sep), string_to_array(deliveries[4], sep),
                      string_to_array(deliveries[5], sep), string_to_array(deliveries[6], sep),
                      string_to_array(deliveries[7], sep), string_to_array(deliveries[8], sep, nul),
                      string_to_array(deliveries[9], sep), string_to_array(deliveries[10], sep, nul),
                      string_to_array(deliveries[11], sep, nul), string_to_array(deliveries[12], sep))
               with ordinality as d (command, source, delivery_id, topic, headers, received_at, status, problem,
                                     answer, order_id, event, replay, n)
         where case when d.n <= counts[4] then true
                    else columns_end('deliveries', d.n = counts[4] + 1,
                                     d.command || d.source || d.delivery_id || d.topic || d.headers || d.received_at
                                     || d.status || d.problem || d.answer || d.order_id || d.event || d.replay) end
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
         where case when v.n <= counts[12] then true
                    else columns_end('private', v.n = counts[12] + 1,
                                     v.owner_id || v.name || v.value) end
        on conflict (owner_id, name) do update set value = excluded.value;
    end if;

    return query select null::integer, null::text, head, moment;
end
$$;
