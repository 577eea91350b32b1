-- What auditors read, and who read personal data. Append-only for everyone, as the log is; written by one function.

create table colink.audit_reads (
    seq            bigint      generated always as identity primary key,
    read_at        timestamptz not null,
    reader         text        not null,
    role           text        not null,
    method         text        not null,
    route          text        not null,
    path           text        not null,
    query          text        not null,
    status         integer     not null,
    items          integer,
    correlation_id text        not null
);
comment on table colink.audit_reads is
    'Every request of an auditor and every reading of personal data: who asked for what, when, and how much was told.';
comment on column colink.audit_reads.reader is 'key:{id of the API key}, or cli:{user of the machine}.';
comment on column colink.audit_reads.items is 'How many items the answer listed; null where it was no list.';
create index audit_reads_reader on colink.audit_reads (reader, seq);

create trigger append_only before update or delete or truncate on colink.audit_reads
    for each statement execute function colink.refuse_change();
alter table colink.audit_reads enable always trigger append_only;

create function colink.log_read(
    read_at timestamptz, reader text, role text, method text, route text, path text, query text, status integer,
    items integer, correlation_id text
) returns void
language sql volatile security definer set search_path = colink, pg_temp
begin atomic
    insert into colink.audit_reads (read_at, reader, role, method, route, path, query, status, items, correlation_id)
    values (read_at, reader, role, method, route, path, query, status, items, correlation_id);
end;

grant select on colink.audit_reads to {app};
revoke all on function colink.log_read from public;
grant execute on function colink.log_read to {app};
