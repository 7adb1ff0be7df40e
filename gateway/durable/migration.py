"""Migrations: the store's schema becomes this version's, once, whoever starts first.

Several gateways may start on one store at the same moment. Each takes a lock in the store before it looks, so the
second finds the work done. All of a migration is one transaction in both dialects: a schema is never half new.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.durable.database import Connection as StoreConnection
from gateway.durable.ledger import SchemaMismatch
from gateway.durable.schema import metadata
from gateway.durable.statement import Statement

#: Not Alembic's default: a shop that uses Alembic in the same database has a table of that name already.
VERSION_TABLE: Final = "schema_version"

#: How long to wait for another gateway that migrates, and then for each lock on a table that is in use.
_TURN_SECONDS: Final = 60
_LOCK_SECONDS: Final = 5

#: Names our turn among all users of PostgreSQL's advisory locks in one database ("gateway" in ASCII).
_ADVISORY_KEY: Final = 0x67617465776179

_VERSION: Final = Statement(text(f"SELECT version_num FROM {VERSION_TABLE}"))

Mode = Literal["auto", "refuse"]


async def migrate_postgres(engine: AsyncEngine, mode: Mode) -> None:
    """The schema of this database is `newest()`. Raises SchemaMismatch; the driver's errors leave wrapped."""
    async with engine.begin() as connection:
        await connection.run_sync(_migrate, mode, _take_turn_in_postgres)


async def migrate_sqlite(engine: AsyncEngine, mode: Mode) -> None:
    """As `migrate_postgres`; the whole file is locked meanwhile."""

    # Left alone, Python's driver begins a transaction at the first change of rows only, and DDL before it would
    # be committed piece by piece.
    @event.listens_for(engine.sync_engine, "connect")
    def leave_transactions_to_us(connection: object, _record: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {_TURN_SECONDS * 1000}")
        connection.exec_driver_sql("BEGIN EXCLUSIVE")

    async with engine.begin() as connection:
        await connection.run_sync(_migrate, mode, lambda _connection: None)


async def verify(connection: StoreConnection) -> None:
    """The schema is `newest()`, looked at like any row: nothing is made, changed or locked. Raises SchemaMismatch."""
    rows = await connection.fetch(_VERSION)
    stored = rows[0][0] if rows else None
    if stored != newest():
        raise SchemaMismatch(f"the durable store's schema is {stored}, this version reads {newest()}")


def newest() -> str:
    """The schema that this version works with."""
    (head,) = ScriptDirectory.from_config(_config()).get_heads()
    return head


def _migrate(connection: Connection, mode: Mode, take_turn: Callable[[Connection], None]) -> None:
    take_turn(connection)
    stored = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
    needed = newest()
    if stored == needed:
        return
    _refuse_foreign(connection, stored, needed)
    if mode == "refuse":
        raise SchemaMismatch(
            f"the durable store's schema is {stored or 'not there'}, this version needs {needed}:"
            ' start once with durable.migrate = "auto"'
        )
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, needed)


def _refuse_foreign(connection: Connection, stored: str | None, needed: str) -> None:
    """Raises SchemaMismatch for a schema of the future, and for tables that are not ours to change."""
    if stored is None:
        taken = sorted(set(inspect(connection).get_table_names()) & set(metadata.tables))
        if taken:
            raise SchemaMismatch(
                f"the database holds tables named {', '.join(taken)} that no gateway made:"
                " give the gateway a database or a schema of its own"
            )
        return
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if stored not in known:
        raise SchemaMismatch(
            f"the durable store's schema is {stored}, newer than {needed}, the newest that this version knows:"
            " start a gateway of the version that made it, or a newer one"
        )


def _take_turn_in_postgres(connection: Connection) -> None:
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise SchemaMismatch(
            f"the database stores text as {encoding}, which cannot hold every name:"
            " create it with ENCODING 'UTF8' TEMPLATE template0"
        )
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_TURN_SECONDS}s'")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_KEY})")
    # ALTER TABLE waits for who reads the table, and everybody else waits behind it: better to fail and come again.
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")


def _config() -> Config:
    config = Config()
    # ConfigParser reads % as the start of a substitution; a path may hold one.
    folder = str(Path(__file__).parent / "migrations").replace("%", "%%")
    config.set_main_option("script_location", folder)
    return config
