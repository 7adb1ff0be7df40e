"""What a batch writes, table by table, in the order in which it is written.

Stored rows are overwritten without asking whether they are older: the gate admits batches in order, and every
row of a batch is proven here to lie within the batch, so it is newer than all that is stored. A guard in the
upsert (`WHERE excluded.seq > seq`) would cost a comparison per row and, if it ever took effect, hide that the
log and its rows disagree; `prove_in_order` says so instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any, Final, Literal

from sqlalchemy import Table

from gateway.durable import schema
from gateway.durable.ledger import LedgerCorrupt
from gateway.durable.rows import Batch

#: `insert`: the rows are new by law, a conflict is an alarm. `upsert`: the newest row per key stays. `keep`:
#: the key is the whole row, so that what is there already is right.
How = Literal["insert", "upsert", "keep"]

_ATTRIBUTES: Final = {"id": "random_part"}


@dataclass(frozen=True, slots=True)
class Written:
    """What becomes rows of one table."""

    table: Table
    how: How
    items: Sequence[Any]
    read: Callable[[Any], tuple[Any, ...]]

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The rows, each a tuple in the order of `written_columns`; made one by one, so that requests are let through between."""
        return map(self.read, self.items)


@cache
def written_columns(table: Table) -> tuple[str, ...]:
    """The columns in the order of a written row: the shard first, where the table has one."""
    names = [column.name for column in table.columns]
    return tuple(sorted(names, key=lambda name: name != "shard"))


def _reader(table: Table) -> Callable[[Any], tuple[Any, ...]]:
    """Takes a row object apart into the table's columns without the shard."""
    columns = [name for name in written_columns(table) if name != "shard"]
    return attrgetter(*(_ATTRIBUTES.get(name, name) for name in columns))


def _as_it_is(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return row


_EVENT: Final = _reader(schema.events)
_LEVEL: Final = _reader(schema.levels)
_SOURCE: Final = _reader(schema.level_sources)
_SKU: Final = _reader(schema.skus)
_RESERVATION: Final = _reader(schema.reservations)
_REQUEST: Final = _reader(schema.requests)


def written(batch: Batch) -> list[Written]:
    """Everything the batch writes beside the gate; tables without rows are left out.

    A reservation whose creation lies in the batch is new, all others are there. Requests are `upsert`: a key
    may come back after its record was forgotten by Redis.
    """
    shard = batch.shard
    new = [row for row in batch.reservations.values() if row.created_seq >= batch.first_seq]
    changed = [row for row in batch.reservations.values() if row.created_seq < batch.first_seq]
    skus = [
        (row.shop, sku, row.created_ms, row.random_part)
        for row in new
        if row.sku is None
        for sku in dict.fromkeys(row.skus)
    ]

    def placed(reader: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any], tuple[Any, ...]]:
        return lambda row: (shard, *reader(row))

    everything = [
        Written(schema.events, "insert", batch.events, placed(_EVENT)),
        Written(schema.reservations, "insert", new, placed(_RESERVATION)),
        Written(schema.reservations, "upsert", changed, placed(_RESERVATION)),
        Written(schema.reservation_skus, "keep", skus, _as_it_is),
        Written(schema.levels, "upsert", [*batch.levels.values()], placed(_LEVEL)),
        Written(schema.level_sources, "upsert", [*batch.sources.values()], _SOURCE),
        Written(schema.skus, "upsert", [*batch.skus.values()], _SKU),
        Written(schema.requests, "upsert", [*batch.requests.values()], placed(_REQUEST)),
    ]
    return [one for one in everything if one.items]


def prove_in_order(batch: Batch) -> None:
    """The batch's events are exactly its seqs, one after the other, no row stands outside of them, and totals are told at the end.

    Raises:
        LedgerCorrupt: the log and the rows that were made from it disagree; nothing was sent.
    """
    first, last = batch.first_seq, batch.last_seq
    if first > last or [event.seq for event in batch.events] != list(range(first, last + 1)):
        raise LedgerCorrupt(f"the events of shard {batch.shard} are not exactly {first}..{last}")
    if any(seq != last for seq in batch.totals):
        raise LedgerCorrupt(f"shard {batch.shard} told its totals at {[*batch.totals]}, within {first}..{last}")
    for noun, rows in (
        ("level", batch.levels),
        ("sku", batch.skus),
        ("reservation", batch.reservations),
        ("request", batch.requests),
    ):
        for key, row in rows.items():
            if not first <= row.seq <= last:
                raise LedgerCorrupt(f"the {noun} {key} is of seq {row.seq}, outside of {first}..{last}")


def insert_text(table: Table, source: str) -> str:
    """INSERT of written rows from a source such as `VALUES (…)`; a conflict is an error."""
    return f"INSERT INTO {table.name} ({', '.join(written_columns(table))}) {source}"


def conflict_text(table: Table, how: How) -> str:
    """What follows an INSERT so that it does as `how` says. Both dialects read it alike."""
    if how == "insert":
        return ""
    keys = [column.name for column in table.primary_key]
    if how == "keep":
        return f" ON CONFLICT ({', '.join(keys)}) DO NOTHING"
    changes = ", ".join(f"{name} = excluded.{name}" for name in written_columns(table) if name not in keys)
    return f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}"
