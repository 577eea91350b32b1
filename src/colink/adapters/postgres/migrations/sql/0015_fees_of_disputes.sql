-- Fees of settlements may name their dispute: the rows of those recorded before say that they name none, as their events
-- do when they are read. A fee ends with its amount; in texts the quotes of such a pattern would be escaped.

update colink.documents
   set body = regexp_replace(body, '("amount":-?[0-9]+)}', '\1,"dispute_id":null}', 'g')
 where kind = 'settlement';
