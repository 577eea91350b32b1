"""PostgreSQL: the embedded server, migrations, the event store and the reads that commands need."""
