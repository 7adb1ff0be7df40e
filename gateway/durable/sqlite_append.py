"""The append on SQLite: one transaction of a few prepared statements, each run over all its rows in the writer's thread."""

from __future__ import annotations

from functools import cache
from typing import Final

import aiosqlite
from sqlalchemy import Table

from gateway.durable.rows import Batch
from gateway.durable.sqlite_errors import translated_commit
from gateway.durable.written import How, conflict_text, insert_text, prove_in_order, written, written_columns

_GATE: Final = (
    "UPDATE shards SET checkpoint = ?, digest = ? WHERE shard = ? AND epoch = ? AND checkpoint = ? AND digest = ? AND "
)
_OPEN: Final = f"{_GATE} state = 'open'"
_RECOVERING: Final = f"{_GATE} state = 'recovering' AND owner = ?"


async def append(raw: aiosqlite.Connection, batch: Batch, owner: str | None) -> bool:
    """As `Ledger.append`, on a connection that is closed when this raises."""
    prove_in_order(batch)
    rows = written(batch)
    await raw.execute("BEGIN IMMEDIATE")
    if not await _pass_gate(raw, batch, owner):
        await raw.execute("ROLLBACK")
        return False
    for one in rows:
        await raw.executemany(_row_text(one.table, one.how), one.rows())
    with translated_commit():
        await raw.execute("COMMIT")
    return True


async def _pass_gate(raw: aiosqlite.Connection, batch: Batch, owner: str | None) -> bool:
    moved = [batch.last_seq, batch.digest]
    expected = [batch.shard, batch.epoch, batch.first_seq - 1, batch.previous_digest]
    if owner is None:
        cursor = await raw.execute(_OPEN, [*moved, *expected])
    else:
        cursor = await raw.execute(_RECOVERING, [*moved, *expected, owner])
    return cursor.rowcount == 1


@cache
def _row_text(table: Table, how: How) -> str:
    values = ", ".join("?" * len(written_columns(table)))
    return insert_text(table, f"VALUES ({values})") + conflict_text(table, how)
