-- Tiers, caps and notice are fields of rules and campaigns: the rows of those written before say that they have none,
-- as their events do when they are read.

update colink.documents
   set body = left(body, -1) || ',"tiers":null,"cap_per_order":null,"cap_per_day":null,"cap_per_month":null,'
              '"published_at":null}'
 where kind = 'commission_rule';
update colink.documents set body = left(body, -1) || ',"notice_days":0}' where kind = 'campaign';
