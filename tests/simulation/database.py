"""The durable store: tables in memory behind one lock per shard's row, with transactions that can be frozen, cut off and unknown.

It is the server's side, and runs outside of every process. What it must do like a real one is held by the contract suite, which
runs on it, too. Rows are what `gateway.durable.written` makes of a batch, keyed as the schema keys them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from gateway.domain.totals import Totals
from gateway.durable import schema
from gateway.durable.ledger import LedgerCorrupt
from gateway.durable.rows import Batch, ShardRow
from gateway.durable.shards import fresh_row
from gateway.durable.totals import moved_by, prove_totals
from gateway.durable.written import written, written_columns
from tests.simulation.loop import WORLD

LOCK_TIMEOUT_S: Final = 2.0
IDLE_TIMEOUT_S: Final = 3.0  # after which a transaction whose client says nothing is rolled back

Row = tuple[Any, ...]
Table = dict[Any, Row]


def _keyed(name: str) -> tuple[int, ...]:
    """Where in a written row its primary key stands."""
    table = schema.metadata.tables[name]
    columns = written_columns(table)
    return tuple(columns.index(column.name) for column in table.primary_key)


_KEYED: Final = {
    name: _keyed(name)
    for name in ("events", "reservations", "reservation_skus", "levels", "level_sources", "skus", "requests")
}


_TOTALLED: Final = [written_columns(schema.levels).index(name) for name in Totals._fields]


def totals_of(levels: Iterable[Row]) -> Totals:
    """What these rows of levels add up to."""
    rows = list(levels)
    return Totals(*[sum(row[at] for row in rows) for at in _TOTALLED])


@dataclass
class Tables:
    """Everything that is committed. `rebuilds` are the instants of those that count, by shard."""

    shards: dict[int, ShardRow] = field(default_factory=dict)
    rebuilds: dict[int, tuple[int, ...]] = field(default_factory=dict)
    ends: dict[tuple[int, int], int] = field(default_factory=dict)
    rows: dict[str, Table] = field(default_factory=lambda: {name: {} for name in _KEYED})
    deployment: Any = None


class Aborted(Exception):
    """The transaction is rolled back: its client said nothing for too long, or is gone."""


class Transaction:
    """A writer's transaction: it owns the lock from its first statement to its end."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.is_over = False
        self.changes: list[tuple[str, Any, Any]] = []
        self._idle: asyncio.TimerHandle | None = None

    def pause(self) -> None:
        """The server waits for the client's next word."""
        self._idle = later(IDLE_TIMEOUT_S, self.roll_back)

    def resume(self) -> None:
        """The client has spoken. Raises Aborted."""
        if self._idle is not None:
            self._idle.cancel()
        if self.is_over:
            raise Aborted

    def roll_back(self) -> None:
        """Nothing of it was ever there. Safe to repeat."""
        if not self.is_over:
            self.is_over = True
            self._database.unlock()

    def commit(self) -> None:
        """All of it is there."""
        if self.is_over:
            raise Aborted
        tables = self._database.tables
        for kind, key, value in self.changes:
            if kind == "shards":
                tables.shards[key] = value
            elif kind == "ends":
                tables.ends[key] = value
            elif kind == "rebuilds":
                tables.rebuilds[key] = value
            else:
                tables.rows[kind][key] = value
        self.is_over = True
        self._database.commits += 1
        self._database.unlock()


Granted = Callable[[Transaction | None], None]


class _Waiting(NamedTuple):
    granted: Granted
    timer: asyncio.TimerHandle


def later(delay_s: float, callback: Callable[..., object], *arguments: Any) -> asyncio.TimerHandle:
    """As `call_later`, outside of every process."""
    return asyncio.get_running_loop().call_later(delay_s, callback, *arguments, context=WORLD)


class Database:
    """The server. `now_ms` is its clock."""

    def __init__(self, now_ms: Any) -> None:
        self.tables = Tables()
        self.now_ms = now_ms
        self.commits = 0
        self._is_locked = False
        self._queue: deque[_Waiting] = deque()

    def begin(self, granted: Granted) -> None:
        """`granted` is told a transaction with the lock, or None after the lock timeout."""
        if not self._is_locked:
            self._is_locked = True
            granted(Transaction(self))
            return
        self._queue.append(_Waiting(granted, later(LOCK_TIMEOUT_S, self._give_up, granted)))

    def _give_up(self, granted: Granted) -> None:
        self._queue = deque(one for one in self._queue if one.granted is not granted)
        granted(None)

    def unlock(self) -> None:
        """The next one who waits has the lock."""
        if not self._queue:
            self._is_locked = False
            return
        turn = self._queue.popleft()
        turn.timer.cancel()
        turn.granted(Transaction(self))

    def row(self, shard: int) -> ShardRow:
        """The shard's row, as it is committed."""
        return self.tables.shards.get(shard) or fresh_row(shard)

    # -- the statements of each kind of transaction -----------------------------------------------------------

    def gate(self, transaction: Transaction, batch: Batch, owner: str | None) -> bool:
        """Whether the batch may be stored; the shard's row is then at its end."""
        row = self.tables.shards.get(batch.shard)
        if row is None or (row.epoch, row.checkpoint, row.digest) != (
            batch.epoch,
            batch.first_seq - 1,
            batch.previous_digest,
        ):
            return False
        if (row.state, row.owner) != ("recovering", owner) if owner is not None else row.state != "open":
            return False
        moved = replace(row, checkpoint=batch.last_seq, digest=batch.digest)
        transaction.changes.append(("shards", batch.shard, moved))
        return True

    def store(self, transaction: Transaction, batch: Batch) -> None:
        """The rows of the batch are written, and the totals moved by what its levels differ from those that were stored.

        Raises LedgerCorrupt for a row that is there and must not be, and TotalsDiffer.
        """
        moved = self._moved(transaction, batch)
        prove_totals(batch, moved.totals)
        transaction.changes.append(("shards", batch.shard, moved))
        seen: set[tuple[str, Any]] = set()
        for one in written(batch):
            name = one.table.name
            stored, keyed = self.tables.rows[name], _KEYED[name]
            for row in one.rows():
                key = tuple(row[at] for at in keyed)
                if one.how == "insert" and (key in stored or (name, key) in seen):
                    raise LedgerCorrupt(f"{name} {key} is stored already")
                seen.add((name, key))
                transaction.changes.append((name, key, row))

    def _moved(self, transaction: Transaction, batch: Batch) -> ShardRow:
        """The row that the gate has moved, with the totals after the batch."""
        row: ShardRow = transaction.changes[-1][2]
        stored = self.tables.rows["levels"]
        before = totals_of(stored[place] for place in batch.levels if place in stored)
        by = moved_by(batch, before)
        return replace(row, totals=Totals(*[old + moved for old, moved in zip(row.totals, by, strict=True)]))

    def raise_epoch(
        self,
        transaction: Transaction,
        shard: int,
        seen: int,
        owner: str,
        lease_ms: int,
        *,
        by_operator: bool,
        above: int,
    ) -> ShardRow | None:
        """As `Ledger.raise_epoch`."""
        row = self.row(shard)
        is_claimed = row.state == "recovering" and row.owner_deadline_ms > self.now_ms() and row.owner != owner
        if row.epoch != seen or is_claimed or (row.halted_reason is not None and not by_operator):
            transaction.changes.append(("shards", shard, row))
            return None
        epoch, until_ms = max(seen, above) + 1, self.now_ms() + lease_ms
        raised = replace(row, epoch=epoch, state="recovering", owner=owner, owner_deadline_ms=until_ms)
        transaction.changes.append(("shards", shard, raised))
        return raised

    def keep_claim(self, transaction: Transaction, shard: int, epoch: int, owner: str, lease_ms: int) -> bool:
        """As `Ledger.keep_claim`."""
        row = self.row(shard)
        if (row.epoch, row.state, row.owner) != (epoch, "recovering", owner):
            return False
        transaction.changes.append(("shards", shard, replace(row, owner_deadline_ms=self.now_ms() + lease_ms)))
        return True

    def halt(self, transaction: Transaction, shard: int, epoch: int, reason: str) -> bool:
        """As `Ledger.halt`."""
        row = self.row(shard)
        if row.epoch == epoch and row.state != "halted":
            row = replace(row, state="halted", halted_reason=reason, owner="", owner_deadline_ms=0)
        transaction.changes.append(("shards", shard, row))
        return (row.state, row.epoch) == ("halted", epoch)

    def recount(self, transaction: Transaction, shard: int, epoch: int, owner: str) -> bool:
        """As `Ledger.recount`."""
        row = self.row(shard)
        if (row.epoch, row.state, row.owner) != (epoch, "recovering", owner):
            return False
        totals = totals_of(level for level in self.tables.rows["levels"].values() if level[0] == shard)
        transaction.changes.append(("shards", shard, replace(row, totals=totals)))
        return True

    def rebuilds_within(self, shard: int, window_ms: int) -> int:
        """As `Ledger.rebuilds_within`."""
        return sum(at_ms > self.now_ms() - window_ms for at_ms in self.tables.rebuilds.get(shard, ()))

    def open_shard(
        self,
        transaction: Transaction,
        shard: int,
        epoch: int,
        owner: str,
        generation: int,
        rebuilt_ms: int,
        ended: Any,
        *,
        counts_as_rebuild: bool,
    ) -> bool:
        """As `Ledger.open_shard`."""
        row = self.row(shard)
        if (row.epoch, row.state, row.owner) != (epoch, "recovering", owner):
            return (row.state, row.epoch, row.owner) == ("open", epoch, owner)
        opened = replace(
            row,
            state="open",
            halted_reason=None,
            owner_deadline_ms=0,
            generation=generation,
            rebuilt_ms=rebuilt_ms or row.rebuilt_ms,
        )
        transaction.changes.append(("shards", shard, opened))
        if row.halted_reason is not None:
            transaction.changes.append(("rebuilds", shard, ()))
        elif counts_as_rebuild:
            counted = (*self.tables.rebuilds.get(shard, ()), self.now_ms())
            transaction.changes.append(("rebuilds", shard, counted))
        for ended_epoch, end_seq in ended:
            known = self.tables.ends.get((shard, ended_epoch), end_seq)
            if known != end_seq:
                raise LedgerCorrupt(f"epoch {ended_epoch} of shard {shard} ended at {known}, not at {end_seq}")
            transaction.changes.append(("ends", (shard, ended_epoch), end_seq))
        return True
