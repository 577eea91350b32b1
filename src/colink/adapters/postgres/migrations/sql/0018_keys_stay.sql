-- What only ever grows, for the owner of the database too: without the row of an idempotency key a command that is sent
-- again would run again, and another pepper would recognise nobody.

create trigger append_only before update or delete or truncate on colink.idempotency_keys
    for each statement execute function colink.refuse_change();
alter table colink.idempotency_keys enable always trigger append_only;

create trigger append_only before update or delete or truncate on colink.installation
    for each statement execute function colink.refuse_change();
alter table colink.installation enable always trigger append_only;

-- An audit looks keys up by the events they were kept with.
create index idempotency_keys_position on colink.idempotency_keys (position) where position is not null;
