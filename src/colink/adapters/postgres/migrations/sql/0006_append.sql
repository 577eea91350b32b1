-- The append of the commerce log, faster.

-- What a seller reads and follows of the log.
create index events_organization on colink.events (organization_id, position) where organization_id is not null;
