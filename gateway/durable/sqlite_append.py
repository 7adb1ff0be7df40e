"""The append on SQLite: one transaction of a few prepared statements, all in one visit to the writer's thread.

A statement takes up to `ROWS_MAX` rows as its parameters. Run over row after row, as the driver's `executemany` does, it asked for the
interpreter's lock for each of them, and stood still while the gateway was making the next batch; SQLite itself works without it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from functools import cache
from itertools import chain, islice
from typing import Any, Final

import aiosqlite
from sqlalchemy import Table

from gateway.domain.totals import Totals
from gateway.durable.rows import Batch
from gateway.durable.sqlite_errors import translated_commit
from gateway.durable.totals import READ, SQLITE_BEFORE, SQLITE_MOVE, moved_by, prove_totals, sqlite_keys
from gateway.durable.written import How, Written, conflict_text, insert_text, prove_in_order, written, written_columns

_GATE: Final = (
    "UPDATE shards SET checkpoint = ?, digest = ? WHERE shard = ? AND epoch = ? AND checkpoint = ? AND digest = ? AND "
)
_OPEN: Final = f"{_GATE} state = 'open'"
_RECOVERING: Final = f"{_GATE} state = 'recovering' AND owner = ?"

#: For how many rows a statement has places. The least that is enough is taken, so that a batch of one event binds few.
PLACES: Final = (1, 8, 64, 256, 1024)
ROWS_MAX: Final = PLACES[-1]
#: Rows taken apart before requests are let through, about a third of a millisecond.
ROWS_BETWEEN_YIELDS: Final = 200

#: A statement and what it is bound to.
Bound = tuple[str, list[Any]]


async def append(raw: aiosqlite.Connection, batch: Batch, owner: str | None) -> bool:
    """As `Ledger.append`, on a connection that is closed when this raises.

    Cancelled it goes on in the thread, to its COMMIT: as after any lost answer, the gate tells whether it came.
    """
    prove_in_order(batch)
    statements: list[Bound] = []
    for one in written(batch):
        statements += await _bound(one)
    # The driver offers no other way to run more than one statement in its thread.
    done = await raw._execute(_transaction, raw._conn, batch, owner, statements)  # type: ignore[no-untyped-call]
    return bool(done)


async def _bound(rows: Written) -> list[Bound]:
    """The statements that store the rows."""
    width, left = len(written_columns(rows.table)), rows.rows()
    made: list[Bound] = []
    for at in range(0, len(rows.items), ROWS_MAX):
        count = min(len(rows.items) - at, ROWS_MAX)
        values: list[Any] = []
        while len(values) < count * width:
            values += chain.from_iterable(islice(left, min(count - len(values) // width, ROWS_BETWEEN_YIELDS)))
            await asyncio.sleep(0)
        places = next(places for places in PLACES if places >= count)
        values += [0] * (width * (places - count))  # the driver takes four times as long over a None
        made.append((_rows_text(rows.table, rows.how, places), [*values, count]))
    return made


@cache
def _rows_text(table: Table, how: How, places: int) -> str:
    """INSERT of as many rows as the last parameter says; those behind them are not looked at."""
    row = f"({', '.join('?' * len(written_columns(table)))})"
    # Without WHERE, SQLite takes ON CONFLICT for a join's ON.
    source = f"SELECT * FROM (VALUES {', '.join([row] * places)}) WHERE true LIMIT ?"
    return insert_text(table, source) + conflict_text(table, how)


# -- in the writer's thread -----------------------------------------------------------------------------------


def _transaction(connection: sqlite3.Connection, batch: Batch, owner: str | None, statements: list[Bound]) -> bool:
    connection.execute("BEGIN IMMEDIATE")
    if not _pass_gate(connection, batch, owner):
        connection.execute("ROLLBACK")
        return False
    if batch.levels:
        before = _totals(connection, SQLITE_BEFORE, [sqlite_keys(batch)])
        connection.execute(SQLITE_MOVE, [*moved_by(batch, before), batch.shard])
    for text, values in statements:
        connection.execute(text, values)
    if batch.totals:
        prove_totals(batch, _totals(connection, *READ.bound("sqlite", {"of_shard": batch.shard})))
    with translated_commit():
        connection.execute("COMMIT")
    return True


def _totals(connection: sqlite3.Connection, sql: str, values: list[Any]) -> Totals:
    ((*totals,),) = connection.execute(sql, values).fetchall()
    return Totals(*totals)


def _pass_gate(connection: sqlite3.Connection, batch: Batch, owner: str | None) -> bool:
    values = [batch.last_seq, batch.digest, batch.shard, batch.epoch, batch.first_seq - 1, batch.previous_digest]
    if owner is None:
        return connection.execute(_OPEN, values).rowcount == 1
    return connection.execute(_RECOVERING, [*values, owner]).rowcount == 1
