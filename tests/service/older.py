"""The durable store as it was some time ago: a copy of it, and the copy put back in its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.contract.sql import run_sql

TABLES = (
    "shards",
    "epoch_history",
    "levels",
    "level_sources",
    "skus",
    "reservations",
    "reservation_skus",
    "events",
    "requests",
)

Copy = dict[str, tuple[list[str], list[Sequence[Any]]]]


async def copied(url: str) -> Copy:
    """Every table of the history, as it is now."""
    found: Copy = {}
    for table in TABLES:
        if url.startswith("sqlite"):
            names = [row[0] for row in await run_sql(url, f"SELECT name FROM pragma_table_info('{table}')")]
        else:
            names = [
                row[0]
                for row in await run_sql(
                    url, f"SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0"
                )
            ]
        found[table] = (names, await run_sql(url, f"SELECT {', '.join(names)} FROM {table}"))
    return found


async def put_back(url: str, copy: Copy) -> None:
    """The tables are as they were when they were copied."""
    for table, (names, rows) in copy.items():
        await run_sql(url, f"DELETE FROM {table}")
        for row in rows:
            await run_sql(url, f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(map(_literal, row))})")


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"
