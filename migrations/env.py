"""Alembic's entry: run the migrations on the connection that the catalog hands over."""

from alembic import context

from facesim_index.store.catalog.schema import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
