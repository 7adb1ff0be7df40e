"""The sum of the migrations is the schema, in both dialects."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import asyncpg
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable, SetColumnComment, SetTableComment

from gateway.durable.ledger import Ledger
from gateway.durable.migration import VERSION_TABLE
from gateway.durable.schema import metadata

#: Everything PostgreSQL knows about the tables of one schema that could differ.
TOLD = (
    """
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attnum, l.collname,
           pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_collation l ON l.oid = a.attcollation
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'r' ORDER BY 1, 5
    """,
    """
    SELECT c.relname, c.reloptions, c.relpersistence::text, obj_description(c.oid)
    FROM pg_class c WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'r' ORDER BY 1
    """,
    """
    SELECT indexrelid::regclass::text, replace(pg_get_indexdef(indexrelid), nspname || '.', '')
    FROM pg_index JOIN pg_class c ON c.oid = indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relnamespace = $1::regnamespace ORDER BY c.relname, 2
    """,
    """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = $1::regnamespace ORDER BY 1, 2
    """,
)


def statements(dialect: Dialect) -> list[str]:
    """The schema as the metadata would make it."""
    made: list[str] = []
    for table in metadata.sorted_tables:
        made.append(str(CreateTable(table).compile(dialect=dialect)))
        made += [str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes]
        if dialect.supports_comments:
            made.append(str(SetTableComment(table).compile(dialect=dialect)))
            commented = [column for column in table.columns if column.comment]
            made += [str(SetColumnComment(column).compile(dialect=dialect)) for column in commented]
    return made


async def test_postgres_migrations_make_the_schema(postgres_ledger: Ledger, postgres_url: str) -> None:
    """Columns, types, collations, comments, storage, indexes and constraints: migrated = described."""
    await postgres_ledger.ping()
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute("CREATE SCHEMA described; SET search_path = described")
        for statement in statements(postgresql.dialect()):  # type: ignore[no-untyped-call]
            await connection.execute(statement)
        for question in TOLD:
            told = {}
            for schema in ("public", "described"):
                await connection.execute(f"SET search_path = {schema}")
                rows = [tuple(row) for row in await connection.fetch(question, schema)]
                told[schema] = [row for row in rows if VERSION_TABLE not in str(row)]
            assert told["public"] == told["described"] != []
    finally:
        await connection.close()


def normal(sql: str) -> str:
    """A statement without its layout."""
    return re.sub(r"\s*([(),])\s*", r"\1", " ".join(sql.replace('"', "").split()))


async def test_sqlite_migrations_make_the_schema(sqlite_ledger: Ledger, sqlite_url: str) -> None:
    """SQLite keeps the very text of each CREATE: migrated = described."""
    await sqlite_ledger.ping()
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        kept = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> ?", [VERSION_TABLE])
        migrated = {normal(sql) for (sql,) in kept}

    assert migrated == {normal(sql) for sql in statements(sqlite.dialect())}


async def test_levels_is_as_promised_to_outside_readers(sqlite_ledger: Ledger, sqlite_url: str) -> None:
    """The table that others read has these columns, by these names, in this order. Changing it breaks them."""
    await sqlite_ledger.ping()
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(levels)")]

    assert columns == [
        "shop",
        "sku",
        "location",
        "on_hand",
        "held",
        "committed",
        "deducted",
        "safety_stock",
        "version",
        "shard",
        "epoch",
        "seq",
        "updated_ms",
    ]
