"""Asking a PostgreSQL of this run, beside the servers that work in it."""

from __future__ import annotations

import asyncio

import asyncpg


def fetch_row(url: str, sql: str, *arguments: object) -> tuple[object, ...] | None:
    """The first row of the statement's answer, if any. A connection of its own: for checks, not for load."""

    async def ask() -> tuple[object, ...] | None:
        connection = await asyncpg.connect(url)
        try:
            row = await connection.fetchrow(sql, *arguments)
        finally:
            await connection.close()
        return None if row is None else tuple(row)

    return asyncio.run(ask())


def fetch_number(url: str, sql: str, *arguments: object) -> int:
    """The one number that the statement answers.

    Raises:
        LookupError: it answered nothing, or something else.
    """
    row = fetch_row(url, sql, *arguments)
    if row is None or not isinstance(row[0], int):
        raise LookupError(f"{sql} answered {row}")
    return row[0]
