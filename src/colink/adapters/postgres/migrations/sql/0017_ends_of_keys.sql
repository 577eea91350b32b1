-- Keys may have a name and an end: the rows of those made before say that they have none, as their events do when they
-- are read.

update colink.documents set body = left(body, -1) || ',"name":null,"expires_at":null}' where kind = 'api_key';
