"""The append on SQLite: one transaction of a few prepared statements, each run over all its rows in the writer's thread."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import aiosqlite
from sqlalchemy import Table

from gateway.domain.totals import Totals
from gateway.durable import schema
from gateway.durable.rows import Batch
from gateway.durable.sqlite_errors import translated_commit
from gateway.durable.totals import READ, SQLITE_BEFORE, SQLITE_MOVE, moved_by, prove_totals, sqlite_keys
from gateway.durable.written import How, Written, conflict_text, insert_text, prove_in_order, written, written_columns

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
        if one.table is schema.levels:
            await _store_levels(raw, batch, one)
        else:
            await raw.executemany(_row_text(one.table, one.how), one.rows())
    if batch.totals:
        sql, values = READ.bound("sqlite", {"of_shard": batch.shard})
        prove_totals(batch, await _totals(raw, sql, values))
    with translated_commit():
        await raw.execute("COMMIT")
    return True


async def _store_levels(raw: aiosqlite.Connection, batch: Batch, levels: Written) -> None:
    """The levels are stored, and the totals moved by what they differ from those before."""
    before = await _totals(raw, SQLITE_BEFORE, [sqlite_keys(batch)])
    await raw.executemany(_row_text(levels.table, levels.how), levels.rows())
    await raw.execute(SQLITE_MOVE, [*moved_by(batch, before), batch.shard])


async def _totals(raw: aiosqlite.Connection, sql: str, values: list[Any]) -> Totals:
    ((*totals,),) = await raw.execute_fetchall(sql, values)
    return Totals(*totals)


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
