"""The durable running totals of a shard: moved by each append, and proven by the events that tell those of Redis.

They move by what a level's new row differs from the row that is stored, never by what an event says it did. Redis moves its
own by what its operations did, never by what a level holds. So the two sums come together by two ways, and whatever changes a
counter beside the scripts, in either store, parts them at the level's next change.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Final

from sqlalchemy import select

from gateway.domain.totals import Totals
from gateway.durable import schema
from gateway.durable.ledger import TotalsDiffer
from gateway.durable.rows import Batch
from gateway.durable.statement import Statement, number
from gateway.durable.written import conflict_text, insert_text, written_columns

_NAMES: Final = Totals._fields

#: The totals in the shard's row, in the order of `Totals`.
COLUMNS: Final = tuple(schema.shards.c[name] for name in _NAMES)

READ: Final = Statement(select(*COLUMNS).where(schema.shards.c.shard == number("of_shard")))


def prove_totals(batch: Batch, stored: Totals) -> None:
    """The totals that the batch's last event tells are the stored ones, after the batch.

    Raises:
        TotalsDiffer: they are not; the transaction must not be committed.
    """
    for seq, told in batch.totals.items():
        differences = told.against(stored)
        if differences:
            words = ", ".join(f"{name} is {hot} in Redis and {durable} here" for name, hot, durable in differences)
            raise TotalsDiffer(f"the totals of shard {batch.shard} differ at seq {seq} of epoch {batch.epoch}: {words}")


@cache
def postgres_text(arrays: tuple[str, ...]) -> str:
    """The upsert of levels, which also moves the totals. `arrays` are those of the written columns; one parameter more is the shard.

    All parts of one statement see the tables as they were before it, so the rows that are overwritten can still be read. Each is
    looked up by its key: a join would be planned by what the table was when the statement was prepared, and LIMIT keeps it from
    becoming one. The shard is told so that either index of the table finds it in one descent, whichever the plan was made with.
    """
    columns = written_columns(schema.levels)
    shard = len(columns) + 1
    named = dict(zip(columns, arrays, strict=True))
    given = [*(column.name for column in schema.levels.primary_key), *_NAMES]
    source = f"unnest({', '.join(named[name] for name in given)}) AS given ({', '.join(given)})"
    before = ", ".join(f"level.{name}" for name in _NAMES)
    sums = ", ".join(f"sum(given.{name} - coalesce(before.{name}, 0)) AS {name}" for name in _NAMES)
    moves = ", ".join(f"{name} = shards.{name} + moved.{name}" for name in _NAMES)
    stored = insert_text(schema.levels, f"SELECT * FROM unnest({', '.join(arrays)})")
    return (
        f"WITH moved AS (SELECT {sums} FROM {source} LEFT JOIN LATERAL (SELECT {before} FROM levels AS level"
        f" WHERE level.shard = ${shard} AND level.shop = given.shop AND level.sku = given.sku"
        " AND level.location = given.location LIMIT 1) AS before ON true),"
        f" stored AS ({stored}{conflict_text(schema.levels, 'upsert')})"
        f" UPDATE shards SET {moves} FROM moved WHERE shards.shard = ${shard}"
    )


#: What the given levels hold before they are overwritten. The join's order is told, so that each is looked up by its key.
SQLITE_BEFORE: Final = (
    f"SELECT {', '.join(f'coalesce(sum(level.{name}), 0)' for name in _NAMES)}"
    " FROM json_each(?) AS given CROSS JOIN levels AS level ON level.shop = json_extract(given.value, '$[0]')"
    " AND level.sku = json_extract(given.value, '$[1]') AND level.location = json_extract(given.value, '$[2]')"
)
SQLITE_MOVE: Final = f"UPDATE shards SET {', '.join(f'{name} = {name} + ?' for name in _NAMES)} WHERE shard = ?"


def sqlite_keys(batch: Batch) -> str:
    """The batch's levels, as `SQLITE_BEFORE` takes them."""
    return json.dumps([*batch.levels], ensure_ascii=False)


def moved_by(batch: Batch, before: Totals) -> list[int]:
    """By what the totals move when the batch's levels take the place of those that added up to `before`."""
    return [
        sum(getattr(row, name) for row in batch.levels.values()) - old for name, old in zip(_NAMES, before, strict=True)
    ]
