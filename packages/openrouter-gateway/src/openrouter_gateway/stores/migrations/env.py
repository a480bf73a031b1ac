"""What Alembic runs: the migrations, on the connection and within the transaction that the caller has begun."""

from alembic import context

from openrouter_gateway.stores.schema import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"], target_metadata=METADATA, version_table=VERSION_TABLE
)
context.run_migrations()
