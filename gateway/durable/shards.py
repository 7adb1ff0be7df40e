"""The shards' rows: who may write, since which epoch, and where older epochs ended.

Every move is a compare-and-set under the row's lock, the same one that the gate of an append takes: an epoch
cannot be raised in the middle of a flush.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import and_, case, or_, select, text, update

from gateway.domain.event import GENESIS
from gateway.durable.database import Connection
from gateway.durable.ledger import LedgerCorrupt
from gateway.durable.rows import ShardRow
from gateway.durable.schema import epoch_history, shards
from gateway.durable.statement import Statement, StoreClock, number, word

_MAKE: Final = Statement(
    text(
        "INSERT INTO shards"
        " (shard, epoch, generation, state, owner, owner_deadline_ms, checkpoint, digest, rebuilt_ms)"
        f" VALUES (:shard, 0, 0, 'recovering', '', 0, 0, '{GENESIS}', 0) ON CONFLICT DO NOTHING"
    )
)
_READ: Final = Statement(
    select(
        shards.c.shard,
        shards.c.epoch,
        shards.c.generation,
        shards.c.state,
        shards.c.owner,
        shards.c.owner_deadline_ms,
        shards.c.checkpoint,
        shards.c.digest,
        shards.c.rebuilt_ms,
    ).where(shards.c.shard == number("of_shard"))
)
_RAISE: Final = Statement(
    update(shards)
    .where(
        shards.c.shard == number("of_shard"),
        shards.c.epoch == number("seen_epoch"),
        # A shard that halted waits for the operator; one in recovery is its owner's until the deadline.
        or_(
            shards.c.state == "open",
            and_(
                shards.c.state == "recovering",
                or_(shards.c.owner_deadline_ms <= StoreClock(), shards.c.owner == word("new_owner")),
            ),
        ),
    )
    .values(
        epoch=shards.c.epoch + 1,
        state="recovering",
        owner=word("new_owner"),
        owner_deadline_ms=StoreClock() + number("lease_ms"),
    )
)
_KEEP_CLAIM: Final = Statement(
    update(shards)
    .where(
        shards.c.shard == number("of_shard"),
        shards.c.epoch == number("own_epoch"),
        shards.c.state == "recovering",
        shards.c.owner == word("by_owner"),
    )
    .values(owner_deadline_ms=StoreClock() + number("lease_ms"))
)
_OPEN: Final = Statement(
    update(shards)
    .where(
        shards.c.shard == number("of_shard"),
        shards.c.epoch == number("own_epoch"),
        shards.c.state == "recovering",
        shards.c.owner == word("by_owner"),
    )
    .values(
        state="open",
        owner_deadline_ms=0,
        generation=number("new_generation"),
        rebuilt_ms=case((number("new_rebuilt_ms") > 0, number("new_rebuilt_ms")), else_=shards.c.rebuilt_ms),
    )
)
_END_EPOCH: Final = Statement(
    text("INSERT INTO epoch_history (shard, epoch, end_seq) VALUES (:shard, :epoch, :end_seq) ON CONFLICT DO NOTHING")
)
_ENDS: Final = Statement(
    select(epoch_history.c.epoch, epoch_history.c.end_seq)
    .where(epoch_history.c.shard == number("of_shard"))
    .order_by(epoch_history.c.epoch)
)


def fresh_row(shard: int) -> ShardRow:
    """The row of a shard that nobody has opened yet."""
    return ShardRow(shard, 0, 0, "recovering", "", 0, 0, GENESIS, 0)


async def read_row(connection: Connection, shard: int) -> ShardRow | None:
    """The shard's row as it stands, or None when it was never made."""
    rows = await connection.fetch(_READ, of_shard=shard)
    return ShardRow(*rows[0]) if rows else None


async def make_row(connection: Connection, shard: int) -> ShardRow:
    """The shard's row, made by whoever comes first."""
    await connection.execute(_MAKE, shard=shard)
    ((*columns,),) = await connection.fetch(_READ, of_shard=shard)
    return ShardRow(*columns)


async def raise_epoch(
    connection: Connection, shard: int, seen_epoch: int, owner: str, lease_ms: int
) -> ShardRow | None:
    """As `Ledger.raise_epoch`."""
    await connection.execute(_MAKE, shard=shard)
    moved = await connection.execute(_RAISE, of_shard=shard, seen_epoch=seen_epoch, new_owner=owner, lease_ms=lease_ms)
    return await read_row(connection, shard) if moved else None


async def keep_claim(connection: Connection, shard: int, epoch: int, owner: str, lease_ms: int) -> bool:
    """As `Ledger.keep_claim`."""
    given = {"of_shard": shard, "own_epoch": epoch, "by_owner": owner, "lease_ms": lease_ms}
    return await connection.execute(_KEEP_CLAIM, **given) == 1


async def open_shard(
    connection: Connection,
    shard: int,
    epoch: int,
    owner: str,
    generation: int,
    rebuilt_ms: int,
    ended_epochs: Sequence[tuple[int, int]],
) -> bool:
    """As `Ledger.open_shard`."""
    opened = await connection.execute(
        _OPEN,
        of_shard=shard,
        own_epoch=epoch,
        by_owner=owner,
        new_generation=generation,
        new_rebuilt_ms=rebuilt_ms,
    )
    if not opened:
        # The same owner asks again when the answer to its first call was lost.
        row = await read_row(connection, shard)
        return row is not None and (row.state, row.epoch, row.owner) == ("open", epoch, owner)
    for ended, end_seq in ended_epochs:
        await connection.execute(_END_EPOCH, shard=shard, epoch=ended, end_seq=end_seq)
    recorded = await epoch_ends(connection, shard)
    for ended, end_seq in ended_epochs:
        if recorded[ended] != end_seq:
            raise LedgerCorrupt(
                f"epoch {ended} of shard {shard} ended at {recorded[ended]}, and is now said to end at {end_seq}"
            )
    return True


async def epoch_ends(connection: Connection, shard: int) -> dict[int, int]:
    """Where each ended epoch ended."""
    ends: dict[int, int] = dict(await connection.fetch(_ENDS, of_shard=shard))  # type: ignore[arg-type]
    return ends
