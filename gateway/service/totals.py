"""The running totals where a shard is opened: what Redis counted is adopted only if the durable store counts the same."""

from __future__ import annotations

import structlog

from gateway.domain.errors import Corrupt
from gateway.domain.totals import Totals
from gateway.durable.ledger import Ledger, ShardRow
from gateway.service.meta import Meta

log = structlog.get_logger(__name__)


async def prove_adoptable(ledger: Ledger, row: ShardRow, meta: Meta) -> None:
    """What Redis counts is what the durable store counts at the same seq; where a version kept no totals, that is all there is.

    Else the shard is halted. A rebuild would take the durable counters for right, and what was changed by hand may be in them by
    now: a level that Redis told on. Raises Corrupt.
    """
    if meta.totals is None or meta.totals == row.totals.pack():
        return
    names = ", ".join(Totals._fields)
    told = f"({names}) is {meta.totals!r} in Redis and {row.totals.pack()!r} here"
    raise await halted(
        ledger, row, f"the totals of shard {row.shard} differ at seq {row.checkpoint} of epoch {meta.epoch}: {told}"
    )


async def halted(ledger: Ledger, row: ShardRow, reason: str) -> Corrupt:
    """Nobody opens the shard any more, until an operator has looked at it; returns what to raise."""
    if await ledger.halt(row.shard, row.epoch, reason):
        log.error("shard_halted", epoch=row.epoch, checkpoint=row.checkpoint, reason=reason)
    return Corrupt(f"the shard is halted: {reason}")
