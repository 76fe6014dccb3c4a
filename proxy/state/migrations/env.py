"""Alembic's entry point: runs on the connection handed in through the configuration."""

from alembic import context

from proxy.state.tables import metadata

version_table, version_table_schema = context.config.attributes["version_table"]
context.configure(
    version_table=version_table,
    version_table_schema=version_table_schema,
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # The caller's transaction covers all of it, in SQLite too.
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
