"""The append on PostgreSQL.

Measured with batches of 2,000 new reservations, all of them keyed, on PostgreSQL 18 with fsync, two shared cores:
array parameters and `unnest` 24,000 to 28,000 events/s, COPY for what is new by law 36,000 to 51,000; for batches of
one and of fifty both take the same time. What is left is mostly the work of nine indexes. So new rows travel by COPY,
changed ones by `unnest`. To delete what may be there and COPY it anew was tried for requests: while the statistics
of a young table are stale, the planner reads all of it for each batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Final

import asyncpg
from sqlalchemy import BigInteger, Boolean, Integer, Table

from gateway.domain.totals import Totals
from gateway.durable import schema
from gateway.durable.postgres_copy import copy_rows
from gateway.durable.postgres_transaction import BEGIN, RawConnection, commit
from gateway.durable.rows import Batch
from gateway.durable.totals import READ, postgres_text, prove_totals
from gateway.durable.written import (
    How,
    Written,
    conflict_text,
    insert_text,
    prove_in_order,
    written,
    written_columns,
)

#: About half a millisecond of rows; a batch at once would keep requests waiting for ten.
ROWS_BETWEEN_YIELDS: Final = 200
ROWS_BETWEEN_YIELDS_LATE: Final = 1_000

#: Each statement is planned once per connection, for any number of rows. Levels are then looked up by their key, also where the
#: plan was made while their table was small: it is kept until the next ANALYZE.
_PLANS: Final = "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off"

_REQUESTS_KEY: Final = "requests_pkey"


async def append(raw: RawConnection, batch: Batch, owner: str | None) -> bool:
    """As `Ledger.append`, on a connection that is cut off when this raises.

    A request's record is nearly always new, and COPY is twice as fast as an upsert. So it is tried first; when
    a key did come back, the transaction starts again and overwrites.
    """
    prove_in_order(batch)
    rows = written(batch)
    try:
        return await _transaction(raw, batch, owner, [_new_request(one) for one in rows])
    except asyncpg.UniqueViolationError as exc:
        if exc.constraint_name != _REQUESTS_KEY:
            raise
        await raw.execute("ROLLBACK")
    return await _transaction(raw, batch, owner, rows)


def _new_request(one: Written) -> Written:
    return replace(one, how="insert") if one.table is schema.requests else one


async def _transaction(raw: RawConnection, batch: Batch, owner: str | None, rows: Sequence[Written]) -> bool:
    if await raw.execute(f"{BEGIN}; {_PLANS}; {_gate(batch, owner)}") != "UPDATE 1":
        await raw.execute("ROLLBACK")
        return False
    yields_after = ROWS_BETWEEN_YIELDS_LATE if batch.is_late else ROWS_BETWEEN_YIELDS
    for one in rows:
        if one.how == "insert":
            await copy_rows(raw, batch.shard, one, yields_after)
        elif one.table is schema.levels:
            await raw.execute(_levels_text(), *zip(*one.rows(), strict=True), batch.shard)
        else:
            await raw.execute(_unnest_text(one.table, one.how), *zip(*one.rows(), strict=True))
    if batch.totals:
        await _compare(raw, batch)
    await commit(raw)
    return True


async def _compare(raw: RawConnection, batch: Batch) -> None:
    sql, values = READ.bound("postgresql", {"of_shard": batch.shard})
    ((*totals,),) = await raw.fetch(sql, *values)
    prove_totals(batch, Totals(*totals))


def _gate(batch: Batch, owner: str | None) -> str:
    """The gate as text, so that it travels in one round trip with BEGIN, which takes no parameters."""
    state = "state = 'open'"
    if owner is not None:
        state = f"state = 'recovering' AND owner = {_literal(owner)}"
    return (
        f"UPDATE shards SET checkpoint = {batch.last_seq:d}, digest = {_literal(batch.digest)}"
        f" WHERE shard = {batch.shard:d} AND epoch = {batch.epoch:d} AND checkpoint = {batch.first_seq - 1:d}"
        f" AND digest = {_literal(batch.previous_digest)} AND {state}"
    )


def _literal(word: str) -> str:
    """A word inside a statement in a form that has nothing to escape, whatever the word and the server's settings."""
    return f"convert_from(decode('{word.encode().hex()}', 'hex'), 'UTF8')"


@cache
def _unnest_text(table: Table, how: How) -> str:
    """INSERT of one array per column, so that the statement is the same for any number of rows."""
    return insert_text(table, f"SELECT * FROM unnest({', '.join(_arrays(table))})") + conflict_text(table, how)


@cache
def _levels_text() -> str:
    return postgres_text(_arrays(schema.levels))


def _arrays(table: Table) -> tuple[str, ...]:
    columns = enumerate(written_columns(table), start=1)
    return tuple(f"CAST(${position} AS {_type(table, name)}[])" for position, name in columns)


def _type(table: Table, name: str) -> str:
    kind = table.c[name].type
    if isinstance(kind, BigInteger):
        return "bigint"
    if isinstance(kind, Integer):
        return "integer"
    return "boolean" if isinstance(kind, Boolean) else "text"
