"""The shards' rows: who may write, since which epoch, and where older epochs ended.

Every move is a compare-and-set under the row's lock, the same one that the gate of an append takes: an epoch
cannot be raised in the middle of a flush.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import case, delete, func, insert, null, or_, select, text, update

from gateway.domain.event import GENESIS
from gateway.domain.totals import Totals
from gateway.durable.database import Connection
from gateway.durable.ledger import LedgerCorrupt
from gateway.durable.rows import ShardRow
from gateway.durable.schema import epoch_history, levels, rebuilds, shards
from gateway.durable.statement import Statement, StoreClock, number, word
from gateway.durable.totals import COLUMNS as TOTALS

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
        shards.c.halted_reason,
        *TOTALS,
    ).where(shards.c.shard == number("of_shard"))
)
_RAISE: Final = Statement(
    update(shards)
    .where(
        shards.c.shard == number("of_shard"),
        shards.c.epoch == number("seen_epoch"),
        # A shard that halted waits for the operator, also when the repair that was at it died.
        or_(shards.c.halted_reason.is_(None), number("by_operator") == 1),
        # One in recovery is its owner's until the deadline.
        or_(
            shards.c.state != "recovering",
            shards.c.owner_deadline_ms <= StoreClock(),
            shards.c.owner == word("new_owner"),
        ),
    )
    .values(
        epoch=case((shards.c.epoch > number("above"), shards.c.epoch), else_=number("above")) + 1,
        state="recovering",
        owner=word("new_owner"),
        owner_deadline_ms=StoreClock() + number("lease_ms"),
    )
)
#: The row is in recovery, under the epoch of the owner who asks.
_OWNED: Final = (
    shards.c.shard == number("of_shard"),
    shards.c.epoch == number("own_epoch"),
    shards.c.state == "recovering",
    shards.c.owner == word("by_owner"),
)
_KEEP_CLAIM: Final = Statement(
    update(shards).where(*_OWNED).values(owner_deadline_ms=StoreClock() + number("lease_ms"))
)
_OPEN: Final = Statement(
    update(shards)
    .where(*_OWNED)
    .values(
        state="open",
        halted_reason=null(),
        owner_deadline_ms=0,
        generation=number("new_generation"),
        rebuilt_ms=case((number("new_rebuilt_ms") > 0, number("new_rebuilt_ms")), else_=shards.c.rebuilt_ms),
    )
)
_HALT: Final = Statement(
    update(shards)
    .where(
        shards.c.shard == number("of_shard"),
        shards.c.epoch == number("own_epoch"),
        shards.c.state != "halted",
    )
    .values(state="halted", halted_reason=word("why"), owner="", owner_deadline_ms=0)
)
_RECOUNT: Final = Statement(
    update(shards)
    .where(*_OWNED)
    .values(
        {
            name: select(func.coalesce(func.sum(levels.c[name]), 0))
            .where(levels.c.shard == number("of_shard"))
            .scalar_subquery()
            for name in Totals._fields
        }
    )
)
_COUNT_REBUILD: Final = Statement(
    # By the store's clock, as the openings of several gateways are compared.
    insert(rebuilds).values(shard=number("of_shard"), epoch=number("own_epoch"), at_ms=StoreClock())
)
_REBUILDS: Final = Statement(
    select(func.count())
    .select_from(rebuilds)
    .where(rebuilds.c.shard == number("of_shard"), rebuilds.c.at_ms > StoreClock() - number("window_ms"))
)
_FORGET_REBUILDS: Final = Statement(delete(rebuilds).where(rebuilds.c.shard == number("of_shard")))
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
    return _row(*rows[0]) if rows else None


async def make_row(connection: Connection, shard: int) -> ShardRow:
    """The shard's row, made by whoever comes first."""
    await connection.execute(_MAKE, shard=shard)
    ((*columns,),) = await connection.fetch(_READ, of_shard=shard)
    return _row(*columns)


def _row(*columns: Any) -> ShardRow:
    own = len(columns) - len(TOTALS)
    return replace(ShardRow(*columns[:own]), totals=Totals(*columns[own:]))


async def raise_epoch(
    connection: Connection, shard: int, seen_epoch: int, owner: str, lease_ms: int, *, by_operator: bool, above: int
) -> ShardRow | None:
    """As `Ledger.raise_epoch`."""
    await connection.execute(_MAKE, shard=shard)
    moved = await connection.execute(
        _RAISE,
        of_shard=shard,
        seen_epoch=seen_epoch,
        new_owner=owner,
        lease_ms=lease_ms,
        by_operator=int(by_operator),
        above=above,
    )
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
    *,
    counts_as_rebuild: bool,
) -> bool:
    """As `Ledger.open_shard`."""
    before = await read_row(connection, shard)
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
    if before is not None and before.halted_reason is not None:
        # A repair opened it: what came before it is settled.
        await connection.execute(_FORGET_REBUILDS, of_shard=shard)
    elif counts_as_rebuild:
        await connection.execute(_COUNT_REBUILD, of_shard=shard, own_epoch=epoch)
    for ended, end_seq in ended_epochs:
        await connection.execute(_END_EPOCH, shard=shard, epoch=ended, end_seq=end_seq)
    recorded = await epoch_ends(connection, shard)
    for ended, end_seq in ended_epochs:
        if recorded[ended] != end_seq:
            raise LedgerCorrupt(
                f"epoch {ended} of shard {shard} ended at {recorded[ended]}, and is now said to end at {end_seq}"
            )
    return True


async def halt(connection: Connection, shard: int, epoch: int, reason: str) -> bool:
    """As `Ledger.halt`."""
    await connection.execute(_MAKE, shard=shard)
    if await connection.execute(_HALT, of_shard=shard, own_epoch=epoch, why=reason):
        return True
    row = await read_row(connection, shard)
    return row is not None and (row.state, row.epoch) == ("halted", epoch)


async def recount(connection: Connection, shard: int, epoch: int, owner: str) -> bool:
    """As `Ledger.recount`."""
    return bool(await connection.execute(_RECOUNT, of_shard=shard, own_epoch=epoch, by_owner=owner))


async def rebuilds_within(connection: Connection, shard: int, window_ms: int) -> int:
    """As `Ledger.rebuilds_within`."""
    ((count,),) = await connection.fetch(_REBUILDS, of_shard=shard, window_ms=window_ms)
    return int(count)


async def epoch_ends(connection: Connection, shard: int) -> dict[int, int]:
    """Where each ended epoch ended."""
    ends: dict[int, int] = dict(await connection.fetch(_ENDS, of_shard=shard))  # type: ignore[arg-type]
    return ends
