-- What the application's role may do: read, execute the append functions, and keep the few tables beside the log.

grant usage on schema colink to {app};
grant select on all tables in schema colink to {app};
grant insert, delete on colink.tracking_salts to {app};
grant insert, update on colink.webhook_rejections to {app};
revoke all on all functions in schema colink from public;
grant execute on function colink.append_commerce, colink.append_tracking to {app};
