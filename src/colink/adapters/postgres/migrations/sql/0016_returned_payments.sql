-- Payments of sellers may be returned: none of those recorded before was, as their events say when they are read.

update colink.documents set body = left(body, -1) || ',"returned":null}' where kind = 'seller_payment';
