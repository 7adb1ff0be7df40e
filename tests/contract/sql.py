"""The store's tables as anybody beside the gateway would read and damage them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import asyncpg


async def run_sql(url: str, sql: str) -> list[Sequence[Any]]:
    """The statement is executed and committed; returns its rows. Only SQL that both dialects read alike."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
            return connection.execute(sql).fetchall()
    postgres = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await postgres.fetch(sql)]
    finally:
        await postgres.close()


async def rows_stored(url: str) -> dict[str, int]:
    """How many rows each table of the history and of the stock has."""
    tables = (
        "events",
        "levels",
        "level_sources",
        "skus",
        "reservations",
        "reservation_skus",
        "requests",
    )
    return {table: (await run_sql(url, f"SELECT count(*) FROM {table}"))[0][0] for table in tables}
