"""Run by Alembic for every step, inside the transaction and behind the lock of `gateway.durable.migration`."""

from __future__ import annotations

from alembic import context

from gateway.durable.migration import VERSION_TABLE
from gateway.durable.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
