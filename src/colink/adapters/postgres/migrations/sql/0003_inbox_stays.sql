-- Deliveries stay as they came: what an order was told is evidence, and its digests stand in the log.
--
-- A replay (append_commerce) of a delivery that was not accepted moves status, problem, answer, order_id, position and
-- replayed_at; nothing else moves, and nothing after it was accepted.

create function colink.refuse_inbox_change() returns trigger language plpgsql as $$
begin
    raise exception '% on %.% is refused: deliveries stay as they came', tg_op, tg_table_schema, tg_table_name
        using errcode = 'insufficient_privilege';
end
$$;
revoke all on function colink.refuse_inbox_change() from public;

create trigger stays_as_it_came before update on colink.inbox
    for each row
    when (old.status = 'accepted'
          or (old.seq, old.source, old.delivery_id, old.topic, old.headers, old.body, old.received_at, old.recorded_at)
             is distinct from
             (new.seq, new.source, new.delivery_id, new.topic, new.headers, new.body, new.received_at, new.recorded_at))
    execute function colink.refuse_inbox_change();
alter table colink.inbox enable always trigger stays_as_it_came;

create trigger stays before delete or truncate on colink.inbox
    for each statement execute function colink.refuse_inbox_change();
alter table colink.inbox enable always trigger stays;
