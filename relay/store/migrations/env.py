"""Alembic's entry: runs the scripts on the connection that `migrate` hands over.

The transaction is the caller's, so that a migration is there whole or not at all.
"""

from alembic import context

from relay.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite alters a table by copying it.
    render_as_batch=True,
    # SQLite too rolls CREATE TABLE back, once the driver leaves BEGIN to us.
    transactional_ddl=True,
)
context.run_migrations()
