"""Alembic's environment: runs inside the transaction that `gitopsd.store.migrate` began."""

from alembic import context

from gitopsd.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,  # both databases roll back DDL; Alembic does not know it of SQLite
    render_as_batch=True,
)
context.run_migrations()
