-- The seals behind the writers: chain, Merkle nodes, signed checkpoints (architecture section 4, "Sealing").
--
-- Append-only for everyone, as the log is. The application writes through the functions below only, which hold one
-- advisory lock to the end of their transaction and take nothing but what continues exactly where the tables end: two
-- sealers cannot fork the chain. What a leaf says of its event is checked by `audit verify`, from the events.

create table colink.seals (
    position bigint primary key,
    leaf     bytea  not null check (octet_length(leaf) = 32),
    chain    bytea  not null check (octet_length(chain) = 32)
);
comment on table colink.seals is 'One row per event of the commerce log: its leaf hash and the chain up to it.';

create table colink.merkle_nodes (
    level smallint not null check (level in (8, 16)),
    index bigint   not null,
    hash  bytea    not null check (octet_length(hash) = 32),
    primary key (level, index)
);
comment on table colink.merkle_nodes is
    'RFC 6962 hashes of the complete subtrees of 2^level leaves; index counts them from 0.';

create table colink.checkpoints (
    tree_size bigint      primary key,
    root      bytea       not null check (octet_length(root) = 32),
    note      text        not null,
    signed_at timestamptz not null
);
comment on table colink.checkpoints is 'Every signed tree head that was published (C2SP tlog-checkpoint).';

create table colink.checkpoint_keys (
    ordinal      integer     primary key,
    verifier_key text        not null unique,
    tree_size    bigint      not null,
    added_at     timestamptz not null
);
comment on table colink.checkpoint_keys is
    'Public keys (C2SP vkey) in the order of their use. Only the newest signs, from tree_size on.';

create table colink.seal_alarms (
    id        bigint      generated always as identity primary key,
    reason    text        not null,
    raised_at timestamptz not null
);
comment on table colink.seal_alarms is
    'Why the sealer refused to go on. The newest is in force until a checkpoint or a key is added after it.';

create trigger append_only before update or delete or truncate on colink.seals
    for each statement execute function colink.refuse_change();
alter table colink.seals enable always trigger append_only;
create trigger append_only before update or delete or truncate on colink.merkle_nodes
    for each statement execute function colink.refuse_change();
alter table colink.merkle_nodes enable always trigger append_only;
create trigger append_only before update or delete or truncate on colink.checkpoints
    for each statement execute function colink.refuse_change();
alter table colink.checkpoints enable always trigger append_only;
create trigger append_only before update or delete or truncate on colink.checkpoint_keys
    for each statement execute function colink.refuse_change();
alter table colink.checkpoint_keys enable always trigger append_only;
create trigger append_only before update or delete or truncate on colink.seal_alarms
    for each statement execute function colink.refuse_change();
alter table colink.seal_alarms enable always trigger append_only;

-- Which log this is, for its chain, its checkpoints and its keys.
insert into colink.installation (name, value)
values ('log_id',
        left(encode(sha256(convert_to(gen_random_uuid()::text || gen_random_uuid(), 'UTF8')), 'hex'), 32));

-- Whether this transaction is the sealer's; nobody waits.
create function colink.try_seal_lock() returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$ select pg_try_advisory_xact_lock(x'C011EA1'::bigint) $$;

-- What stands before the first link of this log (colink.domain.sealing.encoding).
create function colink.chain_start() returns bytea
language sql stable set search_path = colink, pg_temp
as $$
    select sha256(convert_to('colink.chain.1' || U&'\001F' || 'colink/' || value || '/commerce', 'UTF8'))
      from installation where name = 'log_id'
$$;

-- Seal the events from `first` on: one leaf and one link each, 32 bytes after 32 bytes, and the hashes of the subtrees
-- that became complete with them. `previous` is the link they continue. False where another sealer was first.
create function colink.seal(first bigint, previous bytea, leaves bytea, links bytea, nodes_8 bytea, nodes_16 bytea)
returns boolean
language plpgsql volatile security definer
set search_path = colink, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_variable
declare
    added constant bigint := octet_length(leaves) / 32;
    size constant bigint := first - 1 + added;
    sealed seals;
begin
    perform pg_advisory_xact_lock(x'C011EA1'::bigint);
    select s.* into sealed from seals s order by s.position desc limit 1;
    if coalesce(sealed.position, 0) <> first - 1 then
        return false;
    end if;
    if previous is distinct from coalesce(sealed.chain, chain_start()) then
        raise exception 'the chain does not end in what position % continues', first using errcode = '22023';
    end if;
    if added < 1 or octet_length(leaves) % 32 <> 0 or octet_length(links) <> octet_length(leaves)
       or octet_length(nodes_8) <> 32 * ((size >> 8) - ((first - 1) >> 8))
       or octet_length(nodes_16) <> 32 * ((size >> 16) - ((first - 1) >> 16)) then
        raise exception 'leaves, links and nodes from position % do not fit each other', first
            using errcode = '22023';
    end if;
    if size > (select h.position from log_head h) then
        raise exception 'there is no event at position % to seal', size using errcode = '22023';
    end if;
    insert into seals (position, leaf, chain)
    select first + n, substring(leaves from 32 * n::integer + 1 for 32),
           substring(links from 32 * n::integer + 1 for 32)
      from generate_series(0, added - 1) n;
    insert into merkle_nodes (level, index, hash)
    select 8, ((first - 1) >> 8) + n, substring(nodes_8 from 32 * n + 1 for 32)
      from generate_series(0, octet_length(nodes_8) / 32 - 1) n
    union all
    select 16, ((first - 1) >> 16) + n, substring(nodes_16 from 32 * n + 1 for 32)
      from generate_series(0, octet_length(nodes_16) / 32 - 1) n;
    return true;
end
$$;

-- Publish a signed tree head of a size beyond the last one. False where one of this size or beyond is there already.
create function colink.publish_checkpoint(tree_size bigint, root bytea, note text, signed_at timestamptz)
returns boolean
language plpgsql volatile security definer
set search_path = colink, pg_temp
as $$
#variable_conflict use_variable
begin
    perform pg_advisory_xact_lock(x'C011EA1'::bigint);
    if exists (select from checkpoints c where c.tree_size >= tree_size) then
        return false;
    end if;
    if not exists (select from seals s where s.position = tree_size) then
        raise exception 'position % is not sealed', tree_size using errcode = '22023';
    end if;
    insert into checkpoints values (tree_size, root, note, signed_at);
    return true;
end
$$;

-- Make a key the one that signs from now on; `replaces` is the one that did so far (null: none). False where that is
-- no longer the newest.
create function colink.add_checkpoint_key(verifier_key text, replaces text, added_at timestamptz)
returns boolean
language plpgsql volatile security definer
set search_path = colink, pg_temp
as $$
#variable_conflict use_variable
declare
    newest checkpoint_keys;
begin
    perform pg_advisory_xact_lock(x'C011EA1'::bigint);
    select k.* into newest from checkpoint_keys k order by k.ordinal desc limit 1;
    if newest.verifier_key is distinct from replaces then
        return false;
    end if;
    insert into checkpoint_keys
    values (coalesce(newest.ordinal, 0) + 1, verifier_key,
            coalesce((select max(s.position) from seals s), 0), added_at);
    return true;
end
$$;

-- Say that the sealer refused; the same reason is said once while it is in force.
create function colink.raise_seal_alarm(reason text, raised_at timestamptz) returns boolean
language plpgsql volatile security definer
set search_path = colink, pg_temp
as $$
#variable_conflict use_variable
declare
    newest seal_alarms;
begin
    perform pg_advisory_xact_lock(x'C011EA1'::bigint);
    select a.* into newest from seal_alarms a order by a.id desc limit 1;
    if newest.reason = reason
       and not exists (select from checkpoints c where c.signed_at > newest.raised_at)
       and not exists (select from checkpoint_keys k where k.added_at > newest.raised_at) then
        return false;
    end if;
    insert into seal_alarms (reason, raised_at) values (reason, raised_at);
    return true;
end
$$;

grant select on colink.seals, colink.merkle_nodes, colink.checkpoints, colink.checkpoint_keys, colink.seal_alarms
    to {app};
revoke all on function colink.try_seal_lock, colink.chain_start, colink.seal, colink.publish_checkpoint,
    colink.add_checkpoint_key, colink.raise_seal_alarm from public;
grant execute on function colink.try_seal_lock, colink.seal, colink.publish_checkpoint, colink.add_checkpoint_key,
    colink.raise_seal_alarm to {app};
