-- Personal data is encrypted, and a person is erased by destroying keys (application.privacy, decision 24).
--
-- Data keys are private values named `key:...` of their owner, wrapped by a master key that is not in this database.

comment on table colink.private_values is
    'Secrets of stores, and wrapped data keys (`key:...`) of personal data: kept out of the log, so that they can go.';

-- Sealed bodies pack no more, and auditors read the first bytes of each.
alter table colink.inbox alter column body set storage external;

-- What is deleted from these two is to leave the disk, too: vacuumed as soon as there is anything dead in them.
alter table colink.private_values set (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0);
alter table colink.tracking_salts set (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0);

-- Recording an erasure and destroying the keys are one: no process can be killed between the two.
create function colink.destroy_keys_of_erased() returns trigger
language plpgsql security definer set search_path = colink, pg_temp as $$
begin
    delete from private_values v
     using jsonb_array_elements_text(new.payload::jsonb -> 'details' -> 'owners') as erased (owner_id)
     where v.owner_id = erased.owner_id;
    return null;
end
$$;
revoke all on function colink.destroy_keys_of_erased() from public;
create trigger destroy_keys after insert on colink.events
    for each row when (new.topic in ('person.erased', 'person.erased_again'))
    execute function colink.destroy_keys_of_erased();
alter table colink.events enable always trigger destroy_keys;

-- A command that was decided before a payee was erased may be recorded after it and leave a key. Buyers are not looked
-- at: what comes to be known of them later is new. Returns how many keys there were.
create function colink.destroy_keys_left() returns bigint
language sql security definer set search_path = colink, pg_temp as $$
    with gone as (
        delete from private_values v
         using documents d
         where d.kind = 'erased_person' and d.current and v.owner_id = d.id
        returning 1
    )
    select count(*) from gone
$$;

-- A new master key wraps what an old one did; a key that was destroyed meanwhile stays so. Returns how many moved.
create function colink.rewrap_keys(owners text[], names text[], before text[], after text[]) returns bigint
language sql security definer set search_path = colink, pg_temp as $$
    with moved as (
        update private_values v
           set value = k.after
          from unnest(owners, names, before, after) as k (owner_id, name, before, after)
         where v.owner_id = k.owner_id and v.name = k.name and v.value = k.before
        returning 1
    )
    select count(*) from moved
$$;

-- Which keys, by their fingerprint, this database's personal data is sealed with: those that came first.
create function colink.adopt_person_keys(fingerprint text) returns text
language sql security definer set search_path = colink, pg_temp as $$
    insert into installation (name, value) values ('person_keys', fingerprint) on conflict (name) do nothing;
    select value from installation where name = 'person_keys';
$$;

-- Salts that are deleted would stay readable in the table's file until something is written over them. Truncating gives
-- the table a new file and takes the old one away; the few that are kept are put back. Returns how many are gone.
create function colink.destroy_salts(oldest date) returns integer
language plpgsql security definer set search_path = colink, pg_temp as $$
#variable_conflict use_column
declare
    kept tracking_salts[];
    gone integer;
begin
    lock table tracking_salts in access exclusive mode;
    select array_agg(s) filter (where s.day >= oldest), count(*) filter (where s.day < oldest)
      into kept, gone from tracking_salts s;
    if gone > 0 then
        truncate tracking_salts;
        insert into tracking_salts select (k).* from unnest(kept) as k;
    end if;
    return gone;
end
$$;

revoke all on function colink.destroy_keys_left(), colink.rewrap_keys(text[], text[], text[], text[]),
    colink.adopt_person_keys(text), colink.destroy_salts(date) from public;
grant execute on function colink.destroy_keys_left(), colink.rewrap_keys(text[], text[], text[], text[]),
    colink.adopt_person_keys(text), colink.destroy_salts(date) to {app};
revoke delete on colink.tracking_salts from {app};

-- Documents of kinds that were given a field are what the log now says of them.
update colink.documents set body = left(body, -1) || ',"handle_digest":null}' where kind = 'creator';
update colink.documents set body = left(body, -1) || ',"private":null}' where kind = 'payout_account';
