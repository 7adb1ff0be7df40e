"""Batches for the ledger as a flusher would make them, with as much in them as a test names."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.domain.event import GENESIS, chain
from gateway.domain.identifier import ReservationId, mint_random_part
from gateway.domain.reservation import Line, Reservation, State
from gateway.durable.ledger import (
    Batch,
    EventRow,
    Ledger,
    LevelRow,
    RequestRow,
    ReservationRow,
    ShardRow,
    SkuRow,
    SourceRow,
)

NOW_MS = 1_790_000_000_000
OWNER = "gateway-1"


@dataclass
class Log:
    """A shard's log as its flusher knows it: where it ends and under which epoch it writes."""

    shard: int = 0
    epoch: int = 1
    seq: int = 0
    digest: str = GENESIS

    def next(self, events: int = 1) -> Batch:
        """A batch of bare events that continues the log; the log itself stays where it is."""
        first = self.seq + 1
        batch = Batch(self.shard, self.epoch, first, self.seq + events, self.digest, "")
        for seq in range(first, first + events):
            payload = f"E\t{seq}\t{self.epoch}\tstock.reserved\t{NOW_MS + seq}\tmain\tkey:test\t\t\tcart-{seq}"
            digest = chain(batch.events[-1].digest if batch.events else self.digest, payload)
            batch.events.append(
                EventRow(self.epoch, seq, seq, "stock.reserved", NOW_MS + seq, "main", None, payload, digest)
            )
        batch.digest = batch.events[-1].digest
        return batch

    def moved_past(self, batch: Batch) -> Log:
        """The log after the batch is stored."""
        return Log(self.shard, self.epoch, batch.last_seq, batch.digest)

    def at(self, row: ShardRow) -> bool:
        """Whether the stored row ends where this log does."""
        return (row.checkpoint, row.digest) == (self.seq, self.digest)


@dataclass
class Hold:
    """A reservation to be stored: what a test cares about, everything else by default."""

    random_part: str = field(default_factory=mint_random_part)
    state: State = "held"
    shop: str = "main"
    reference: str = ""
    customer: str = ""
    lines: list[Line] = field(default_factory=lambda: [Line("tee", "main", 1)])
    created_seq: int = 1
    created_ms: int = NOW_MS
    deadline_ms: int = NOW_MS + 300_000
    ended_ms: int | None = None
    seq: int = 1

    def packed(self) -> str:
        """The text a script would have logged."""
        return Reservation(
            ReservationId(0, 1, self.created_seq, self.random_part),
            self.state,
            self.deadline_ms,
            1,
            self.seq,
            self.created_ms,
            None,
            self.ended_ms,
            self.shop,
            "cart",
            self.reference,
            self.customer,
            "web",
            "",
            self.lines,
        ).pack()

    def row(self) -> ReservationRow:
        """The row a flusher would make of it."""
        skus = tuple(dict.fromkeys(line.sku for line in self.lines))
        return ReservationRow(
            self.random_part,
            self.shop,
            self.state,
            self.reference,
            self.customer,
            skus[0] if len(skus) == 1 else None,
            skus if len(skus) > 1 else (),
            1,
            self.created_seq,
            self.created_ms,
            self.deadline_ms,
            self.ended_ms,
            1,
            self.seq,
            self.packed(),
        )


def level_row(
    sku: str,
    location: str = "main",
    *,
    shop: str = "main",
    on_hand: int = 10,
    held: int = 0,
    committed: int = 0,
    seq: int = 1,
) -> LevelRow:
    """A level after the change at `seq`; its version is the seq."""
    return LevelRow(shop, sku, location, on_hand, held, committed, 0, 0, seq, 1, seq, NOW_MS + seq)


def add(
    batch: Batch,
    *rows: LevelRow | SourceRow | SkuRow | ReservationRow | RequestRow | Hold,
) -> Batch:
    """The batch with the rows in it, each under its key."""
    for given in rows:
        row = given.row() if isinstance(given, Hold) else given
        match row:
            case LevelRow():
                batch.levels[row.shop, row.sku, row.location] = row
            case SourceRow():
                batch.sources[row.shop, row.sku, row.location, row.source] = row
            case SkuRow():
                batch.skus[row.shop, row.sku] = row
            case ReservationRow():
                batch.reservations[row.random_part] = row
            case RequestRow():
                batch.requests[row.record] = row
    return batch


async def opened(ledger: Ledger, shard: int = 0) -> Log:
    """The shard is open under a new epoch of ours; returns its log, which is empty on a new store."""
    seen = await ledger.read_shard(shard)
    row = await ledger.raise_epoch(shard, seen.epoch, OWNER, lease_ms=10_000)
    assert row is not None
    assert await ledger.open_shard(shard, row.epoch, OWNER, 1, 0, [])
    return Log(shard, row.epoch, row.checkpoint, row.digest)


async def stored(
    ledger: Ledger, log: Log, *rows: LevelRow | SourceRow | SkuRow | ReservationRow | RequestRow | Hold
) -> Log:
    """One batch with these rows is stored; it has as many events as the highest seq among them asks for."""
    batch = add(log.next(max([log.seq + 1, *(getattr(row, "seq", 0) for row in rows)]) - log.seq), *rows)
    assert await ledger.append(batch)
    return log.moved_past(batch)
